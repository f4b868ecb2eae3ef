// Answers: how the tree's replies reach the kernel. Every callback makes its
// Reply here and nowhere else, so each request is answered exactly once: at once,
// late, by an interruption, or by the Reply's own end if all else forgot it.
#pragma once

#include <memory>
#include <string_view>
#include <unordered_map>

#include "base/guarded.h"
#include "fs/tree.h"
#include "mount/errno.h"
#include "mount/fuse_api.h"

namespace ckptfs {

// Requests that can be interrupted, by libfuse's request. Thread-safe.
class Interrupts {
 public:
  explicit Interrupts(Workers* workers) : workers_(workers) {}
  void Add(fuse_req_t request, std::weak_ptr<Interruption> what);
  void Remove(fuse_req_t request);

 private:
  static void Happened(fuse_req_t request, void* self);
  Workers* workers_;
  Guarded<std::unordered_map<fuse_req_t, std::weak_ptr<Interruption>>> open_;
};

// What libfuse's callbacks find under userdata. Borrowed by the session.
struct FuseContext {
  Tree* tree;
  Interrupts* interrupts;
};

inline FuseContext& ContextOf(fuse_req_t request) {
  return *static_cast<FuseContext*>(fuse_req_userdata(request));
}
inline Tree& TreeOf(fuse_req_t request) { return *ContextOf(request).tree; }

inline Caller CallerOf(fuse_req_t request) {
  const fuse_ctx* context = fuse_req_ctx(request);
  return {context->pid, context->uid, context->gid};
}

// `send(request, value)` answers with a value; errors are answered here, with
// `cancelled_errno` in the place of ECANCELED.
template <typename T, typename Send>
Reply<T> Answer(fuse_req_t request, Send send, int cancelled_errno = ECANCELED) {
  Interrupts* interrupts = ContextOf(request).interrupts;
  auto answer = [request, interrupts, send = std::move(send),
                 cancelled_errno](Result<T> result) mutable {
    interrupts->Remove(request);
    if (!result) {
      bool cancelled = result.error().code() == Errc::kCancelled;
      fuse_reply_err(request, cancelled ? cancelled_errno : ErrnoOf(result.error().code()));
    } else if constexpr (std::is_void_v<T>) {
      send(request);
    } else {
      send(request, *result);
    }
  };
  return Reply<T>(std::move(answer), [request, interrupts](std::weak_ptr<Interruption> what) {
    interrupts->Add(request, std::move(what));
  });
}

// An answer without a value.
inline Reply<void> AnswerDone(fuse_req_t request) {
  return Answer<void>(request, [](fuse_req_t r) { fuse_reply_err(r, 0); });
}

}  // namespace ckptfs
