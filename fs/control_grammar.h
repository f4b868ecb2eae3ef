// The grammar of what is written into control files: one command a write.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "agent/agent.h"
#include "base/result.h"

namespace ckptfs {

// The most that one write to a control file may hold, newline included.
inline constexpr size_t kControlBytes = 4096;

// One write to ctl: words separated by blanks, a newline at the end or not.
//   checkpoint [stop] [full] | restart [N] [clone] [here|node=NODE] | suspend |
//   resume | kill | migrate NODE | cancel          each may end in " &"
// Errors: kInvalid with a sentence that lists what is allowed; kTooBig.
Result<Command> ParseCommand(std::string_view written);

// What reading ctl gives: the commands, one a line.
std::string_view CommandHelp();

// One write to procs: a positive decimal pid.
Result<pid_t> ParsePid(std::string_view written);

// One write of one word (units/UNIT/checkpointer): printable ASCII, no blanks.
Result<std::string> ParseWord(std::string_view written);

// A version's folder name: 1 to 18446744073709551615, without leading zeros.
std::optional<uint64_t> ParseVersion(std::string_view name);

// `written` for an error log: printable, one line, bounded.
std::string Quoted(std::string_view written);

}  // namespace ckptfs
