#include "agent/metrics.h"

#include "agent/operation.h"

namespace ckptfs {
namespace {

std::string Escape(std::string_view value) {
  std::string escaped;
  for (char c : value) {
    if (c == '\\' || c == '"') escaped += '\\';
    if (c == '\n')
      escaped += "\\n";
    else
      escaped += c;
  }
  return escaped;
}

class Page {
 public:
  void Family(const char* name, const char* type, const char* help) {
    name_ = name;
    text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
  }
  template <typename T>
  void Sample(const std::vector<std::pair<const char*, std::string>>& labels, T value) {
    text_ += name_;
    std::string inside;
    for (const auto& [label, said] : labels)
      inside += fmt::format("{}{}=\"{}\"", inside.empty() ? "" : ",", label, Escape(said));
    if (!inside.empty()) text_ += "{" + inside + "}";
    text_ += fmt::format(" {}\n", value);
  }
  std::string Take() { return std::move(text_); }

 private:
  std::string name_, text_;
};

}  // namespace

void OperationMetrics::Count(Verb verb, const OperationReport& report) {
  auto state = state_.Lock();
  Totals& totals = state->by_verb_and_result[{std::string(VerbName(verb)), report.result}];
  ++totals.count;
  totals.seconds += report.seconds;
  totals.standstill_seconds += report.standstill_seconds;
  if (verb != Verb::kCheckpoint) return;
  state->memory_bytes += report.memory_bytes;
  state->written_bytes += report.written_bytes;
}

std::string OperationMetrics::Text(const Now& now) const {
  Page page;
  page.Family("ckptfs_build_info", "gauge", "Always 1; the labels say what runs.");
  page.Sample({{"version", CKPTFS_VERSION}, {"node", now.node}, {"suite", now.suite}}, 1);
  page.Family("ckptfs_jobs", "gauge", "Jobs of this node by state.");
  for (JobState state : {JobState::kEmpty, JobState::kRunning, JobState::kSuspended,
                         JobState::kStopped, JobState::kEnded}) {
    auto it = now.jobs.find(state);
    page.Sample({{"state", std::string(JobStateName(state))}},
                it == now.jobs.end() ? 0 : it->second);
  }
  page.Family("ckptfs_operations_running", "gauge", "Commands at work now.");
  page.Sample({}, now.operations_running);

  auto state = state_.Lock();
  auto totals = [&](auto value) {
    for (const auto& [key, each] : state->by_verb_and_result)
      page.Sample({{"verb", key.first}, {"result", key.second}}, value(each));
  };
  page.Family("ckptfs_operations_total", "counter", "Commands that have ended.");
  totals([](const Totals& each) { return each.count; });
  page.Family("ckptfs_operation_seconds_total", "counter", "Time that they took.");
  totals([](const Totals& each) { return each.seconds; });
  page.Family("ckptfs_standstill_seconds_total", "counter",
              "Time for which jobs stood still, by the unit that did so longest.");
  totals([](const Totals& each) { return each.standstill_seconds; });
  page.Family("ckptfs_checkpoint_memory_bytes_total", "counter",
              "Bytes of jobs that were saved, before deduplication and sealing.");
  page.Sample({}, state->memory_bytes);
  page.Family("ckptfs_checkpoint_written_bytes_total", "counter",
              "Bytes that checkpoints added to the store.");
  page.Sample({}, state->written_bytes);
  if (now.store) {
    page.Family("ckptfs_store_bytes", "gauge", "Bytes of the store's files.");
    page.Sample({}, now.store->bytes);
    page.Family("ckptfs_store_dead_bytes", "gauge", "Bytes that no version refers to any more.");
    page.Sample({}, now.store->dead_bytes);
    page.Family("ckptfs_store_free_bytes", "gauge", "Room on the store's file system.");
    page.Sample({}, now.store->free_bytes);
    page.Family("ckptfs_store_versions", "gauge", "Versions in the store.");
    page.Sample({}, now.store->versions);
  }
  return page.Take();
}

}  // namespace ckptfs
