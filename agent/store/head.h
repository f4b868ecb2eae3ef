// The head of a unit's image: which frames it consists of, and its sealed page
// table. The manifest signs the head's hash, the head holds every frame's hash,
// so whoever has the manifest can verify every byte without any secret.
//
//   fixed part (96 bytes) | pack ids (16 each) | frames (56 each) | table pieces
//
// docs/image_format.md has every byte.
#pragma once

#include <vector>

#include "base/result.h"
#include "crypto/frames.h"
#include "crypto/suite.h"

namespace ckptfs {

inline constexpr size_t kFramePages = 64;
inline constexpr size_t kFrameBytes = kFramePages * kPageBytes;
inline constexpr size_t kMaxStoredFrameBytes = kFrameBytes + kTagBytes;
inline constexpr size_t kPackHeaderBytes = 4096;
inline constexpr uint32_t kFormatVersion = 1;

// A job, whatever its name: 16 random bytes.
using JobId = std::array<uint8_t, 16>;

// What a pack file begins with; the rest of its first 4096 bytes are zeros.
struct PackHeader {
  Suite suite{};
  PackId pack{};
  JobId job{};
};
std::vector<uint8_t> EncodePackHeader(const PackHeader& header);
Result<PackHeader> ParsePackHeader(Bytes bytes);

// One frame that a unit's image refers to.
struct FrameEntry {
  uint32_t pack = 0;          // index into Head::packs
  uint32_t number = 0;        // of the frame in that pack; part of its nonce
  uint64_t offset = 0;        // in that pack's file
  uint32_t stored_bytes = 0;  // with the tag
  uint16_t pages = 0;         // 1 to kFramePages
  bool compressed = false;    // zstd inside the seal
  Digest hash{};              // of the stored bytes
};

struct Head {
  static constexpr size_t kFixedBytes = 96;
  static constexpr size_t kPackBytes = 16;
  static constexpr size_t kFrameEntryBytes = 56;
  static constexpr size_t kTablePieceBytes = kFrameBytes;  // plain; the last may be shorter

  Suite suite{};
  PackId pack{};  // the unit's own: names the nonces of the table's pieces
  JobId job{};
  std::vector<PackId> packs;
  std::vector<FrameEntry> frames;
  uint64_t table_bytes = 0;  // plain

  uint64_t table_pieces() const { return (table_bytes + kTablePieceBytes - 1) / kTablePieceBytes; }
  // Where the sealed table begins, and how long all of the head is.
  uint64_t table_offset() const {
    return kFixedBytes + packs.size() * kPackBytes + frames.size() * kFrameEntryBytes;
  }
  uint64_t head_bytes() const { return table_offset() + table_bytes + table_pieces() * kTagBytes; }
  // Of UNIT.img: the head and all frames.
  uint64_t image_bytes() const;
};

// Everything before the table's pieces.
std::vector<uint8_t> EncodeHead(const Head& head);
// The inverse; `bytes` may be longer, `head_bytes` is how long the manifest says
// the head is. Checks every field and bound; allocates no more than `bytes` holds.
// Errors: kCorrupt, kUnsupported (a suite or format that cannot be read here).
Result<Head> ParseHead(Bytes bytes, uint64_t head_bytes);

}  // namespace ckptfs
