// The record of a job: flat-keyed text, one line a fact, units last.
#include <algorithm>
#include <charconv>
#include <sstream>

#include "agent/job.h"

namespace ckptfs {
namespace {

constexpr std::string_view kFirstLine = "ckptfs-job 1";
constexpr size_t kTextLimitBytes = 2000;  // of free text: what an error said, a warning
constexpr size_t kUnitsLimit = 4096;
constexpr JobState kStates[] = {JobState::kEmpty, JobState::kRunning, JobState::kSuspended,
                                JobState::kStopped, JobState::kEnded};

std::string OneLine(std::string_view text) {
  std::string line;
  for (char c : text.substr(0, kTextLimitBytes)) line += c == '\n' || c == '\0' ? ' ' : c;
  return line;
}

std::string FormatId(const ProcessId& id) { return fmt::format("{}:{}", id.pid, id.start_ticks); }

std::string FormatCredentials(const Credentials& c) {
  std::string text =
      fmt::format("{} {} {} {} {} {} {} {} {}", c.real_uid, c.effective_uid, c.saved_uid, c.fs_uid,
                  c.real_gid, c.effective_gid, c.saved_gid, c.fs_gid, c.permitted_capabilities);
  for (gid_t group : c.groups) text += fmt::format(" {}", group);
  return text;
}

std::string FormatUnit(const std::string& name, const Unit& unit, size_t members_limit) {
  std::string text = fmt::format("unit {}\ncheckpointer {}\nuses {}\nstate {}\n", name,
                                 unit.checkpointer, unit.uses, JobStateName(unit.state));
  if (!unit.exit.empty()) text += fmt::format("exit {}\n", OneLine(unit.exit));
  if (!unit.warning.empty()) text += fmt::format("warning {}\n", OneLine(unit.warning));
  if (unit.processes) {
    text += fmt::format("root {}\ncredentials {}\n", FormatId(unit.processes->root),
                        FormatCredentials(unit.processes->owner));
    if (unit.processes->namespace_init)
      text += fmt::format("namespace_init {}\n", FormatId(*unit.processes->namespace_init));
  }
  if (!unit.members.empty()) {
    text += "members";
    for (size_t i = 0; i < std::min(unit.members.size(), members_limit); ++i)
      text += " " + FormatId(unit.members[i]);
    text += "\n";
  }
  return text;
}

template <typename T>
bool ParseNumber(std::string_view text, T* number) {
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return failed == std::errc() && end == text.data() + text.size();
}

std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    size_t space = text.find(' ');
    if (space != 0) words.push_back(text.substr(0, space));
    text.remove_prefix(space == std::string_view::npos ? text.size() : space + 1);
  }
  return words;
}

bool ParseId(std::string_view text, ProcessId* id) {
  size_t colon = text.find(':');
  return colon != std::string_view::npos && ParseNumber(text.substr(0, colon), &id->pid) &&
         id->pid > 0 && ParseNumber(text.substr(colon + 1), &id->start_ticks);
}

bool ParseCredentials(std::string_view text, Credentials* c) {
  auto words = Words(text);
  if (words.size() < 9) return false;
  uint32_t* ids[] = {&c->real_uid, &c->effective_uid, &c->saved_uid, &c->fs_uid,
                     &c->real_gid, &c->effective_gid, &c->saved_gid, &c->fs_gid};
  for (size_t i = 0; i < 8; ++i)
    if (!ParseNumber(words[i], ids[i])) return false;
  if (!ParseNumber(words[8], &c->permitted_capabilities)) return false;
  c->groups.clear();
  for (size_t i = 9; i < words.size(); ++i)
    if (!ParseNumber(words[i], &c->groups.emplace_back())) return false;
  return true;
}

bool ParseState(std::string_view text, JobState* state) {
  for (JobState each : kStates)
    if (JobStateName(each) == text) {
      *state = each;
      return true;
    }
  return false;
}

// "last STARTED_MS SECONDS_US STANDSTILL_US VERSION MEMORY WRITTEN RESULT"
bool ParseLast(std::string_view text, OperationReport* report) {
  auto words = Words(text);
  int64_t started_ms = 0;
  uint64_t took_us = 0, standstill_us = 0;
  if (words.size() != 7 || !ParseNumber(words[0], &started_ms) ||
      !ParseNumber(words[1], &took_us) || !ParseNumber(words[2], &standstill_us) ||
      !ParseNumber(words[3], &report->version) || !ParseNumber(words[4], &report->memory_bytes) ||
      !ParseNumber(words[5], &report->written_bytes))
    return false;
  // The clock counts in finer steps, so not every number of milliseconds is a time.
  using std::chrono::milliseconds, std::chrono::system_clock;
  if (started_ms < 0 || started_ms > std::chrono::floor<milliseconds>(
                                         system_clock::time_point::max().time_since_epoch())
                                         .count())
    return false;
  report->started = system_clock::time_point(milliseconds(started_ms));
  report->seconds = static_cast<double>(took_us) / 1e6;
  report->standstill_seconds = static_cast<double>(standstill_us) / 1e6;
  report->result = words[6];
  return true;
}

bool SetUnitLine(std::string_view key, std::string_view value, Unit* unit) {
  if (key == "checkpointer") {
    unit->checkpointer = value;
  } else if (key == "uses") {
    unit->uses = value;
  } else if (key == "state") {
    return ParseState(value, &unit->state);
  } else if (key == "exit") {
    unit->exit = value;
  } else if (key == "warning") {
    unit->warning = value;
  } else if (key == "root") {
    return ParseId(value, &unit->processes.emplace().root);
  } else if (key == "credentials") {
    return unit->processes && ParseCredentials(value, &unit->processes->owner);
  } else if (key == "namespace_init") {
    return unit->processes && ParseId(value, &unit->processes->namespace_init.emplace());
  } else if (key == "members") {
    for (std::string_view word : Words(value))
      if (!ParseId(word, &unit->members.emplace_back())) return false;
  } else {
    return false;
  }
  return true;
}

bool SetJobLine(std::string_view key, std::string_view value, JobData* data) {
  if (key == "owner") {
    auto words = Words(value);
    return words.size() == 2 && ParseNumber(words[0], &data->owner_uid) &&
           ParseNumber(words[1], &data->owner_gid);
  }
  if (key == "policy") {
    auto policy = data->policy.With(value);
    if (policy) data->policy = *policy;
    return policy.ok();
  }
  if (key == "clone_of") {
    data->clone_of = value;
    return true;
  }
  if (key == "left") {
    for (std::string_view word : Words(value))
      if (!ParseId(word, &data->left.emplace_back())) return false;
    return true;
  }
  if (key == "last_version") return ParseNumber(value, &data->last_version.emplace());
  if (key == "restarts_tried") return ParseNumber(value, &data->restarts_tried);
  if (key == "restart_pending") return data->restart_pending = value == "yes";
  if (key == "last") return ParseLast(value, &data->last_operation.emplace());
  if (key == "last_command" && data->last_operation) {
    data->last_operation->command = value;
    return true;
  }
  if (key == "last_error" && data->last_operation) {
    data->last_operation->error = value;
    return true;
  }
  return false;
}

// Processes of another boot are gone, and so is what they ended with: the machine
// failed under them.
void ForgetProcesses(JobData* data) {
  data->left.clear();
  for (auto& [name, unit] : data->units) {
    unit.processes.reset();
    unit.members.clear();
    if (!IsLive(unit.state)) continue;
    unit.state = JobState::kEnded;
    if (data->policy.restart == RestartPolicy::kOnFailure && data->last_version)
      data->restart_pending = true;
  }
}

}  // namespace

std::string FormatRecord(const JobData& data, std::string_view boot) {
  std::string text = fmt::format("{}\nboot {}\nowner {} {}\nrestarts_tried {}\n", kFirstLine, boot,
                                 data.owner_uid, data.owner_gid, data.restarts_tried);
  if (data.restart_pending) text += "restart_pending yes\n";
  if (!data.clone_of.empty()) text += fmt::format("clone_of {}\n", data.clone_of);
  if (data.last_version) text += fmt::format("last_version {}\n", *data.last_version);
  std::istringstream policy(data.policy.Format());
  for (std::string line; std::getline(policy, line);) text += fmt::format("policy {}\n", line);
  if (const auto& last = data.last_operation) {
    auto started = std::chrono::floor<std::chrono::milliseconds>(last->started.time_since_epoch());
    text += fmt::format("last {} {:.0f} {:.0f} {} {} {} {}\nlast_command {}\nlast_error {}\n",
                        started.count(), last->seconds * 1e6, last->standstill_seconds * 1e6,
                        last->version, last->memory_bytes, last->written_bytes, last->result,
                        OneLine(last->command), OneLine(last->error));
  }
  // Members are shed first when a job is too large for a record: they only help to find leftovers.
  for (size_t members = kMembersLimit;; members /= 2) {
    std::string units;
    if (size_t most = std::min(data.left.size(), members); most > 0) {
      units += "left";
      for (size_t i = 0; i < most; ++i) units += " " + FormatId(data.left[i]);
      units += "\n";
    }
    for (const auto& [name, unit] : data.units) units += FormatUnit(name, unit, members);
    if (members == 0 || text.size() + units.size() <= kRecordLimitBytes) return text + units;
  }
}

Result<JobData> ParseRecord(std::string_view text, std::string_view boot) {
  JobData data;
  Unit* unit = nullptr;
  bool same_boot = false;
  if (text.size() > kRecordLimitBytes) return Fail(Errc::kCorrupt, "record is too large");
  for (int number = 1; !text.empty(); ++number) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    size_t space = line.find(' ');
    std::string_view key = line.substr(0, space);
    std::string_view value = space == std::string_view::npos ? "" : line.substr(space + 1);
    bool good = true;
    if (number == 1) {
      good = line == kFirstLine;
    } else if (key == "boot") {
      same_boot = value == boot;
    } else if (key == "unit") {
      good = CheckName(value, "unit").ok() && data.units.size() < kUnitsLimit;
      unit = &data.units[std::string(value)];
    } else if (unit != nullptr) {
      good = SetUnitLine(key, value, unit);
    } else {
      good = SetJobLine(key, value, &data);
    }
    if (!good) return Fail(Errc::kCorrupt, "line {} of the record cannot be understood", number);
  }
  if (!same_boot) ForgetProcesses(&data);
  for (auto& [name, each] : data.units)
    if (IsLive(each.state) && !each.processes)
      return Fail(Errc::kCorrupt, "unit {} lives without processes", name);
  return data;
}

}  // namespace ckptfs
