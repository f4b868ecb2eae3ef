// Cipher suites: which primitives an image is sealed and hashed with. The
// manifest names the suite; a node reads every suite its libraries have.
#pragma once

#include <array>
#include <memory>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace ckptfs {

enum class Suite {
  kAegis256Blake3,    // "aegis256-blake3": libsodium >= 1.0.19 and libblake3
  kXChaCha20Blake2b,  // "xchacha20poly1305-blake2b": everywhere
};

std::string_view SuiteName(Suite suite);
// kUnsupported with a remedy for a suite this build cannot read; kInvalid for a
// name no version of ours ever wrote.
Result<Suite> ParseSuite(std::string_view name);
// The fastest suite that works here.
Suite DefaultSuite();
// Whether this build can seal and open with it; on some CPUs it does so slowly.
bool SuiteAvailable(Suite suite);
// Every suite there is, available or not.
std::vector<Suite> AllSuites();

using Digest = std::array<uint8_t, 32>;

// The suite's hash (BLAKE3 or BLAKE2b-256). Thread-safe. The suite is available.
Digest Hash(Suite suite, Bytes bytes);

// Incremental form of Hash. Movable; one thread at a time.
class Hasher {
 public:
  explicit Hasher(Suite suite);
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  ~Hasher();
  void Update(Bytes bytes);
  Digest Finish();  // once

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ckptfs
