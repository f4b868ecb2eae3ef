// Public keys, data keys and base64; crypto/node_keys.cc has the secret halves.
#include "crypto/keys.h"

#include <sodium.h>

#include <algorithm>

#include "crypto/node_name.h"

namespace ckptfs {
namespace {

constexpr size_t kPublicKeyLimitBytes = 4096;
constexpr std::string_view kComment = "untrusted comment: ";
constexpr std::string_view kOurComment = "ckptfs public key ";
constexpr std::string_view kRecipient = "recipient ";
constexpr size_t kMinisignKeyBytes = 2 + 8 + 32;  // "Ed", key id, key
constexpr size_t kWrappedBytes = kDataKeyBytes + crypto_box_SEALBYTES;

Error NotAKey(std::string_view why) {
  return Error(Errc::kInvalid, fmt::format("not a public key: {}", why),
               "use the whole of the other node's keys/self.pub, unchanged");
}

// Up to and without its newline; nullopt if there is none.
std::optional<std::string_view> TakeLine(std::string_view* text) {
  size_t end = text->find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  std::string_view line = text->substr(0, end);
  text->remove_prefix(end + 1);
  return line;
}

Result<void> ParseSigningLine(std::string_view line, PublicKey* key) {
  auto bytes = FromBase64(line, kMinisignKeyBytes);
  if (!bytes || bytes->size() != kMinisignKeyBytes || (*bytes)[0] != 'E' || (*bytes)[1] != 'd')
    return NotAKey("the signing key is not a line of minisign's, RW and 54 characters");
  std::copy_n(bytes->begin() + 2, key->key_id.size(), key->key_id.begin());
  std::copy_n(bytes->begin() + 10, key->signing.size(), key->signing.begin());
  // Points of small order verify signatures that nobody made.
  if (crypto_core_ed25519_is_valid_point(key->signing.data()) != 1)
    return NotAKey("no key pair has this signing key");
  return {};
}

Result<void> ParseRecipientLine(std::string_view line, PublicKey* key) {
  if (!line.starts_with(kRecipient)) return NotAKey("the third line is not a recipient line");
  auto bytes = FromBase64(line.substr(kRecipient.size()), key->recipient.size());
  if (!bytes || bytes->size() != key->recipient.size())
    return NotAKey("the recipient is not 44 characters of base64");
  std::copy(bytes->begin(), bytes->end(), key->recipient.begin());
  key->has_recipient = true;
  // With a point of small order the shared secret is zero, whatever the scalar.
  constexpr std::array<uint8_t, 32> kAnyScalar{1, 2, 3};
  std::array<uint8_t, 32> shared;
  if ((key->recipient[31] & 0x80) != 0 ||
      crypto_scalarmult(shared.data(), kAnyScalar.data(), key->recipient.data()) != 0)
    return NotAKey("no key pair has this recipient key");
  return {};
}

// The node, if `comment` is the one that Format writes for this key.
std::string NodeInComment(std::string_view comment, const PublicKey& key) {
  std::string before = fmt::format("{}{} (", kOurComment, key.IdText());
  if (!comment.starts_with(before) || !comment.ends_with(')')) return "";
  std::string_view node = comment.substr(before.size(), comment.size() - before.size() - 1);
  return IsNodeName(node) ? std::string(node) : "";
}

}  // namespace

bool IsNodeName(std::string_view name) {
  auto allowed = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
           c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), allowed);
}

std::string PublicKey::Format() const {
  std::string text = fmt::format("{}{}{}", kComment, kOurComment, IdText());
  if (!node.empty()) text += fmt::format(" ({})", node);
  text += fmt::format("\n{}\n", MinisignLine());
  if (has_recipient) text += fmt::format("{}{}\n", kRecipient, ToBase64(recipient));
  return text;
}

std::string PublicKey::MinisignLine() const {
  std::vector<uint8_t> bytes{'E', 'd'};
  bytes.insert(bytes.end(), key_id.begin(), key_id.end());
  bytes.insert(bytes.end(), signing.begin(), signing.end());
  return ToBase64(bytes);
}

std::string PublicKey::IdText() const {
  uint64_t id = 0;
  for (size_t i = 0; i < key_id.size(); ++i) id |= static_cast<uint64_t>(key_id[i]) << (8 * i);
  return fmt::format("{:016X}", id);
}

Result<PublicKey> PublicKey::Parse(std::string_view text) {
  if (text.size() > kPublicKeyLimitBytes) return NotAKey("it is longer than 4096 bytes");
  PublicKey key;
  if (!text.starts_with(kComment)) {
    if (text.ends_with('\n')) text.remove_suffix(1);
    if (auto parsed = ParseSigningLine(text, &key); !parsed) return parsed.error();
    return key;
  }
  auto comment = TakeLine(&text);
  auto signing = TakeLine(&text);
  if (!comment || !signing) return NotAKey("it ends too early");
  comment->remove_prefix(kComment.size());
  auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (std::any_of(comment->begin(), comment->end(), is_control))
    return NotAKey("there are control characters in the comment");
  if (auto parsed = ParseSigningLine(*signing, &key); !parsed) return parsed.error();
  if (!text.empty()) {
    auto recipient_line = TakeLine(&text);
    if (!recipient_line) return NotAKey("it ends too early");
    if (auto parsed = ParseRecipientLine(*recipient_line, &key); !parsed) return parsed.error();
  }
  if (!text.empty()) return NotAKey("something follows the key");
  key.node = NodeInComment(*comment, key);
  return key;
}

Result<SecretBytes> NewDataKey() { return SecretBytes::Random(kDataKeyBytes); }

Result<std::vector<uint8_t>> WrapDataKey(const SecretBytes& data_key, const PublicKey& recipient) {
  if (data_key.size_bytes() != kDataKeyBytes)
    return Fail(Errc::kInternal, "a data key of {} bytes", data_key.size_bytes());
  std::vector<uint8_t> wrapped(kWrappedBytes);
  if (!recipient.has_recipient ||
      crypto_box_seal(wrapped.data(), data_key.bytes().data(), data_key.size_bytes(),
                      recipient.recipient.data()) != 0)
    return Error(Errc::kInvalid,
                 fmt::format("the key {} cannot be a recipient", recipient.IdText()),
                 "use the whole of the other node's keys/self.pub, with its recipient line");
  return wrapped;
}

std::string ToBase64(Bytes bytes) {
  std::string text(sodium_base64_ENCODED_LEN(bytes.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(text.data(), text.size(), bytes.data(), bytes.size(),
                    sodium_base64_VARIANT_ORIGINAL);
  text.pop_back();  // the terminating NUL
  return text;
}

Result<std::vector<uint8_t>> FromBase64(std::string_view text, size_t limit_bytes) {
  if (text.empty()) return std::vector<uint8_t>();
  size_t room_bytes = std::min(limit_bytes, text.size() / 4 * 3);
  std::vector<uint8_t> bytes(room_bytes + 1);  // one more, for libsodium refuses a null pointer
  size_t size_bytes = 0;
  bool good = sodium_base642bin(bytes.data(), room_bytes, text.data(), text.size(), nullptr,
                                &size_bytes, nullptr, sodium_base64_VARIANT_ORIGINAL) == 0;
  if (good) bytes.resize(size_bytes);
  // Encoded again, since several texts can decode to the same bytes.
  if (!good || ToBase64(bytes) != text)
    return Fail(Errc::kInvalid, "not base64 of at most {} bytes", limit_bytes);
  return bytes;
}

}  // namespace ckptfs
