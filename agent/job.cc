#include "agent/job.h"

#include <algorithm>

namespace ckptfs {

std::string_view JobStateName(JobState state) {
  switch (state) {
    case JobState::kEmpty:
      return "empty";
    case JobState::kRunning:
      return "running";
    case JobState::kSuspended:
      return "suspended";
    case JobState::kStopped:
      return "stopped";
    case JobState::kEnded:
      return "ended";
  }
  return "?";
}

bool IsLive(JobState state) { return state == JobState::kRunning || state == JobState::kSuspended; }

JobState JobData::State() const {
  // The first of these that any unit is in.
  for (JobState state :
       {JobState::kSuspended, JobState::kRunning, JobState::kStopped, JobState::kEnded})
    for (const auto& [name, unit] : units)
      if (unit.state == state) return state;
  return JobState::kEmpty;
}

bool JobData::Alive() const { return IsLive(State()); }

bool JobData::IsDying() const {
  for (const auto& [name, unit] : units)
    if (unit.processes && !ckptfs::IsDying(unit.processes->root)) return false;
  return true;
}

std::string JobData::ExitLine() const {
  std::string line;
  for (const auto& [name, unit] : units) {
    if (unit.state != JobState::kEnded) continue;
    std::string exit = unit.exit.empty() ? "unknown" : unit.exit;
    if (line.empty() || line == "exit 0") line = exit;
  }
  return (line.empty() ? "unknown" : line) + "\n";
}

Result<void> Job::Save(Store& store) const {
  uint64_t covers = 0;
  {
    auto writing = writing_.Lock();
    uint64_t mine = ++writing->wanted;
    writing.Wait(written_, [&] { return !writing->busy || writing->written >= mine; });
    if (writing->written >= mine) {
      if (writing->failed) return *writing->failed;
      return {};
    }
    if (writing->forgotten) return {};
    writing->busy = true;
    covers = writing->wanted;
  }
  std::string text = FormatRecord(*data_.Lock(), boot_);
  auto put = store.PutRecord("job/" + name_, text);
  auto writing = writing_.Lock();
  writing->busy = false;
  writing->written = covers;
  writing->failed.reset();
  if (!put) writing->failed = put.error().Add("record of job {}", name_);
  written_.notify_all();
  if (writing->failed) return *writing->failed;
  return {};
}

Result<void> Job::Forget(Store& store) const {
  {
    auto writing = writing_.Lock();
    writing->forgotten = true;
    writing.Wait(written_, [&] { return !writing->busy; });
  }
  auto gone = store.DeleteRecord("job/" + name_);
  return gone ? Result<void>() : gone.error();
}

std::string BootId() {
  auto text = ReadFile("/proc/sys/kernel/random/boot_id", 256);
  if (!text) return "unknown";
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return *text;
}

}  // namespace ckptfs
