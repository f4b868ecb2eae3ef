#include "crypto/key_file.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace ckptfs {
namespace {

constexpr std::string_view kAnyVersion = "ckptfs secret key ";
constexpr std::string_view kVersion = "ckptfs secret key 1\n";
constexpr std::string_view kPlain = "secret ";
constexpr std::string_view kSealed = "sealed argon2id ";
constexpr std::string_view kChecksum = "checksum ";
constexpr size_t kChecksumBytes = 16;
constexpr size_t kChecksumLineBytes = kChecksum.size() + 2 * kChecksumBytes + 1;
constexpr int kBase64Variant = sodium_base64_VARIANT_ORIGINAL;

constexpr size_t kNonceBytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr size_t kBoxBytes =
    kNonceBytes + kSecretsBytes + crypto_aead_xchacha20poly1305_ietf_ABYTES;
using Salt = std::array<uint8_t, crypto_pwhash_argon2id_SALTBYTES>;

// What trying one passphrase costs.
struct Cost {
  uint64_t passes = 3;
  uint64_t memory_bytes = 128 << 20;
};
// A file that asks for more is refused: reading it must not hang or starve the node.
constexpr uint64_t kMaxPasses = 16;
constexpr uint64_t kMaxMemoryBytes = 1 << 30;

Error Torn(std::string_view why) {
  return Error(Errc::kCorrupt, fmt::format("self.key is damaged: {}", why),
               "bring it back from a backup; without it this node's images cannot be read");
}

// Text that holds secrets, so that no std::string ever does.
class SecretText {
 public:
  explicit SecretText(SecretBytes room) : room_(std::move(room)) {}
  void Add(std::string_view text) {
    std::copy(text.begin(), text.end(), Rest().begin());
    used_bytes_ += text.size();
  }
  void AddBase64(Bytes bytes) {
    MutableBytes rest = Rest();
    sodium_bin2base64(reinterpret_cast<char*>(rest.data()), rest.size(), bytes.data(), bytes.size(),
                      kBase64Variant);
    used_bytes_ += sodium_base64_ENCODED_LEN(bytes.size(), kBase64Variant) - 1;
  }
  Bytes bytes() const { return room_.bytes().first(used_bytes_); }

 private:
  MutableBytes Rest() { return room_.mutable_bytes().subspan(used_bytes_); }
  SecretBytes room_;
  size_t used_bytes_ = 0;
};

// Exactly out.size() bytes, straight into locked memory.
bool FromBase64Into(std::string_view text, MutableBytes out) {
  size_t size_bytes = 0;
  return text.size() == sodium_base64_ENCODED_LEN(out.size(), kBase64Variant) - 1 &&
         sodium_base642bin(out.data(), out.size(), text.data(), text.size(), nullptr, &size_bytes,
                           nullptr, kBase64Variant) == 0 &&
         size_bytes == out.size();
}

std::string ChecksumLine(Bytes text) {
  std::array<uint8_t, kChecksumBytes> sum;
  crypto_generichash_blake2b(sum.data(), sum.size(), text.data(), text.size(), nullptr, 0);
  return fmt::format("{}{}\n", kChecksum, ToHex(sum));
}

Result<SecretBytes> SealingKey(const SecretBytes& passphrase, const Salt& salt, const Cost& cost) {
  auto key = SecretBytes::Zeros(crypto_aead_xchacha20poly1305_ietf_KEYBYTES);
  if (!key) return key.error();
  Bytes words = passphrase.bytes();
  if (crypto_pwhash_argon2id(key->mutable_bytes().data(), key->size_bytes(), AsText(words).data(),
                             words.size(), salt.data(), cost.passes,
                             static_cast<size_t>(cost.memory_bytes),
                             crypto_pwhash_argon2id_ALG_ARGON2ID13) != 0)
    return Fail(Errc::kNoMemory, "no memory for Argon2id, which takes {} MiB",
                cost.memory_bytes >> 20);
  return key;
}

Result<void> AddSealed(Bytes secrets, const SecretBytes& passphrase, SecretText* text) {
  Cost cost;
  Salt salt;
  std::array<uint8_t, kBoxBytes> box;
  randombytes_buf(salt.data(), salt.size());
  randombytes_buf(box.data(), kNonceBytes);
  text->Add(fmt::format("{}{} {} {} ", kSealed, cost.passes, cost.memory_bytes, ToBase64(salt)));
  auto key = SealingKey(passphrase, salt, cost);
  if (!key) return key.error();
  crypto_aead_xchacha20poly1305_ietf_encrypt(
      box.data() + kNonceBytes, nullptr, secrets.data(), secrets.size(), text->bytes().data(),
      text->bytes().size(), nullptr, box.data(), key->bytes().data());
  text->AddBase64(box);
  return {};
}

// "<passes> <memory> <salt> <box>", as strictly as it is written.
bool ParseSealed(std::string_view line, Cost* cost, Salt* salt, MutableBytes box) {
  std::array<std::string_view, 4> words;
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    size_t end = line.find(' ');
    if (end == std::string_view::npos) return false;
    words[i] = line.substr(0, end);
    line.remove_prefix(end + 1);
  }
  words.back() = line;
  auto number = [](std::string_view word, uint64_t* value) {
    auto [end, failed] = std::from_chars(word.data(), word.data() + word.size(), *value);
    return failed == std::errc() && fmt::format("{}", *value) == word;
  };
  return number(words[0], &cost->passes) && number(words[1], &cost->memory_bytes) &&
         FromBase64Into(words[2], *salt) && FromBase64Into(words[3], box);
}

// `before` is all text up to and with "sealed argon2id ", `line` what follows it.
Result<SecretBytes> OpenSealed(std::string_view before, std::string_view line,
                               const std::function<Result<SecretBytes>()>& ask) {
  Cost cost;
  Salt salt;
  std::array<uint8_t, kBoxBytes> box;
  if (!ParseSealed(line, &cost, &salt, box)) return Torn("its sealed line cannot be understood");
  if (cost.passes < crypto_pwhash_argon2id_OPSLIMIT_MIN || cost.passes > kMaxPasses ||
      cost.memory_bytes < crypto_pwhash_argon2id_MEMLIMIT_MIN ||
      cost.memory_bytes > kMaxMemoryBytes)
    return Torn("it asks for an Argon2id that ckptfs never writes");
  if (!ask)
    return Fail(Errc::kUntrusted, "self.key is sealed, and there is nobody to ask its passphrase");
  auto passphrase = ask();
  if (!passphrase) return passphrase.error();
  Error wrong(Errc::kUntrusted, "the passphrase of self.key is wrong");
  if (passphrase->size_bytes() == 0) return wrong;
  auto key = SealingKey(*passphrase, salt, cost);
  if (!key) return key.error();
  auto secrets = SecretBytes::Zeros(kSecretsBytes);
  if (!secrets) return secrets.error();
  // `before` and `line` are pieces of the same text, one behind the other.
  size_t box_chars = sodium_base64_ENCODED_LEN(kBoxBytes, kBase64Variant) - 1;
  size_t associated_bytes = before.size() + line.size() - box_chars;
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(secrets->mutable_bytes().data(), nullptr, nullptr,
                                                 box.data() + kNonceBytes, box.size() - kNonceBytes,
                                                 AsBytes(before).data(), associated_bytes,
                                                 box.data(), key->bytes().data()) != 0)
    return wrong;
  return secrets;
}

}  // namespace

Result<SecretBytes> FormatKeyFile(const PublicKey& public_key, Bytes secrets,
                                  const std::optional<SecretBytes>& passphrase) {
  auto room = SecretBytes::Zeros(kKeyFileLimitBytes);
  if (!room) return room.error();
  SecretText text(std::move(*room));
  text.Add(kVersion);
  text.Add(public_key.Format());
  if (passphrase) {
    if (auto sealed = AddSealed(secrets, *passphrase, &text); !sealed) return sealed.error();
  } else {
    text.Add(kPlain);
    text.AddBase64(secrets);
  }
  text.Add("\n");
  text.Add(ChecksumLine(text.bytes()));
  return SecretBytes::Copy(text.bytes());
}

Result<KeyFile> ParseKeyFile(Bytes bytes, const std::function<Result<SecretBytes>()>& ask) {
  std::string_view text = AsText(bytes);
  if (text.starts_with(kAnyVersion) && text.find('\n') != std::string_view::npos &&
      !text.starts_with(kVersion))
    return Fail(Errc::kUnsupported, "self.key was written by a later version of ckptfs");
  if (!text.starts_with(kVersion) || text.size() < kVersion.size() + kChecksumLineBytes)
    return Torn("it is not a whole secret key of ckptfs");
  std::string_view checked = text.substr(0, text.size() - kChecksumLineBytes);
  if (text.substr(checked.size()) != ChecksumLine(AsBytes(checked)))
    return Torn("its checksum does not fit");

  size_t end = kVersion.size();
  for (int line = 0; line < 3 && end != std::string_view::npos; ++line) {
    size_t newline = checked.find('\n', end);
    end = newline == std::string_view::npos ? newline : newline + 1;
  }
  if (end == std::string_view::npos || !checked.ends_with('\n')) return Torn("a line is missing");
  std::string_view public_text = checked.substr(kVersion.size(), end - kVersion.size());
  auto public_key = PublicKey::Parse(public_text);
  if (!public_key || !public_key->has_recipient || public_key->Format() != public_text)
    return Torn("its public key cannot be understood");

  std::string_view line = checked.substr(end, checked.size() - end - 1);
  if (line.starts_with(kSealed)) {
    std::string_view before = checked.substr(0, end + kSealed.size());
    auto secrets = OpenSealed(before, line.substr(kSealed.size()), ask);
    if (!secrets) return secrets.error();
    return KeyFile{std::move(*public_key), std::move(*secrets)};
  }
  auto secrets = SecretBytes::Zeros(kSecretsBytes);
  if (!secrets) return secrets.error();
  if (!line.starts_with(kPlain) ||
      !FromBase64Into(line.substr(kPlain.size()), secrets->mutable_bytes()))
    return Torn("its secret line cannot be understood");
  return KeyFile{std::move(*public_key), std::move(*secrets)};
}

}  // namespace ckptfs
