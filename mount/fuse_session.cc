#include "mount/fuse_session.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <mutex>

#include "base/fd.h"
#include "base/guarded.h"
#include "mount/fuse_answers.h"
#include "mount/fuse_operations.h"
#include "mount/mount_table.h"

namespace ckptfs {
namespace {

// libfuse says what went wrong through one function for the whole process.
std::mutex g_words_lock;
std::string g_words;

void KeepWords(fuse_log_level, const char* format, va_list arguments) {
  char line[512];
  std::vsnprintf(line, sizeof line, format, arguments);
  std::lock_guard lock(g_words_lock);
  // It says one sentence in several calls.
  if (g_words.size() < 2048) g_words += line;
}

std::string TakeWords() {
  std::lock_guard lock(g_words_lock);
  std::string words = std::exchange(g_words, {});
  while (!words.empty() && words.back() == '\n') words.pop_back();
  std::replace(words.begin(), words.end(), '\n', ' ');
  return words;
}

// -o splits at commas.
std::string Escaped(const std::string& value) {
  std::string out;
  for (char c : value) {
    if (c == ',' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

// Copies out are read ahead in larger steps than the kernel's 128 KiB. To be said
// before the first request is answered; only root may, and without it all works.
void RaiseReadAhead(const MountedTree& mounted) {
  auto knob = Open(fmt::format("/sys/class/bdi/{}:{}/read_ahead_kb", mounted.major, mounted.minor),
                   O_WRONLY);
  if (knob) (void)WriteAll(knob->get(), AsBytes("4096\n"));
}

// Ours alone: what ends the main thread's wait within libfuse's loop.
constexpr int kKick = SIGUSR1;
constexpr auto kKickEvery = std::chrono::milliseconds(10);

class LowLevelSession : public FuseSession {
 public:
  LowLevelSession(Tree* tree, Workers* workers, FuseMountOptions options, const Log* log)
      : interrupts_(workers),
        context_{tree, &interrupts_},
        options_(std::move(options)),
        log_(log) {}

  ~LowLevelSession() override {
    if (session_ == nullptr) return;
    if (!stopped_) Detach();
    // With the connection gone this frees what libfuse keeps; else it would unmount
    // whatever is at that place by now.
    pollfd connection{fuse_session_fd(session_), 0, 0};
    if (::poll(&connection, 1, 0) == 1 && (connection.revents & POLLERR) != 0)
      fuse_session_unmount(session_);
    fuse_session_destroy(session_);
  }
  LowLevelSession(const LowLevelSession&) = delete;
  LowLevelSession& operator=(const LowLevelSession&) = delete;

  Result<void> Begin() {
    std::vector<std::string> words = {"ckptfs", "-o",
                                      "fsname=" + Escaped(options_.source) + ",subtype=ckptfs"};
    words.push_back("-o");
    words.push_back(fmt::format("max_read={}", kMaxReadBytes));
    for (const std::string& option : options_.options) {
      words.push_back("-o");
      words.push_back(option);
    }
    std::vector<char*> argv;
    argv.reserve(words.size());
    for (std::string& word : words) argv.push_back(word.data());
    fuse_args args = FUSE_ARGS_INIT(static_cast<int>(argv.size()), argv.data());
    fuse_set_log_func(KeepWords);
    (void)TakeWords();
    session_ = fuse_session_new(&args, &FuseOperations(), sizeof(fuse_lowlevel_ops), &context_);
    fuse_opt_free_args(&args);
    if (session_ == nullptr)
      return Fail(Errc::kInvalid, "mount options: {}", TakeWords())
          .WithRemedy("man 8 mount.fuse3 lists what -o takes");
    if (fuse_session_mount(session_, options_.mountpoint.c_str()) != 0) {
      fuse_session_destroy(session_);
      session_ = nullptr;
      return Fail(Errc::kIo, "mount at {}: {}", options_.mountpoint, TakeWords())
          .WithRemedy("'ckptfs doctor' tells what is missing here");
    }
    auto there = MountsAt(options_.mountpoint);
    if (there && !there->empty()) {
      mounted_ = there->back();
      RaiseReadAhead(mounted_);
    }
    return {};
  }

  Result<void> Loop() override {
    loop_thread_ = ::pthread_self();
    struct sigaction kick {};
    kick.sa_handler = [](int) {};
    ::sigaction(kKick, &kick, nullptr);  // without SA_RESTART
    sigset_t kicks;
    ::sigemptyset(&kicks);
    ::sigaddset(&kicks, kKick);
    ::pthread_sigmask(SIG_UNBLOCK, &kicks, nullptr);
    *looping_.Lock() = true;
    fuse_loop_config* config = fuse_loop_cfg_create();
    fuse_loop_cfg_set_clone_fd(config, 1);
    fuse_loop_cfg_set_max_threads(config, 10);
    fuse_loop_cfg_set_idle_threads(config, 10);
    int failed = fuse_session_loop_mt(session_, config);
    fuse_loop_cfg_destroy(config);
    *looping_.Lock() = false;
    loop_ended_.notify_all();
    if (failed < 0 && !stopped_)
      return Error::FromErrno(-failed, "the kernel's connection at {}", options_.mountpoint);
    return {};
  }

  void Stop() override {
    if (stopped_.exchange(true)) return;
    Detach();
    fuse_session_exit(session_);
    // libfuse waits on a semaphore of its own, which only a signal reaches: and only
    // once the loop is there, so it is sent until the loop has ended.
    auto looping = looping_.Lock();
    while (*looping) {
      ::pthread_kill(loop_thread_, kKick);
      (void)looping.WaitFor(loop_ended_, kKickEvery, [&] { return !*looping; });
    }
  }

 private:
  // Only if what is on top there is still ours.
  void Detach() {
    auto there = MountsAt(options_.mountpoint);
    if (!there || there->empty() || there->back().major != mounted_.major ||
        there->back().minor != mounted_.minor)
      return;
    auto gone = DetachMount(options_.mountpoint);
    if (!gone && log_ != nullptr) log_->Warn("{}", gone.error().Text());
  }

  Interrupts interrupts_;
  FuseContext context_;
  FuseMountOptions options_;
  const Log* log_;
  MountedTree mounted_;
  fuse_session* session_ = nullptr;
  pthread_t loop_thread_{};
  Guarded<bool> looping_{false};
  std::condition_variable loop_ended_;
  std::atomic<bool> stopped_{false};
};

}  // namespace

Result<std::unique_ptr<FuseSession>> FuseSession::Mount(Tree* tree, Workers* workers,
                                                        FuseMountOptions options, const Log* log) {
  auto session = std::make_unique<LowLevelSession>(tree, workers, std::move(options), log);
  if (auto opened = session->Begin(); !opened) return opened.error();
  return std::unique_ptr<FuseSession>(std::move(session));
}

}  // namespace ckptfs
