// The page table of a unit's image: its streams, where each of their pages lies,
// and every page's fingerprint. Sealed in pieces at the end of the unit's head.
//
// A page's position is one number: its frame's index in the head times 64, plus
// its slot in the frame. An extent is a run of consecutive positions, over the
// ends of frames too; so a job's memory, written in order, is one extent.
//
//   streams (varints) | fingerprints (16 bytes) of the live slots, in order
//
// A slot is live when some extent refers to it.
#pragma once

#include <string>
#include <vector>

#include "agent/store/head.h"

namespace ckptfs {

using PagePosition = uint32_t;

struct Extent {
  PagePosition start = 0;
  uint32_t pages = 0;
};

struct StreamEntry {
  std::string name;
  uint64_t size_bytes = 0;
  std::vector<Extent> extents;
};

// Bit s: slot s of the frame is live.
using LiveMasks = std::vector<uint64_t>;

struct PageTable {
  std::vector<StreamEntry> streams;
  LiveMasks live;  // one a frame
  uint64_t live_pages = 0;
  size_t fingerprints_offset = 0;  // in the plain table

  uint64_t memory_bytes() const {
    uint64_t bytes = 0;
    for (const StreamEntry& stream : streams) bytes += stream.size_bytes;
    return bytes;
  }
};

// Sets the bits of all pages that `streams` refer to.
void MarkLive(const std::vector<StreamEntry>& streams, LiveMasks* live);
uint64_t CountPages(const LiveMasks& live);

// The streams' part of a table; the fingerprints follow it.
std::vector<uint8_t> EncodeStreams(const std::vector<StreamEntry>& streams);
// Parses the streams' part. `plain` is the table from its start, up to anywhere
// past the streams; `table_bytes` is how long all of it is. Every extent is
// checked against `frames`, and the table's length against the live pages.
// Errors: kCorrupt.
Result<PageTable> ParsePageTable(Bytes plain, uint64_t table_bytes,
                                 const std::vector<FrameEntry>& frames);

}  // namespace ckptfs
