#include "fs/render.h"

#include <algorithm>

namespace ckptfs {
namespace {

class Lines {
 public:
  void Add(std::string_view key, std::string_view value) {
    out_ += key;
    out_ += ' ';
    if (value.empty()) out_ += "none";
    // A value is one line of ASCII, whatever a process calls itself.
    for (char c : value) out_ += c >= 0x20 && c < 0x7f ? c : '?';
    out_ += '\n';
  }
  void Add(std::string_view key, uint64_t value) { Add(key, std::to_string(value)); }
  void AddFlag(std::string_view key, bool value) { Add(key, value ? "yes" : "no"); }
  void AddSeconds(std::string_view key, double value) { Add(key, fmt::format("{:.3f}", value)); }
  std::string Take() { return std::move(out_); }

 private:
  std::string out_;
};

std::string_view StateName(IncomingState state) {
  switch (state) {
    case IncomingState::kPartial:
      return "partial";
    case IncomingState::kComplete:
      return "complete";
    case IncomingState::kBad:
      return "bad";
  }
  return "bad";
}

std::string Join(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

void AddIncoming(Lines* lines, const IncomingInfo& incoming) {
  lines->Add("incoming",
             fmt::format("{}/{} {}{}{}", incoming.job, incoming.version, StateName(incoming.state),
                         incoming.words.empty() ? "" : " ", incoming.words));
}

}  // namespace

std::string RenderIncoming(const IncomingInfo& incoming) {
  Lines lines;
  AddIncoming(&lines, incoming);
  return lines.Take();
}

std::string RenderNode(const NodeFacts& facts) {
  Lines lines;
  lines.Add("node", facts.node);
  lines.Add("version", CKPTFS_VERSION);
  lines.Add("key", facts.key_id);
  lines.Add("suite", facts.suite);
  lines.Add("trusted", Join(facts.trusted));
  lines.Add("jobs", facts.jobs);
  if (facts.use) {
    lines.Add("store_versions", facts.use->versions);
    lines.Add("store_bytes", facts.use->bytes);
    lines.Add("store_dead_bytes", facts.use->dead_bytes);
    lines.Add("store_free_bytes", facts.use->free_bytes);
  } else {
    lines.Add("store", facts.use.error().Text());
  }
  for (const CheckpointerStatus& one : facts.checkpointers)
    lines.Add("checkpointer." + one.name,
              one.availability.available ? "available" : "not available");
  for (const IncomingInfo& incoming : facts.incoming) AddIncoming(&lines, incoming);
  return lines.Take();
}

std::string RenderJob(const JobStatus& job, const std::vector<IncomingInfo>& incoming) {
  Lines lines;
  lines.Add("state", JobStateName(job.state));
  lines.Add("owner", job.owner_uid);
  lines.Add("clone_of", job.clone_of);
  for (const UnitStatus& unit : job.units) lines.Add("unit." + unit.name, JobStateName(unit.state));
  lines.Add("last_version", job.last_version ? std::to_string(*job.last_version) : "");
  lines.Add("running_command", job.running_command.value_or(""));
  const OperationReport last = job.last_operation.value_or(OperationReport{});
  bool any = job.last_operation.has_value();
  lines.Add("last_command", last.command);
  lines.Add("last_result", last.result);
  lines.Add("last_error", last.error);
  lines.Add("last_started", any ? FormatTime(last.started) : "");
  lines.AddSeconds("last_seconds", last.seconds);
  lines.AddSeconds("last_standstill_seconds", last.standstill_seconds);
  lines.Add("last_memory_bytes", last.memory_bytes);
  lines.Add("last_written_bytes", last.written_bytes);
  for (const UnitStatus& unit : job.units)
    if (!unit.warning.empty()) lines.Add("warning." + unit.name, unit.warning);
  for (const IncomingInfo& one : incoming) AddIncoming(&lines, one);
  return lines.Take();
}

std::string RenderUnit(const UnitStatus& unit) {
  Lines lines;
  lines.Add("state", JobStateName(unit.state));
  lines.Add("checkpointer", unit.checkpointer);
  lines.Add("uses", unit.uses);
  lines.Add("root", unit.root > 0 ? std::to_string(unit.root) : "");
  lines.Add("processes", unit.processes.size());
  lines.Add("exit", unit.exit);
  lines.Add("warning", unit.warning);
  return lines.Take();
}

std::string RenderProgress(const JobProgress& progress) {
  Lines lines;
  lines.Add("phase", progress.phase);
  lines.Add("bytes_done", progress.bytes_done);
  lines.Add("bytes_total", progress.bytes_total);
  lines.Add("bytes_per_second", static_cast<uint64_t>(std::max(0.0, progress.bytes_per_second)));
  lines.Add("seconds_left",
            progress.seconds_left ? fmt::format("{:.1f}", *progress.seconds_left) : "");
  return lines.Take();
}

std::string RenderCheckpointer(const CheckpointerStatus& checkpointer) {
  const Availability& is = checkpointer.availability;
  const Capabilities& can = checkpointer.capabilities;
  Lines lines;
  lines.Add("name", checkpointer.name);
  lines.AddFlag("available", is.available);
  lines.Add("version", is.version);
  lines.Add("why_not", is.why_not);
  lines.Add("remedy", is.remedy);
  lines.AddFlag("attach", can.attach);
  lines.AddFlag("leave_running", can.leave_running);
  lines.AddFlag("incremental", can.incremental);
  lines.AddFlag("stream", can.stream);
  lines.AddFlag("hold", can.hold);
  lines.AddFlag("clone", can.clone);
  lines.AddFlag("tcp", can.tcp);
  lines.AddFlag("unprivileged", can.unprivileged);
  lines.AddFlag("needs_launch", can.needs_launch);
  return lines.Take();
}

}  // namespace ckptfs
