// SecretBytes: keys and passphrases. Locked in memory, left out of core dumps,
// wiped when freed, movable only, and without a formatter, so that logging one
// does not compile. A forked child finds zeros in them: daemonise before you load
// keys, not after.
//
// Each one takes whole pages between two inaccessible ones: memory is locked by
// the page, and RLIMIT_MEMLOCK (often 8 MiB, 2048 pages) counts them. So what
// belongs together is kept in one SecretBytes, as all derived keys of a job are.
#pragma once

#include <cstddef>

#include "base/bytes.h"
#include "base/result.h"

namespace ckptfs {

// Once, before anything else of crypto/; initialises libsodium. Idempotent.
Result<void> InitCrypto();

// No core dumps of this process and no ptrace by our own user: PR_SET_DUMPABLE 0
// and a soft RLIMIT_CORE of 0. For the daemon's start, before it has secrets.
// What follows from it: our files in /proc belong to root, so without privileges
// some of /proc/self cannot be opened any more; and children inherit the limit
// (not the other, which ends at an exec): put it back for a job that is started.
Result<void> ForbidCoreDumps();

class SecretBytes {
 public:
  // kNoMemory when RLIMIT_MEMLOCK does not allow it.
  static Result<SecretBytes> Random(size_t size_bytes);
  static Result<SecretBytes> Copy(Bytes bytes);
  static Result<SecretBytes> Zeros(size_t size_bytes);

  SecretBytes(SecretBytes&& other) noexcept;  // leaves `other` empty
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  ~SecretBytes();

  Bytes bytes() const { return {data_, size_bytes_}; }
  MutableBytes mutable_bytes() { return {data_, size_bytes_}; }
  size_t size_bytes() const { return size_bytes_; }

 private:
  SecretBytes(uint8_t* data, size_t size_bytes) : data_(data), size_bytes_(size_bytes) {}
  void Free();
  uint8_t* data_ = nullptr;
  size_t size_bytes_ = 0;
};

}  // namespace ckptfs
