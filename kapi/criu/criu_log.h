// criu's log, turned into one sentence that names the cause, and a remedy.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/guarded.h"
#include "base/result.h"

namespace ckptfs {

enum class CriuAct { kDump, kRestore };

// What the log says went wrong. Total: a failure that is not known becomes the
// log's first error in criu's own words. `ended` is how criu ended.
Error ExplainCriuLog(CriuAct act, std::string_view log, std::string_view ended);

// The last log of each unit, kept in memory.
class CriuLogs {
 public:
  void Keep(const std::string& job, const std::string& unit, std::string log);
  std::string Last(std::string_view job, std::string_view unit) const;

 private:
  Guarded<std::map<std::string, std::string>> logs_;
};

}  // namespace ckptfs
