#include "crypto/suite.h"

#include <sodium.h>

#include <cassert>
#include <variant>

#include "crypto/secret_bytes.h"

#ifdef CKPTFS_HAVE_BLAKE3
#include <blake3.h>
#endif

namespace ckptfs {

#if defined(CKPTFS_HAVE_AEGIS) && defined(CKPTFS_HAVE_BLAKE3)
static constexpr bool kHaveAegis256Blake3 = true;
#else
static constexpr bool kHaveAegis256Blake3 = false;
#endif

std::string_view SuiteName(Suite suite) {
  switch (suite) {
    case Suite::kAegis256Blake3:
      return "aegis256-blake3";
    case Suite::kXChaCha20Blake2b:
      return "xchacha20poly1305-blake2b";
  }
  return "";
}

Result<Suite> ParseSuite(std::string_view name) {
  for (Suite suite : AllSuites()) {
    if (name != SuiteName(suite)) continue;
    if (SuiteAvailable(suite)) return suite;
    return Error(Errc::kUnsupported,
                 fmt::format("this ckptfs was built without the cipher suite {}", name),
                 "build it with libsodium 1.0.19 or later and libblake3: see scripts/setup");
  }
  return Fail(Errc::kInvalid, "there is no cipher suite '{}'", name.substr(0, 64));
}

Suite DefaultSuite() {
#ifdef CKPTFS_HAVE_AEGIS
  // Without the CPU's help AEGIS is slower than ChaCha20. Before sodium_init nothing is detected.
  bool fast = InitCrypto().ok() && (sodium_runtime_has_aesni() || sodium_runtime_has_armcrypto());
  if (kHaveAegis256Blake3 && fast) return Suite::kAegis256Blake3;
#endif
  return Suite::kXChaCha20Blake2b;
}

bool SuiteAvailable(Suite suite) {
  switch (suite) {
    case Suite::kAegis256Blake3:
      return kHaveAegis256Blake3;
    case Suite::kXChaCha20Blake2b:
      return true;
  }
  return false;
}

std::vector<Suite> AllSuites() { return {Suite::kAegis256Blake3, Suite::kXChaCha20Blake2b}; }

struct Hasher::State {
#ifdef CKPTFS_HAVE_BLAKE3
  std::variant<crypto_generichash_blake2b_state, blake3_hasher> hash;
#else
  std::variant<crypto_generichash_blake2b_state> hash;
#endif
};

Hasher::Hasher(Suite suite) : state_(std::make_unique<State>()) {
  assert(SuiteAvailable(suite));
#ifdef CKPTFS_HAVE_BLAKE3
  if (suite == Suite::kAegis256Blake3) {
    blake3_hasher_init(&state_->hash.emplace<blake3_hasher>());
    return;
  }
#endif
  (void)suite;
  crypto_generichash_blake2b_init(&std::get<0>(state_->hash), nullptr, 0, sizeof(Digest));
}

Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;
Hasher::~Hasher() = default;

void Hasher::Update(Bytes bytes) {
#ifdef CKPTFS_HAVE_BLAKE3
  if (auto* blake3 = std::get_if<blake3_hasher>(&state_->hash)) {
    blake3_hasher_update(blake3, bytes.data(), bytes.size());
    return;
  }
#endif
  crypto_generichash_blake2b_update(&std::get<0>(state_->hash), bytes.data(), bytes.size());
}

Digest Hasher::Finish() {
  Digest digest;
#ifdef CKPTFS_HAVE_BLAKE3
  if (auto* blake3 = std::get_if<blake3_hasher>(&state_->hash)) {
    blake3_hasher_finalize(blake3, digest.data(), digest.size());
    return digest;
  }
#endif
  crypto_generichash_blake2b_final(&std::get<0>(state_->hash), digest.data(), digest.size());
  return digest;
}

Digest Hash(Suite suite, Bytes bytes) {
  Hasher hasher(suite);
  hasher.Update(bytes);
  return hasher.Finish();
}

}  // namespace ckptfs
