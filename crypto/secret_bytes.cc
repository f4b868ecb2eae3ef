#include "crypto/secret_bytes.h"

#include <sodium.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

namespace ckptfs {
namespace {

size_t SystemPageBytes() {
  static const size_t page_bytes = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  return page_bytes;
}

// guard page | locked pages | guard page. The secret ends where the second guard begins (but for
// its alignment), so that reading past it faults.
struct Layout {
  explicit Layout(size_t size_bytes) {
    size_t page_bytes = SystemPageBytes();
    locked_bytes = (size_bytes + page_bytes - 1) / page_bytes * page_bytes;
    mapped_bytes = locked_bytes + 2 * page_bytes;
    secret_offset = (page_bytes + locked_bytes - size_bytes) / kAlignment * kAlignment;
  }
  static constexpr size_t kAlignment = 16;
  size_t locked_bytes;
  size_t mapped_bytes;
  size_t secret_offset;
};

}  // namespace

Result<void> InitCrypto() {
  if (::sodium_init() < 0)
    return Fail(Errc::kUnsupported, "libsodium cannot start: it finds no source of random numbers");
  return {};
}

Result<void> ForbidCoreDumps() {
  if (::prctl(PR_SET_DUMPABLE, 0) != 0) return Error::FromErrno(errno, "forbid core dumps");
  rlimit limit{};
  if (::getrlimit(RLIMIT_CORE, &limit) != 0) return Error::FromErrno(errno, "read core limit");
  // The hard limit stays: a child must be able to give a job its own limit back.
  limit.rlim_cur = 0;
  if (::setrlimit(RLIMIT_CORE, &limit) != 0) return Error::FromErrno(errno, "set core limit");
  return {};
}

Result<SecretBytes> SecretBytes::Zeros(size_t size_bytes) {
  if (size_bytes == 0) return SecretBytes(nullptr, 0);
  if (size_bytes > std::numeric_limits<size_t>::max() / 2)
    return Fail(Errc::kNoMemory, "a secret of {} bytes is too large", size_bytes);
  Layout layout(size_bytes);
  void* map = ::mmap(nullptr, layout.mapped_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) return Error::FromErrno(errno, "memory for a secret");
  uint8_t* locked = static_cast<uint8_t*>(map) + SystemPageBytes();
  // Wiped in a fork rather than absent there: a forked child can still run destructors.
  bool ready = ::mprotect(locked, layout.locked_bytes, PROT_READ | PROT_WRITE) == 0 &&
               ::madvise(locked, layout.locked_bytes, MADV_DONTDUMP) == 0 &&
               ::madvise(locked, layout.locked_bytes, MADV_WIPEONFORK) == 0 &&
               ::mlock(locked, layout.locked_bytes) == 0;
  if (!ready) {
    int failed = errno;
    ::munmap(map, layout.mapped_bytes);
    // EPERM and EAGAIN are the limit too: of nothing at all, or reached by the whole process.
    if (failed != ENOMEM && failed != EPERM && failed != EAGAIN)
      return Error::FromErrno(failed, "lock memory for a secret");
    return Error(Errc::kNoMemory, "no memory can be locked for a secret",
                 "raise the limit of locked memory (ulimit -l, LimitMEMLOCK=)");
  }
  return SecretBytes(static_cast<uint8_t*>(map) + layout.secret_offset, size_bytes);
}

Result<SecretBytes> SecretBytes::Random(size_t size_bytes) {
  auto secret = Zeros(size_bytes);
  if (secret) ::randombytes_buf(secret->data_, size_bytes);
  return secret;
}

Result<SecretBytes> SecretBytes::Copy(Bytes bytes) {
  auto secret = Zeros(bytes.size());
  if (secret && !bytes.empty()) std::memcpy(secret->data_, bytes.data(), bytes.size());
  return secret;
}

SecretBytes::SecretBytes(SecretBytes&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)) {}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
  if (this != &other) {
    Free();
    data_ = std::exchange(other.data_, nullptr);
    size_bytes_ = std::exchange(other.size_bytes_, 0);
  }
  return *this;
}

SecretBytes::~SecretBytes() { Free(); }

void SecretBytes::Free() {
  if (data_ == nullptr) return;
  ::sodium_memzero(data_, size_bytes_);
  Layout layout(size_bytes_);
  ::munmap(data_ - layout.secret_offset, layout.mapped_bytes);  // unlocks as well
}

}  // namespace ckptfs
