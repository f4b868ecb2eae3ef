#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "kapi/checkpointer.h"

namespace ckptfs {

Result<std::shared_ptr<CancelToken>> CancelToken::Make() {
  Fd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.valid()) return Error::FromErrno(errno, "eventfd");
  return std::shared_ptr<CancelToken>(new CancelToken(std::move(event)));
}

void CancelToken::Cancel() {
  cancelled_ = true;
  uint64_t one = 1;
  // Only a counter that is full refuses, and then the descriptor is readable.
  [[maybe_unused]] ssize_t n = ::write(event_.get(), &one, sizeof one);
}

}  // namespace ckptfs
