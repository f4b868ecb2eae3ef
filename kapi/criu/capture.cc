#include "kapi/criu/capture.h"

#include <poll.h>

#include <cerrno>
#include <set>

namespace ckptfs {
namespace {

class Capturing {
 public:
  Capturing(CriuRun& run, ImageSink& sink, const CancelToken* cancel)
      : run_(run), sink_(sink), cancel_(cancel) {}

  Result<RunEnd> Loop();

 private:
  struct Open {
    std::string name;
    Fd pipe;
    std::unique_ptr<ImageSink::Stream> stream;
  };

  bool Complete() const {
    // criu asked for everything before its script ran, so the socket was looked
    // at after the script called.
    return run_.held() && requests_drained_ && open_.empty();
  }
  Result<void> Wait();
  Result<void> TakeRequests();
  Result<void> Move(Open* open);

  CriuRun& run_;
  ImageSink& sink_;
  const CancelToken* cancel_;
  std::vector<Open> open_;
  std::set<std::string> names_;
  std::optional<std::string> named_;  // a request whose pipe has not come yet
  bool requests_drained_ = false;
  std::vector<pollfd> polled_;
};

Result<void> Capturing::TakeRequests() {
  requests_drained_ = false;
  bool was_held = run_.held();
  auto& requests = *run_.requests();
  for (;;) {
    if (!named_) {
      auto name = requests.NextName();
      if (!name) return name.error();
      if (!*name) break;
      if (!names_.insert(**name).second)
        return Fail(Errc::kCorrupt, "criu wrote the image file {} twice", **name);
      named_ = std::move(**name);
    }
    auto pipe = requests.NextPipe();
    if (!pipe) return pipe.error();
    if (!*pipe) break;
    auto stream = sink_.Open(*named_);
    if (!stream) return stream.error();
    open_.push_back({std::move(*named_), std::move(**pipe), std::move(*stream)});
    named_.reset();
  }
  requests_drained_ = was_held && !named_;
  return {};
}

Result<void> Capturing::Move(Open* open) {
  // Once round for each stream that is ready: no stream keeps the others waiting.
  auto read = open->stream->ReadFrom(open->pipe.get());
  if (!read) return read.error().Add("save {}", open->name);
  if (*read != ImageSink::Read::kEnd) return {};
  if (auto ended = open->stream->End(); !ended) return ended.error().Add("save {}", open->name);
  open->stream.reset();
  return {};
}

Result<void> Capturing::Wait() {
  polled_.clear();
  auto& requests = run_.requests();
  polled_.push_back({cancel_ != nullptr ? cancel_->fd() : -1, POLLIN, 0});
  polled_.push_back({run_.held() ? -1 : run_.exited_fd(), POLLIN, 0});
  polled_.push_back(
      {requests && !requests->closed() ? requests->fd() : run_.stream_listener(), POLLIN, 0});
  // While criu is held, its script's socket is silent unless the script died.
  polled_.push_back({run_.hook_fd() >= 0 ? run_.hook_fd() : run_.hook_listener(), POLLIN, 0});
  for (const Open& open : open_) polled_.push_back({open.pipe.get(), POLLIN, 0});
  if (::poll(polled_.data(), polled_.size(), -1) < 0 && errno != EINTR)
    return Error::FromErrno(errno, "wait for criu");
  return {};
}

Result<RunEnd> Capturing::Loop() {
  while (!Complete()) {
    if (auto waited = Wait(); !waited) return waited.error();
    if (polled_[0].revents != 0) return Fail(Errc::kCancelled, "the checkpoint was cancelled");
    if (polled_[3].revents != 0) {
      auto taken = run_.hook_fd() >= 0 ? run_.ReadHook() : run_.AcceptHook();
      if (!taken) return taken.error();
    }
    if (polled_[2].revents != 0 && !run_.requests()) {
      if (auto taken = run_.AcceptStream(); !taken) return taken.error();
    }
    if (run_.requests() && (polled_[2].revents != 0 || run_.held())) {
      if (auto taken = TakeRequests(); !taken) return taken.error();
    }
    for (size_t i = 0; i + 4 < polled_.size(); ++i)
      if (polled_[i + 4].revents != 0)
        if (auto moved = Move(&open_[i]); !moved) return moved.error();
    std::erase_if(open_, [](const Open& open) { return open.stream == nullptr; });
    if (polled_[1].revents != 0 && !run_.held()) return RunEnd::kEnded;
  }
  return RunEnd::kHeld;
}

}  // namespace

Result<RunEnd> Capture(CriuRun& run, ImageSink& sink, const CancelToken* cancel) {
  return Capturing(run, sink, cancel).Loop();
}

}  // namespace ckptfs
