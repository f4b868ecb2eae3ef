#include "agent/store/page_table.h"

#include <bit>
#include <unordered_set>

#include "agent/store/encoding.h"
#include "agent/store/names.h"
#include "kapi/image.h"

namespace ckptfs {
namespace {

// Slots `first` to `first + count - 1` of one frame.
uint64_t SlotMask(uint32_t first, uint32_t count) {
  uint64_t ones = count >= kFramePages ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
  return ones << first;
}

void MarkExtent(const Extent& extent, LiveMasks* live) {
  uint64_t position = extent.start;
  uint64_t end = position + extent.pages;
  while (position < end) {
    uint32_t slot = static_cast<uint32_t>(position % kFramePages);
    uint32_t count = static_cast<uint32_t>(std::min<uint64_t>(kFramePages - slot, end - position));
    (*live)[position / kFramePages] |= SlotMask(slot, count);
    position += count;
  }
}

// Whether every slot that the extent covers exists.
bool Exists(const Extent& extent, const std::vector<FrameEntry>& frames) {
  uint64_t end = uint64_t{extent.start} + extent.pages;
  if (extent.pages == 0 || end > uint64_t{frames.size()} * kFramePages) return false;
  // All frames but the last that the run touches are used up to their 64th slot.
  uint64_t last_frame = (end - 1) / kFramePages;
  for (uint64_t frame = extent.start / kFramePages; frame < last_frame; ++frame)
    if (frames[frame].pages != kFramePages) return false;
  return (end - 1) % kFramePages < frames[last_frame].pages;
}

// `budget` bounds the pages of all streams together, and so the work that few
// bytes can cause: pages may be referred to any number of times.
Result<StreamEntry> ParseStream(ByteReader* in, const std::vector<FrameEntry>& frames,
                                uint64_t* budget) {
  StreamEntry stream;
  stream.name = in->Text(kMaxStreamNameBytes);
  stream.size_bytes = in->Varint();
  uint64_t extents = in->Varint();
  // An extent takes at least 2 bytes, so this bounds what is allocated.
  if (!IsStreamName(stream.name) || extents > in->rest().size() / 2)
    return Fail(Errc::kCorrupt, "a stream of the page table is malformed");
  stream.extents.reserve(extents);
  uint64_t pages = 0;
  int64_t expected = 0;
  for (uint64_t i = 0; i < extents; ++i) {
    int64_t start = 0;
    // The sum of two numbers from a file may overflow.
    bool overflow = __builtin_add_overflow(expected, in->Zigzag(), &start);
    uint64_t count = in->Varint();
    if (in->failed() || overflow || start < 0 || start > UINT32_MAX || count > *budget)
      return Fail(Errc::kCorrupt, "extent {} of a stream is malformed", i);
    *budget -= count;
    Extent extent{static_cast<PagePosition>(start), static_cast<uint32_t>(count)};
    if (!Exists(extent, frames))
      return Fail(Errc::kCorrupt, "extent {} of a stream refers to pages that do not exist", i);
    stream.extents.push_back(extent);
    pages += count;
    expected = start + static_cast<int64_t>(count);
  }
  if (pages != stream.size_bytes / kPageBytes + (stream.size_bytes % kPageBytes != 0))
    return Fail(Errc::kCorrupt, "a stream's size and its pages contradict each other");
  return stream;
}

}  // namespace

void MarkLive(const std::vector<StreamEntry>& streams, LiveMasks* live) {
  for (const StreamEntry& stream : streams)
    for (const Extent& extent : stream.extents) MarkExtent(extent, live);
}

uint64_t CountPages(const LiveMasks& live) {
  uint64_t pages = 0;
  for (uint64_t mask : live) pages += static_cast<uint64_t>(std::popcount(mask));
  return pages;
}

std::vector<uint8_t> EncodeStreams(const std::vector<StreamEntry>& streams) {
  ByteWriter out;
  out.Varint(streams.size());
  for (const StreamEntry& stream : streams) {
    out.Text(stream.name);
    out.Varint(stream.size_bytes);
    out.Varint(stream.extents.size());
    int64_t expected = 0;
    for (const Extent& extent : stream.extents) {
      out.Zigzag(int64_t{extent.start} - expected);
      out.Varint(extent.pages);
      expected = int64_t{extent.start} + extent.pages;
    }
  }
  return out.Take();
}

Result<PageTable> ParsePageTable(Bytes plain, uint64_t table_bytes,
                                 const std::vector<FrameEntry>& frames) {
  ByteReader in(plain);
  PageTable table;
  uint64_t streams = in.Varint();
  // A stream takes at least 4 bytes.
  if (in.failed() || streams > in.rest().size() / 4)
    return Fail(Errc::kCorrupt, "the page table's start is malformed");
  uint64_t budget = UINT32_MAX;
  std::unordered_set<std::string_view> names;
  table.streams.reserve(streams);
  for (uint64_t i = 0; i < streams; ++i) {
    auto stream = ParseStream(&in, frames, &budget);
    if (!stream) return stream.error();
    table.streams.push_back(std::move(*stream));
    if (!names.insert(table.streams.back().name).second)
      return Fail(Errc::kCorrupt, "two streams of the page table have the same name");
  }
  if (in.failed()) return Fail(Errc::kCorrupt, "the page table ends too early");
  table.fingerprints_offset = plain.size() - in.rest().size();
  table.live.resize(frames.size());
  MarkLive(table.streams, &table.live);
  table.live_pages = CountPages(table.live);
  if (table_bytes - table.fingerprints_offset != table.live_pages * sizeof(Fingerprint))
    return Fail(Errc::kCorrupt, "the page table has not one fingerprint for each page");
  return table;
}

}  // namespace ckptfs
