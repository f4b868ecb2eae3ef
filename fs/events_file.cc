#include "fs/events_file.h"

#include <poll.h>

#include <algorithm>

namespace ckptfs {
namespace {

class EventsFile : public OpenedFile {
 public:
  explicit EventsFile(const View* view) : view_(view), state_(std::make_shared<State>()) {}
  ~EventsFile() override { EventsFile::Release(); }
  EventsFile(const EventsFile&) = delete;
  EventsFile& operator=(const EventsFile&) = delete;

  void Read(uint64_t offset, size_t limit_bytes, const Caller&,
            const Reply<ReadData>& reply) override {
    auto text = view_->events().Read(offset, limit_bytes);
    if (!text) return reply(text.error());
    state_->guarded.Lock()->read_to = offset + text->size();
    reply(ReadData{std::move(*text), {}, nullptr});
  }

  short Poll(const std::function<void()>& wake) override {
    // Before the size is looked at, so that what comes between is not missed.
    if (wake) Subscribe(wake);
    uint64_t read_to = state_->guarded.Lock()->read_to;
    // != : the log also starts anew, and is then shorter.
    return view_->events().size_bytes() != read_to ? POLLIN | POLLRDNORM : 0;
  }

  void Release() override {
    uint64_t subscription = 0;
    {
      auto state = state_->guarded.Lock();
      subscription = std::exchange(state->subscription, 0);
      state->released = true;
    }
    if (subscription != 0) view_->events().Unsubscribe(subscription);
    state_->guarded.Lock()->wake = nullptr;
  }

 private:
  struct Guts {
    uint64_t read_to = 0;
    uint64_t subscription = 0;
    bool subscribing = false;
    bool released = false;
    std::function<void()> wake;
  };
  struct State {
    Guarded<Guts> guarded;
  };

  void Subscribe(const std::function<void()>& wake) {
    {
      auto state = state_->guarded.Lock();
      state->wake = wake;
      if (state->subscribing) return;
      state->subscribing = true;
    }
    uint64_t id = view_->events().Subscribe([state = state_] {
      std::function<void()> wake_now = state->guarded.Lock()->wake;
      if (wake_now) wake_now();
    });
    auto state = state_->guarded.Lock();
    state->subscription = id;
  }

  const View* view_;
  std::shared_ptr<State> state_;
};

}  // namespace

std::shared_ptr<OpenedFile> OpenEvents(const View* view) {
  return std::make_shared<EventsFile>(view);
}

}  // namespace ckptfs
