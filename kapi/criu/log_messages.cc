#include "kapi/criu/log_messages.h"

namespace ckptfs {

std::span<const CriuMessage> CriuMessages() {
  static const CriuMessage messages[] = {
      {"File exists", CriuAct::kRestore, Errc::kExists, "pid {} is in use on this node",
       "end that process, or write 'restart clone' to restart the job with pids of its own",
       "Can't fork for ", ":"},
  };
  return messages;
}

}  // namespace ckptfs
