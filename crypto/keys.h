// Keys of a node and of the nodes it trusts, and data keys of jobs.
//
// A node has two key pairs: Ed25519 to sign manifests, X25519 to be a recipient
// of data keys (libsodium's sealed box). The public halves are one text file,
// keys/self.pub: a minisign public key file with one more line:
//
//   untrusted comment: ckptfs public key <KEYID> (<NODE>)
//   RW...                                   (minisign: base64 of "Ed" keyid pk)
//   recipient <base64 of the X25519 key>
//
// so that `minisign -Vm manifest -p self.pub` and `-P RW...` work as they are.
// Whoever trusts such a file trusts all of it: nothing in it ties the recipient
// line to the signing key.
//
// The secret halves are in keys/self.key; crypto/key_file.cc has its format.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "crypto/secret_bytes.h"

namespace ckptfs {

inline constexpr size_t kDataKeyBytes = 32;

struct PublicKey {
  std::array<uint8_t, 8> key_id{};      // minisign's, random
  std::array<uint8_t, 32> signing{};    // Ed25519
  std::array<uint8_t, 32> recipient{};  // X25519; all zeros: cannot be a recipient
  bool has_recipient = false;
  std::string node;  // from the comment, or empty; for people, never trusted

  // The text of a .pub file, newline-terminated.
  std::string Format() const;
  // Minisign's one-line form of the signing key ("RW…").
  std::string MinisignLine() const;
  // The key id as minisign prints it, upper-case hex, but always with 16 digits.
  std::string IdText() const;
  // Accepts a file with or without the recipient line, and the bare "RW…" line
  // (the newline after which may be missing). kInvalid with a sentence otherwise,
  // also for keys that no key pair has. Bounded: at most 4 KiB of text.
  static Result<PublicKey> Parse(std::string_view text);
  friend bool operator==(const PublicKey&, const PublicKey&) = default;
};

class NodeKeys {
 public:
  // `node` is 1 to 64 of [A-Za-z0-9._-], else kInvalid.
  static Result<NodeKeys> Generate(std::string node);
  NodeKeys(NodeKeys&&) noexcept;
  NodeKeys& operator=(NodeKeys&&) noexcept;
  ~NodeKeys();

  // self.key (0600) and self.pub in the folder `dir_fd`, whole or not at all, and
  // durable on return. A crash can leave self.key alone, which Load mends, but
  // never self.pub alone. kExists if either is there: a key is never overwritten.
  // With a passphrase the secret halves are sealed under Argon2id of it (about
  // half a second and 128 MiB, when saving as when loading).
  Result<void> Save(int dir_fd, const std::optional<SecretBytes>& passphrase) const;
  // `ask` is called only when the file is sealed; its error is handed on. Writes
  // self.pub anew if it is not what it should be. Errors: kNotFound, kCorrupt,
  // kAccess (readable by others: says chmod 600), kUntrusted (wrong passphrase).
  static Result<NodeKeys> Load(int dir_fd, const std::function<Result<SecretBytes>()>& ask);

  const PublicKey& public_key() const;

  // minisign's detached signature file over `message` (prehashed, "ED"), byte for
  // byte: fixed untrusted comment, fixed trusted comment. Deterministic; thread-safe.
  Result<std::string> Sign(Bytes message) const;
  // Opens a data key wrapped for us. kCorrupt if it has not a wrapped key's size,
  // kUntrusted when it does not open: it is for another, or was changed. Thread-safe.
  Result<SecretBytes> Unwrap(Bytes wrapped) const;

 private:
  struct Secrets;
  NodeKeys(PublicKey public_key, std::unique_ptr<Secrets> secrets);
  PublicKey public_key_;
  std::unique_ptr<Secrets> secrets_;
};

// The key id named in a signature file, before anything is verified. kCorrupt if
// the file is not byte for byte of the form we write.
Result<std::array<uint8_t, 8>> SignatureKeyId(std::string_view signature_file);
// kCorrupt unless `signature_file` is byte for byte what the holder of `key`
// would have written for `message`.
Result<void> VerifySignature(const PublicKey& key, Bytes message, std::string_view signature_file);

Result<SecretBytes> NewDataKey();
// Sealed box for `recipient`; kInvalid if it has no recipient key.
Result<std::vector<uint8_t>> WrapDataKey(const SecretBytes& data_key, const PublicKey& recipient);

// Base64 as minisign writes it (standard alphabet, padded).
std::string ToBase64(Bytes bytes);
// kInvalid unless `text` is what ToBase64 makes of at most `limit_bytes` bytes.
Result<std::vector<uint8_t>> FromBase64(std::string_view text, size_t limit_bytes);

}  // namespace ckptfs
