// The two files that make a version one: manifest and manifest.minisig.
#pragma once

#include <string>

#include "agent/store/disk.h"
#include "agent/store/trust.h"

namespace ckptfs {

struct SignedManifest {
  Manifest manifest;
  std::string text;
  std::string signature;
  PublicKey signer;
  Digest digest{};  // of the text
};

// BLAKE2b-256, whatever the suite: what `b2sum -l 256 manifest` prints.
Digest ManifestDigest(std::string_view text);

// Reads and verifies the two files in a folder. `shown` names it in errors.
// Errors: kCorrupt, kUntrusted (naming the signer and what to do), kNotFound.
Result<SignedManifest> ReadSignedManifest(int dir_fd, const FindKey& find,
                                          const std::string& shown);

// Writes images/JOB/N under `images_fd`, whole or not at all, durably.
Result<void> WriteVersionFiles(const Disk& disk, int images_fd, const std::string& job,
                               uint64_t version, std::string_view manifest,
                               std::string_view signature);
Result<void> RemoveVersionFiles(const Disk& disk, int images_fd, const std::string& job,
                                uint64_t version);

}  // namespace ckptfs
