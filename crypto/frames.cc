#include "crypto/frames.h"

#include <sodium.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <string>

#include "crypto/keys.h"

namespace ckptfs {
namespace {

constexpr size_t kKeyBytes = 32;
constexpr size_t kNonceBytes = 32;  // AEGIS-256's; XChaCha20's is the first 24 of them
using Nonce = std::array<uint8_t, kNonceBytes>;

static_assert(crypto_aead_xchacha20poly1305_ietf_KEYBYTES == kKeyBytes);
static_assert(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES == 24);
constexpr size_t kPoly1305Bytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;
static_assert(kPoly1305Bytes == 16);
#ifdef CKPTFS_HAVE_AEGIS
static_assert(crypto_aead_aegis256_KEYBYTES == kKeyBytes);
static_assert(crypto_aead_aegis256_NPUBBYTES == kNonceBytes);
static_assert(crypto_aead_aegis256_ABYTES == kTagBytes);
#endif

Nonce NonceOf(const FrameId& id) {
  Nonce nonce{};
  std::copy(id.pack.begin(), id.pack.end(), nonce.begin());
  for (size_t i = 0; i < 8; ++i)
    nonce[id.pack.size() + i] = static_cast<uint8_t>(id.number >> (8 * i));
  return nonce;
}

void DeriveKey(Suite suite, const SecretBytes& data_key, std::string_view purpose,
               MutableBytes out) {
  std::string context = fmt::format("ckptfs 1 {} {}", SuiteName(suite), purpose);
  Bytes text = AsBytes(context);
  crypto_generichash_blake2b(out.data(), out.size(), text.data(), text.size(),
                             data_key.bytes().data(), data_key.size_bytes());
}

Result<void> CheckMake(Suite suite, const SecretBytes& data_key) {
  if (!SuiteAvailable(suite)) return ParseSuite(SuiteName(suite)).error();
  if (data_key.size_bytes() != kDataKeyBytes)
    return Fail(Errc::kInternal, "a data key of {} bytes", data_key.size_bytes());
  return {};
}

void SealText(Suite suite, const uint8_t* key, const Nonce& nonce, Bytes plain, uint8_t* text,
              uint8_t* tag) {
#ifdef CKPTFS_HAVE_AEGIS
  if (suite == Suite::kAegis256Blake3) {
    crypto_aead_aegis256_encrypt_detached(text, tag, nullptr, plain.data(), plain.size(), nullptr,
                                          0, nullptr, nonce.data(), key);
    return;
  }
#endif
  (void)suite;
  crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
      text, tag, nullptr, plain.data(), plain.size(), nullptr, 0, nullptr, nonce.data(), key);
  std::memset(tag + kPoly1305Bytes, 0, kTagBytes - kPoly1305Bytes);
}

bool OpenText(Suite suite, const uint8_t* key, const Nonce& nonce, Bytes text, const uint8_t* tag,
              uint8_t* plain) {
#ifdef CKPTFS_HAVE_AEGIS
  if (suite == Suite::kAegis256Blake3)
    return crypto_aead_aegis256_decrypt_detached(plain, nullptr, text.data(), text.size(), tag,
                                                 nullptr, 0, nonce.data(), key) == 0;
#endif
  (void)suite;
  if (!sodium_is_zero(tag + kPoly1305Bytes, kTagBytes - kPoly1305Bytes)) return false;
  return crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
             plain, nullptr, text.data(), text.size(), tag, nullptr, 0, nonce.data(), key) == 0;
}

}  // namespace

PackId RandomPackId() {
  PackId id;
  randombytes_buf(id.data(), id.size());
  return id;
}

// One key a kind, in the order of FrameKind.
struct FrameCipher::Keys {
  explicit Keys(SecretBytes all) : bytes(std::move(all)) {}
  const uint8_t* Of(FrameKind kind) const {
    assert(kind == FrameKind::kPages || kind == FrameKind::kTable);
    return bytes.bytes().data() + (kind == FrameKind::kPages ? 0 : kKeyBytes);
  }
  SecretBytes bytes;
};

FrameCipher::FrameCipher(Suite suite, std::unique_ptr<const Keys> keys)
    : suite_(suite), keys_(std::move(keys)) {}

FrameCipher::~FrameCipher() = default;

Result<std::unique_ptr<FrameCipher>> FrameCipher::Make(Suite suite, const SecretBytes& data_key) {
  if (auto sound = CheckMake(suite, data_key); !sound) return sound.error();
  auto keys = SecretBytes::Zeros(2 * kKeyBytes);
  if (!keys) return keys.error();
  DeriveKey(suite, data_key, "pages", keys->mutable_bytes().first(kKeyBytes));
  DeriveKey(suite, data_key, "table", keys->mutable_bytes().last(kKeyBytes));
  return std::unique_ptr<FrameCipher>(
      new FrameCipher(suite, std::make_unique<const Keys>(std::move(*keys))));
}

void FrameCipher::Seal(FrameKind kind, const FrameId& id, Bytes plain, MutableBytes frame) const {
  assert(frame.size() == plain.size() + kTagBytes);
  SealText(suite_, keys_->Of(kind), NonceOf(id), plain, frame.data(), frame.data() + plain.size());
}

void FrameCipher::SealInPlace(FrameKind kind, const FrameId& id, MutableBytes frame) const {
  assert(frame.size() >= kTagBytes);
  Seal(kind, id, frame.first(frame.size() - kTagBytes), frame);
}

Result<void> FrameCipher::Open(FrameKind kind, const FrameId& id, Bytes sealed,
                               MutableBytes plain) const {
  bool good = false;
  // The sizes come from what is being read, so they are checked and not asserted.
  if (sealed.size() >= kTagBytes && plain.size() == sealed.size() - kTagBytes) {
    const uint8_t* tag = sealed.data() + plain.size();
    good = OpenText(suite_, keys_->Of(kind), NonceOf(id), sealed.first(plain.size()), tag,
                    plain.data());
  }
  if (good) return {};
  std::fill(plain.begin(), plain.end(), uint8_t{0});
  return Fail(Errc::kCorrupt, "frame {} of pack {} does not verify", id.number, ToHex(id.pack));
}

struct Fingerprinter::Key {
  explicit Key(SecretBytes key) : bytes(std::move(key)) {}
  SecretBytes bytes;
};

Fingerprinter::Fingerprinter(Suite suite, std::unique_ptr<const Key> key)
    : suite_(suite), key_(std::move(key)) {}

Fingerprinter::~Fingerprinter() = default;

Result<std::unique_ptr<Fingerprinter>> Fingerprinter::Make(Suite suite,
                                                           const SecretBytes& data_key) {
  if (auto sound = CheckMake(suite, data_key); !sound) return sound.error();
  auto key = SecretBytes::Zeros(kKeyBytes);
  if (!key) return key.error();
  DeriveKey(suite, data_key, "fingerprint", key->mutable_bytes());
  return std::unique_ptr<Fingerprinter>(
      new Fingerprinter(suite, std::make_unique<const Key>(std::move(*key))));
}

Fingerprint Fingerprinter::Of(Bytes page) const {
  assert(page.size() == kPageBytes);
  Fingerprint fingerprint;
  Bytes key = key_->bytes.bytes();
#ifdef CKPTFS_HAVE_AEGIS
  if (suite_ == Suite::kAegis256Blake3) {
    static constexpr Nonce kNoNonce{};
    std::array<uint8_t, kTagBytes> tag;
    uint8_t no_ciphertext;
    crypto_aead_aegis256_encrypt_detached(&no_ciphertext, tag.data(), nullptr, nullptr, 0,
                                          page.data(), page.size(), nullptr, kNoNonce.data(),
                                          key.data());
    std::copy_n(tag.begin(), fingerprint.size(), fingerprint.begin());
    return fingerprint;
  }
#endif
  crypto_generichash_blake2b(fingerprint.data(), fingerprint.size(), page.data(), page.size(),
                             key.data(), key.size());
  return fingerprint;
}

}  // namespace ckptfs
