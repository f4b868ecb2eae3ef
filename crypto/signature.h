// The inside of a signature file, minisign's format with fixed comments:
//
//   untrusted comment: signature from ckptfs
//   <base64 of "ED", key id, Ed25519 of BLAKE2b-512(message)>
//   trusted comment: ckptfs manifest
//   <base64 of Ed25519 of the signature above, then "ckptfs manifest">
//
// VerifySignature (crypto/keys.h) is what reads one.
#pragma once

#include <array>
#include <string>

#include "base/bytes.h"

namespace ckptfs {

// `secret_key` is libsodium's 64 bytes: seed and public key.
std::string SignMessage(const std::array<uint8_t, 8>& key_id, const uint8_t* secret_key,
                        Bytes message);

}  // namespace ckptfs
