#include "kapi/criu/serve.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "kapi/criu/image_fixes.h"
#include "kapi/criu/pstree.h"

namespace ckptfs {
namespace {

// A reader that has seen enough closes its pipe; the SIGPIPE that a write then
// brings is for this thread and is taken away before it is unblocked.
class SigpipeBlocked {
 public:
  SigpipeBlocked() {
    ::sigemptyset(&sigpipe_);
    ::sigaddset(&sigpipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
  }
  ~SigpipeBlocked() {
    timespec now = {};
    while (::sigtimedwait(&sigpipe_, nullptr, &now) == SIGPIPE) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SigpipeBlocked(const SigpipeBlocked&) = delete;
  SigpipeBlocked& operator=(const SigpipeBlocked&) = delete;

 private:
  sigset_t sigpipe_, before_;
};

// A stream whose content was changed on its way.
class ChangedStream : public ImageSource::Stream {
 public:
  explicit ChangedStream(std::string content) : content_(std::move(content)) {}
  uint64_t size_bytes() const override { return content_.size(); }
  Result<ImageSource::Fed> WriteTo(int fd) override {
    while (given_ < content_.size()) {
      ssize_t n = ::write(fd, content_.data() + given_, content_.size() - given_);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) return ImageSource::Fed::kWouldBlock;
      if (n < 0 && errno == EPIPE) return Fail(Errc::kGone, "the reader is gone");
      if (n < 0) return Error::FromErrno(errno, "write");
      given_ += static_cast<size_t>(n);
    }
    return ImageSource::Fed::kEnd;
  }
  Result<size_t> Read(MutableBytes) override {
    return Fail(Errc::kInternal, "a changed stream is only written");
  }

 private:
  std::string content_;
  size_t given_ = 0;
};

constexpr char kFilesImage[] = "files.img";
constexpr size_t kMostToChangeBytes = 64 << 20;

Result<std::unique_ptr<ImageSource::Stream>> OpenFixed(ImageSource& source,
                                                       const std::string& name) {
  auto stream = source.Open(name);
  if (!stream || name != kFilesImage || (*stream)->size_bytes() > kMostToChangeBytes) return stream;
  auto content = ReadStream(source, name, kMostToChangeBytes);
  if (!content) return content.error();
  FixTimerfds(&*content);
  return std::make_unique<ChangedStream>(std::move(*content));
}

class Serving {
 public:
  Serving(CriuRun& run, ImageSource& source, const CancelToken* cancel)
      : run_(run), source_(source), cancel_(cancel) {}

  Result<RunEnd> Loop();

 private:
  struct Open {
    std::string name;
    Fd pipe;
    std::unique_ptr<ImageSource::Stream> stream;  // null: given in full
  };

  Result<void> Wait();
  Result<void> AnswerRequests();
  Result<void> Feed(Open* open);

  CriuRun& run_;
  ImageSource& source_;
  const CancelToken* cancel_;
  std::vector<Open> open_;
  std::unique_ptr<ImageSource::Stream> promised_;  // answered "exists", no pipe yet
  std::string promised_name_;
  std::vector<pollfd> polled_;
};

Result<void> Serving::AnswerRequests() {
  auto& requests = *run_.requests();
  for (;;) {
    if (!promised_) {
      auto name = requests.NextName();
      if (!name) return name.error();
      if (!*name) return {};
      auto stream = OpenFixed(source_, **name);
      bool exists = stream.ok();
      if (!exists && stream.error().code() != Errc::kNotFound)
        return stream.error().Add("read {}", **name);
      if (auto sent = requests.Reply(exists); !sent) return sent.error();
      if (!exists) continue;
      promised_ = std::move(*stream);
      promised_name_ = std::move(**name);
    }
    auto pipe = requests.NextPipe();
    if (!pipe) return pipe.error();
    if (!*pipe) return {};
    open_.push_back({std::move(promised_name_), std::move(**pipe), std::move(promised_)});
    // At once: criu waits for it, and one more poll is a switch of threads.
    if (auto fed = Feed(&open_.back()); !fed) return fed.error();
  }
}

Result<void> Serving::Feed(Open* open) {
  auto fed = open->stream->WriteTo(open->pipe.get());
  // A reader that has gone had enough.
  if (!fed && fed.error().code() != Errc::kGone) return fed.error().Add("read {}", open->name);
  if (!fed || *fed == ImageSource::Fed::kEnd) open->stream.reset();
  return {};
}

Result<void> Serving::Wait() {
  std::erase_if(open_, [](const Open& open) { return open.stream == nullptr; });
  polled_.clear();
  auto& requests = run_.requests();
  polled_.push_back({cancel_ != nullptr ? cancel_->fd() : -1, POLLIN, 0});
  polled_.push_back({run_.exited_fd(), POLLIN, 0});
  polled_.push_back(
      {requests && !requests->closed() ? requests->fd() : run_.stream_listener(), POLLIN, 0});
  polled_.push_back({run_.hook_fd() >= 0 ? run_.hook_fd() : run_.hook_listener(), POLLIN, 0});
  for (const Open& open : open_) polled_.push_back({open.pipe.get(), POLLOUT, 0});
  if (::poll(polled_.data(), polled_.size(), -1) < 0 && errno != EINTR)
    return Error::FromErrno(errno, "wait for criu");
  return {};
}

Result<RunEnd> Serving::Loop() {
  while (!run_.held()) {
    if (auto waited = Wait(); !waited) return waited.error();
    if (polled_[0].revents != 0) return Fail(Errc::kCancelled, "the restart was cancelled");
    for (size_t i = 0; i + 4 < polled_.size(); ++i)
      if (polled_[i + 4].revents != 0)
        if (auto fed = Feed(&open_[i]); !fed) return fed.error();
    if (polled_[2].revents != 0) {
      if (!run_.requests()) {
        if (auto taken = run_.AcceptStream(); !taken) return taken.error();
      }
      if (run_.requests()) {
        if (auto answered = AnswerRequests(); !answered) return answered.error();
      }
    }
    if (polled_[3].revents != 0) {
      auto taken = run_.hook_fd() >= 0 ? run_.ReadHook() : run_.AcceptHook();
      if (!taken) return taken.error();
    }
    if (polled_[1].revents != 0 && !run_.held()) return RunEnd::kEnded;
  }
  return RunEnd::kHeld;
}

}  // namespace

Result<RunEnd> Serve(CriuRun& run, ImageSource& source, const CancelToken* cancel) {
  SigpipeBlocked blocked;
  return Serving(run, source, cancel).Loop();
}

}  // namespace ckptfs
