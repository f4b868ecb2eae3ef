#include "base/log.h"

#include <unistd.h>

namespace ckptfs {

void Log::Line(Level level, std::string_view text) const {
  if (level > most_) return;
  static constexpr const char* kPrefix[] = {"<3>", "<4>", "<6>", "<7>"};
  // sd-daemon prefixes only where nobody reads them: on a terminal they are noise.
  const char* prefix = ::isatty(fd_) ? "" : kPrefix[static_cast<int>(level)];
  std::string line = fmt::format("{}ckptfs: {}\n", prefix, text);
  // A log that cannot be written is no reason to fail what is being logged.
  [[maybe_unused]] ssize_t n = ::write(fd_, line.data(), line.size());
}

}  // namespace ckptfs
