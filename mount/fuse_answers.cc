#include "mount/fuse_answers.h"

namespace ckptfs {

void Interrupts::Add(fuse_req_t request, std::weak_ptr<Interruption> what) {
  open_.Lock()->insert_or_assign(request, std::move(what));
  fuse_req_interrupt_func(request, Happened, this);
}

void Interrupts::Remove(fuse_req_t request) { open_.Lock()->erase(request); }

// libfuse holds the request's own lock here: whatever it leads to, an answer
// above all, must happen in another thread.
void Interrupts::Happened(fuse_req_t request, void* self) {
  auto* interrupts = static_cast<Interrupts*>(self);
  std::weak_ptr<Interruption> what;
  {
    auto open = interrupts->open_.Lock();
    auto at = open->find(request);
    if (at == open->end()) return;
    what = at->second;
  }
  interrupts->workers_->Post([what] {
    if (auto open = what.lock()) open->Interrupt();
  });
}

}  // namespace ckptfs
