#include "agent/supervisor.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <csignal>
#include <map>
#include <system_error>
#include <thread>

#include "base/child.h"
#include "base/guarded.h"
#include "kapi/exit_watch.h"

namespace ckptfs {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kIdleTickMs = 1000;
constexpr int kBusyTickMs = 200;
constexpr int kEndingTickMs = 20;
// For how long a parent that does not reap may keep the exit status from us.
constexpr auto kStatusPatience = std::chrono::seconds(3);

struct Watched {
  ProcessId process;
  ExitWatch watch;
  Supervisor::Ended ended;
  bool is_init = false;   // ckptfs-init: its name is worth a look
  bool let_go = false;    // has had its SIGTERM
  std::string kept_exit;  // from its name
  std::optional<Clock::time_point> ended_at;
};

// A zombie tells how it ended before it is reaped: the last field of its stat.
std::optional<ExitStatus> StatusOfZombie(const ProcessId& id) {
  auto info = ReadProcess(id.pid);
  if (!info || !*info || (*info)->id != id || (*info)->state != 'Z') return std::nullopt;
  auto stat = ReadFile(fmt::format("/proc/{}/stat", id.pid), 1 << 16);
  if (!stat) return std::nullopt;
  while (!stat->empty() && stat->back() == '\n') stat->pop_back();
  int status = 0;
  const char* end = stat->data() + stat->size();
  const char* start = stat->data() + stat->rfind(' ') + 1;
  if (std::from_chars(start, end, status).ptr != end) return std::nullopt;
  return ExitStatus::FromWait(status);
}

}  // namespace

std::string KeptExit(std::string_view comm) {
  ExitStatus status;
  constexpr std::string_view kExit = "ckpt:exit=", kSignal = "ckpt:sig=";
  if (comm.starts_with(kExit)) {
    comm.remove_prefix(kExit.size());
  } else if (comm.starts_with(kSignal)) {
    comm.remove_prefix(kSignal.size());
    status.signalled = true;
  } else {
    return "";
  }
  auto [end, failed] = std::from_chars(comm.data(), comm.data() + comm.size(), status.code);
  if (failed != std::errc() || end != comm.data() + comm.size() || status.code < 0) return "";
  return status.Text();
}

struct Supervisor::State {
  Fd epoll, wake;
  std::function<bool()> tick;
  std::atomic<bool> stopping{false}, hurry{false};
  Guarded<std::map<uint64_t, Watched>> watched;
  uint64_t next_id = 1;  // guarded by `watched`
  std::thread thread;

  void Wake() const {
    uint64_t one = 1;
    (void)!::write(wake.get(), &one, sizeof one);
  }
  void Loop();
  int TickMs() const;
  void NoteEnded(uint64_t id);
  void LookAtInits();
  void ReportEnded();
  void Reap();
};

void Supervisor::State::NoteEnded(uint64_t id) {
  auto locked = watched.Lock();
  auto it = locked->find(id);
  if (it == locked->end() || it->second.ended_at) return;
  it->second.ended_at = Clock::now();
  ::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, it->second.watch.fd(), nullptr);
}

void Supervisor::State::LookAtInits() {
  auto locked = watched.Lock();
  for (auto& [id, each] : *locked) {
    if (!each.is_init || each.let_go || each.ended_at) continue;
    auto comm = ReadFile(fmt::format("/proc/{}/comm", each.process.pid), 64);
    if (!comm) continue;
    while (!comm->empty() && comm->back() == '\n') comm->pop_back();
    std::string kept = KeptExit(*comm);
    if (kept.empty() || !IsAlive(each.process)) continue;
    each.kept_exit = kept;
    each.let_go = true;
    ::syscall(SYS_pidfd_send_signal, each.watch.fd(), SIGTERM, nullptr, 0);
  }
}

// Those whose status is known by now, or will not be.
void Supervisor::State::ReportEnded() {
  std::vector<std::pair<Ended, std::string>> reports;
  {
    auto locked = watched.Lock();
    for (auto it = locked->begin(); it != locked->end();) {
      Watched& each = it->second;
      if (!each.ended_at) {
        ++it;
        continue;
      }
      std::string exit = each.kept_exit;
      if (exit.empty()) {
        // Looked at first and reaped by Reap: it may be a Child's, who waits for it himself.
        auto status = StatusOfZombie(each.process);
        if (!status) status = each.watch.Status(0);
        if (status) exit = status->Text();
      }
      if (exit.empty() && Clock::now() - *each.ended_at > kStatusPatience) exit = "unknown";
      if (exit.empty()) {
        ++it;
        continue;
      }
      reports.emplace_back(std::move(each.ended), std::move(exit));
      it = locked->erase(it);
    }
  }
  for (auto& [ended, exit] : reports) ended(std::move(exit));
}

// What was restarted here, and what its dead parents left behind, are our children:
// the daemon is their subreaper.
void Supervisor::State::Reap() {
  std::vector<pid_t> spare;
  {
    auto locked = watched.Lock();
    for (const auto& [id, each] : *locked) spare.push_back(each.process.pid);
  }
  ReapAdopted(spare);
}

int Supervisor::State::TickMs() const {
  int ms = hurry ? kBusyTickMs : kIdleTickMs;
  auto locked = watched.Lock();
  for (const auto& [id, each] : *locked) {
    if (each.ended_at) return kEndingTickMs;
    if (each.is_init) ms = kBusyTickMs;
  }
  return ms;
}

void Supervisor::State::Loop() {
  auto next_tick = Clock::now();
  while (!stopping) {
    epoll_event events[64];
    int n = ::epoll_wait(epoll.get(), events, 64, TickMs());
    for (int i = 0; i < n; ++i) {
      uint64_t id = events[i].data.u64;
      uint64_t count = 0;
      if (id == 0)
        (void)!::read(wake.get(), &count, sizeof count);
      else
        NoteEnded(id);
    }
    if (stopping) return;
    LookAtInits();
    ReportEnded();
    Reap();
    if (Clock::now() < next_tick) continue;
    next_tick = Clock::now() + std::chrono::milliseconds(kBusyTickMs / 2);
    hurry = false;
    if (tick()) hurry = true;
  }
}

Supervisor::Supervisor(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<Supervisor>> Supervisor::Start(std::function<bool()> tick) {
  auto state = std::make_unique<State>();
  state->tick = std::move(tick);
  state->epoll = Fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!state->epoll.valid()) return Error::FromErrno(errno, "epoll");
  state->wake = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!state->wake.valid()) return Error::FromErrno(errno, "eventfd");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 0;
  if (::epoll_ctl(state->epoll.get(), EPOLL_CTL_ADD, state->wake.get(), &event) != 0)
    return Error::FromErrno(errno, "epoll");
  State* running = state.get();
  try {
    state->thread = std::thread([running] { running->Loop(); });
  } catch (const std::system_error& failed) {
    return Error::FromErrno(failed.code().value(), "start the supervisor's thread");
  }
  return std::unique_ptr<Supervisor>(new Supervisor(std::move(state)));
}

Supervisor::~Supervisor() { Stop(); }

void Supervisor::Stop() {
  state_->stopping = true;
  state_->Wake();
  if (state_->thread.joinable()) state_->thread.join();
}

Result<uint64_t> Supervisor::Watch(const ProcessId& process, Ended ended) {
  auto watch = ExitWatch::Open(process);
  if (!watch) return watch.error();
  auto info = ReadProcess(process.pid);
  bool is_init = info && *info &&
                 ((*info)->name.starts_with("ckptfs-init") || (*info)->name.starts_with("ckpt:"));
  auto locked = state_->watched.Lock();
  uint64_t id = state_->next_id++;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = id;
  if (::epoll_ctl(state_->epoll.get(), EPOLL_CTL_ADD, watch->fd(), &event) != 0)
    return Error::FromErrno(errno, "watch pid {}", process.pid);
  locked->emplace(id, Watched{.process = process,
                              .watch = std::move(*watch),
                              .ended = std::move(ended),
                              .is_init = is_init});
  // So that a tick that has become shorter counts from now.
  state_->Wake();
  return id;
}

void Supervisor::Unwatch(uint64_t id) { state_->watched.Lock()->erase(id); }

void Supervisor::Hurry() {
  if (!state_->hurry.exchange(true)) state_->Wake();
}

}  // namespace ckptfs
