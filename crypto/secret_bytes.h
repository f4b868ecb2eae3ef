// SecretBytes: keys and passphrases. Locked in memory, left out of core dumps,
// wiped when freed, movable only, and without a formatter, so that logging one
// does not compile.
#pragma once

#include <cstddef>

#include "base/bytes.h"
#include "base/result.h"

namespace ckptfs {

// Once, before anything else of crypto/; initialises libsodium. Idempotent.
Result<void> InitCrypto();

// No core dumps and no ptrace by our own user: PR_SET_DUMPABLE 0, RLIMIT_CORE 0.
Result<void> ForbidCoreDumps();

class SecretBytes {
 public:
  // kNoMemory when RLIMIT_MEMLOCK does not allow it.
  static Result<SecretBytes> Random(size_t size_bytes);
  static Result<SecretBytes> Copy(Bytes bytes);
  static Result<SecretBytes> Zeros(size_t size_bytes);

  SecretBytes(SecretBytes&& other) noexcept;
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  ~SecretBytes();

  Bytes bytes() const { return {data_, size_bytes_}; }
  MutableBytes mutable_bytes() { return {data_, size_bytes_}; }
  size_t size_bytes() const { return size_bytes_; }

 private:
  SecretBytes(uint8_t* data, size_t size_bytes) : data_(data), size_bytes_(size_bytes) {}
  uint8_t* data_ = nullptr;
  size_t size_bytes_ = 0;
};

}  // namespace ckptfs
