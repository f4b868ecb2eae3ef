#include "agent/operation.h"

#include <system_error>

namespace ckptfs {

std::string_view VerbName(Verb verb) {
  switch (verb) {
    case Verb::kCheckpoint:
      return "checkpoint";
    case Verb::kRestart:
      return "restart";
    case Verb::kSuspend:
      return "suspend";
    case Verb::kResume:
      return "resume";
    case Verb::kKill:
      return "kill";
    case Verb::kMigrate:
      return "migrate";
    case Verb::kCancel:
      return "cancel";
  }
  return "?";
}

double Operation::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
}

uint64_t Operation::State::BytesDone() const {
  uint64_t done = 0;
  for (const auto& [name, progress] : units) done += progress.bytes_done;
  return done;
}

void Operation::Enter(std::string_view phase) {
  auto state = state_.Lock();
  state->phase = phase;
  state->entered = std::chrono::steady_clock::now();
  state->bytes_at_entry = state->BytesDone();
}

Progress* Operation::OfUnit(std::string_view unit) {
  auto state = state_.Lock();
  for (auto& [name, progress] : state->units)
    if (name == unit) return &progress;
  auto& made = state->units.emplace_back(std::piecewise_construct, std::forward_as_tuple(unit),
                                         std::forward_as_tuple());
  return &made.second;
}

JobProgress Operation::Snapshot() const {
  auto state = state_.Lock();
  JobProgress progress;
  progress.phase = state->phase;
  progress.bytes_done = state->BytesDone();
  for (const auto& [name, unit] : state->units) progress.bytes_total += unit.bytes_total;
  double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - state->entered).count();
  if (seconds > 0 && progress.bytes_done > state->bytes_at_entry)
    progress.bytes_per_second =
        static_cast<double>(progress.bytes_done - state->bytes_at_entry) / seconds;
  // The total is an estimate: what is past it has nothing left that could be told.
  if (progress.bytes_total > progress.bytes_done && progress.bytes_per_second > 0)
    progress.seconds_left =
        static_cast<double>(progress.bytes_total - progress.bytes_done) / progress.bytes_per_second;
  return progress;
}

Result<void> Operation::CheckCancelled() const {
  if (cancel_->cancelled()) return Fail(Errc::kCancelled, "the command was cancelled");
  return {};
}

Result<void> OperationThreads::Start(std::function<void()> work) {
  auto entries = entries_.Lock();
  for (auto it = entries->begin(); it != entries->end();) {
    if (!*it->ended) {
      ++it;
      continue;
    }
    it->thread.join();  // has nothing left to do
    it = entries->erase(it);
  }
  auto ended = std::make_shared<std::atomic<bool>>(false);
  try {
    std::thread thread([work = std::move(work), ended] {
      work();
      *ended = true;
    });
    entries->push_back(Entry{std::move(thread), ended});
  } catch (const std::system_error& failed) {
    return Error::FromErrno(failed.code().value(), "start a thread for the command");
  }
  return {};
}

void OperationThreads::JoinAll() {
  std::list<Entry> all;
  std::swap(all, *entries_.Lock());
  for (Entry& entry : all) entry.thread.join();
}

}  // namespace ckptfs
