// What each command may do in each state of a job: the one table of it.
#pragma once

#include <optional>

#include "agent/agent.h"

namespace ckptfs {

enum class Allowed {
  kYes,
  kNothingToDo,  // done already: succeeds at once
  kRefused,
};

struct Rule {
  Allowed allowed = Allowed::kYes;
  Errc code = Errc::kInternal;  // with kRefused
  const char* words = "";
  const char* remedy = "";
};

// For a job on which no operation runs. `restart clone` follows another row than `restart`.
Rule RuleFor(const Command& command, JobState state);

// kUnsupported for what needs more nodes than this one; kInvalid for options that the verb has not.
Result<void> CheckCommand(const Command& command, std::string_view this_node);

}  // namespace ckptfs
