// The text of keys/self.key:
//
//   ckptfs secret key 1
//   <the lines of self.pub>
//   secret <base64 of the secrets>
//   checksum <hex of BLAKE2b-128 of all lines above>
//
// The secrets are the Ed25519 seed and the X25519 key. Under a passphrase the
// fourth line is instead
//
//   sealed argon2id <passes> <memory in bytes> <salt> <box>
//
// with salt (16 bytes) and box in base64. The box is a nonce (24 bytes) and the
// secrets sealed with XChaCha20-Poly1305, under Argon2id of the passphrase, with
// all the text before the box as associated data. The checksum tells a torn file
// from a wrong passphrase; it protects nothing.
#pragma once

#include <functional>
#include <optional>

#include "crypto/keys.h"
#include "crypto/secret_bytes.h"

namespace ckptfs {

inline constexpr size_t kSeedBytes = 32;
inline constexpr size_t kSecretsBytes = 2 * kSeedBytes;
inline constexpr size_t kKeyFileLimitBytes = 4096;

struct KeyFile {
  PublicKey public_key;
  SecretBytes secrets;  // kSecretsBytes; whether they are the public key's is not checked
};

// The passphrase is not empty. Errors: kNoMemory.
Result<SecretBytes> FormatKeyFile(const PublicKey& public_key, Bytes secrets,
                                  const std::optional<SecretBytes>& passphrase);
// Errors: as NodeKeys::Load, and kUnsupported for a later version of the format.
Result<KeyFile> ParseKeyFile(Bytes text, const std::function<Result<SecretBytes>()>& ask);

}  // namespace ckptfs
