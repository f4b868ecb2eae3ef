#include "crypto/signature.h"

#include <sodium.h>

#include <algorithm>
#include <vector>

#include "crypto/keys.h"

namespace ckptfs {
namespace {

constexpr std::string_view kBefore = "untrusted comment: signature from ckptfs\n";
constexpr std::string_view kBetween = "\ntrusted comment: ckptfs manifest\n";
constexpr std::string_view kTrustedComment = "ckptfs manifest";

constexpr size_t Base64Chars(size_t size_bytes) { return (size_bytes + 2) / 3 * 4; }
constexpr size_t kNamedBytes = 2 + 8 + crypto_sign_BYTES;  // "ED", key id, signature
constexpr size_t kNamedChars = Base64Chars(kNamedBytes);
constexpr size_t kGlobalChars = Base64Chars(crypto_sign_BYTES);
constexpr size_t kFileBytes = kBefore.size() + kNamedChars + kBetween.size() + kGlobalChars + 1;

using Ed25519Signature = std::array<uint8_t, crypto_sign_BYTES>;
using MessageHash = std::array<uint8_t, 64>;

struct Signature {
  std::array<uint8_t, 8> key_id;
  Ed25519Signature of_message;
  Ed25519Signature of_all;  // of the signature and the trusted comment
};

MessageHash HashOf(Bytes message) {
  MessageHash hash;
  crypto_generichash_blake2b(hash.data(), hash.size(), message.data(), message.size(), nullptr, 0);
  return hash;
}

std::vector<uint8_t> WithTrustedComment(const Ed25519Signature& signature) {
  std::vector<uint8_t> both(signature.begin(), signature.end());
  both.insert(both.end(), kTrustedComment.begin(), kTrustedComment.end());
  return both;
}

Result<Signature> ParseSignature(std::string_view file) {
  Error bad(Errc::kCorrupt, "the signature file is not of the form that ckptfs writes");
  if (file.size() != kFileBytes || !file.starts_with(kBefore) || !file.ends_with('\n')) return bad;
  file.remove_prefix(kBefore.size());
  auto named = FromBase64(file.substr(0, kNamedChars), kNamedBytes);
  file.remove_prefix(kNamedChars);
  if (!named || named->size() != kNamedBytes || (*named)[0] != 'E' || (*named)[1] != 'D')
    return bad;
  if (!file.starts_with(kBetween)) return bad;
  file.remove_prefix(kBetween.size());
  auto global = FromBase64(file.substr(0, kGlobalChars), crypto_sign_BYTES);
  if (!global || global->size() != crypto_sign_BYTES) return bad;
  Signature signature;
  std::copy_n(named->begin() + 2, signature.key_id.size(), signature.key_id.begin());
  std::copy_n(named->begin() + 10, signature.of_message.size(), signature.of_message.begin());
  std::copy_n(global->begin(), signature.of_all.size(), signature.of_all.begin());
  return signature;
}

bool Verifies(const PublicKey& key, const Ed25519Signature& signature, Bytes signed_bytes) {
  // libsodium refuses what could be altered into another valid signature: scalars that are not
  // reduced, and points of small order.
  return crypto_sign_verify_detached(signature.data(), signed_bytes.data(), signed_bytes.size(),
                                     key.signing.data()) == 0;
}

}  // namespace

std::string SignMessage(const std::array<uint8_t, 8>& key_id, const uint8_t* secret_key,
                        Bytes message) {
  Signature signature;
  MessageHash hash = HashOf(message);
  crypto_sign_detached(signature.of_message.data(), nullptr, hash.data(), hash.size(), secret_key);
  std::vector<uint8_t> both = WithTrustedComment(signature.of_message);
  crypto_sign_detached(signature.of_all.data(), nullptr, both.data(), both.size(), secret_key);
  std::vector<uint8_t> named{'E', 'D'};
  named.insert(named.end(), key_id.begin(), key_id.end());
  named.insert(named.end(), signature.of_message.begin(), signature.of_message.end());
  return fmt::format("{}{}{}{}\n", kBefore, ToBase64(named), kBetween, ToBase64(signature.of_all));
}

Result<std::array<uint8_t, 8>> SignatureKeyId(std::string_view signature_file) {
  auto signature = ParseSignature(signature_file);
  if (!signature) return signature.error();
  return signature->key_id;
}

Result<void> VerifySignature(const PublicKey& key, Bytes message, std::string_view signature_file) {
  auto signature = ParseSignature(signature_file);
  if (!signature) return signature.error();
  if (signature->key_id != key.key_id)
    return Fail(Errc::kCorrupt, "the signature is not by the key {}", key.IdText());
  if (!Verifies(key, signature->of_message, HashOf(message)) ||
      !Verifies(key, signature->of_all, WithTrustedComment(signature->of_message)))
    return Fail(Errc::kCorrupt, "the signature by the key {} does not verify", key.IdText());
  return {};
}

}  // namespace ckptfs
