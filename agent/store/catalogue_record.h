// The catalogue's records, and the bytes that they are in LMDB.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "agent/store/head.h"

namespace ckptfs {

// A file in packs/ by the 16 bytes that its name is the hex of.
using ContainerId = std::array<uint8_t, 16>;

// Where a unit's image lies. A container is either a pack that was written here
// (frames at the offsets that heads give) or an image file that was copied in
// (the head, then the frames of its directory back to back).
struct UnitRecord {
  std::string name;
  ContainerId container{};  // holds the head
  bool flat = false;        // ... which is an image file that was copied in
  // For each of the head's packs: the container with its frames, and its kind.
  struct Source {
    ContainerId container{};
    bool flat = false;
  };
  std::vector<Source> sources;
};

struct VersionRecord {
  Digest manifest_digest{};
  JobId job_id{};
  uint64_t written_bytes = 0;
  bool imported = false;
  std::vector<UnitRecord> units;

  std::set<ContainerId> containers() const;
};

// Big-endian at the end, so that versions sort by number. `job` is a name or an id.
std::vector<uint8_t> EncodeVersionKey(Bytes job, uint64_t version);
bool DecodeVersionKey(Bytes key, Bytes* job, uint64_t* version);
std::vector<uint8_t> Encode(const VersionRecord& record);
// False for anything that Encode has not made.
bool Decode(Bytes bytes, VersionRecord* record);
std::vector<uint8_t> EncodeJob(const JobId& job_id, uint64_t highest);
std::vector<uint8_t> EncodeContainer(uint64_t dead_bytes, bool unclaimed);

}  // namespace ckptfs
