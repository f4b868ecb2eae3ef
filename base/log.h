// Log: what the daemon says to its operator, one line an event, to stderr (the
// journal picks it up) with sd-daemon priority prefixes. Handed to what uses it.
// Never given secrets: SecretBytes has no formatter.
#pragma once

#include <fmt/format.h>

#include <string_view>

namespace ckptfs {

class Log {
 public:
  enum class Level { kError, kWarning, kInfo, kDebug };

  // Borrows `fd`; lines above `most` are dropped.
  explicit Log(int fd = 2, Level most = Level::kInfo) : fd_(fd), most_(most) {}

  template <typename... Args>
  void Err(fmt::format_string<Args...> text, Args&&... args) const {
    Line(Level::kError, fmt::format(text, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void Warn(fmt::format_string<Args...> text, Args&&... args) const {
    Line(Level::kWarning, fmt::format(text, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void Info(fmt::format_string<Args...> text, Args&&... args) const {
    Line(Level::kInfo, fmt::format(text, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void Debug(fmt::format_string<Args...> text, Args&&... args) const {
    if (most_ >= Level::kDebug) Line(Level::kDebug, fmt::format(text, std::forward<Args>(args)...));
  }

 private:
  // One write(2) a line, so that threads do not interleave.
  void Line(Level level, std::string_view text) const;

  int fd_;
  Level most_;
};

}  // namespace ckptfs
