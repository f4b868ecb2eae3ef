// OperationMetrics: counters of operations, and all figures in Prometheus' text format.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "base/guarded.h"

namespace ckptfs {

// Thread-safe. Nothing here names a job: the figures are for every user to see.
class OperationMetrics {
 public:
  void Count(Verb verb, const OperationReport& report);

  struct Now {
    std::string node, suite;
    std::map<JobState, uint64_t> jobs;
    uint64_t operations_running = 0;
    std::optional<StoreUse> store;
  };
  // "# HELP", "# TYPE" and samples of every family.
  std::string Text(const Now& now) const;

 private:
  struct Totals {
    uint64_t count = 0;
    double seconds = 0, standstill_seconds = 0;
  };
  struct State {
    std::map<std::pair<std::string, std::string>, Totals> by_verb_and_result;
    uint64_t memory_bytes = 0, written_bytes = 0;
  };
  Guarded<State> state_;
};

}  // namespace ckptfs
