// The table of what criu is known to say when it fails.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "base/result.h"
#include "kapi/criu/criu_log.h"

namespace ckptfs {

struct CriuMessage {
  std::string_view needle;     // in a line of the log
  std::optional<CriuAct> act;  // unset: either
  Errc code;
  std::string_view sentence;  // "{}" stands for the line between `after` and `until`
  std::string_view remedy;
  std::string_view after = "";
  std::string_view until = "";
};

// The more special ones first.
std::span<const CriuMessage> CriuMessages();

}  // namespace ckptfs
