// The manifest: the signed description of one version of a job's image (grid
// checkpoint meta-data in the paper). JSON, so that people and other tools can
// read it, in exactly one form: what is not byte for byte what FormatManifest
// would write is refused, and with it every duplicate key, unknown field and
// second spelling of a number. It tells nothing of what the job does.
#pragma once

#include <string>
#include <vector>

#include "agent/store/head.h"
#include "agent/store/store.h"

namespace ckptfs {

inline constexpr size_t kMaxManifestBytes = 1 << 20;

struct ManifestUnit {
  std::string name;
  std::string checkpointer;
  Digest root{};  // of the unit's head
  PackId pack{};  // the unit's own pack, as in its head
  uint64_t head_bytes = 0;
  uint64_t image_bytes = 0;
  uint64_t memory_bytes = 0;
  uint32_t frames = 0;
  Needs needs;
};

struct WrappedKey {
  std::string recipient;         // key id in minisign's upper-case hex
  std::vector<uint8_t> wrapped;  // sealed box of the job's data key
};

struct Manifest {
  std::string job;
  JobId job_id{};
  uint64_t version = 0;
  uint64_t parent = 0;  // 0: none
  int64_t created_unix_ms = 0;
  std::string node;
  Suite suite{};
  uint32_t owner_uid = 0, owner_gid = 0;
  std::string owner_name;
  std::vector<ManifestUnit> units;  // in order of name
  std::vector<WrappedKey> data_keys;
};

// kInvalid if a text in it may not be in a manifest, kTooBig if it gets too long.
Result<std::string> FormatManifest(const Manifest& manifest);
// Errors: kCorrupt, with what is wrong; kUnsupported for another format or a
// suite that cannot be read here.
Result<Manifest> ParseManifest(std::string_view text);

// All that a manifest says; what only the store knows is left as it is.
VersionInfo InfoOf(const Manifest& manifest);

}  // namespace ckptfs
