#include "agent/store/head.h"

#include "agent/store/encoding.h"

namespace ckptfs {
namespace {

constexpr std::string_view kPackMagic = "CKPTPACK";
constexpr std::string_view kHeadMagic = "CKPTHEAD";
// Positions of pages are 32 bits: 64 pages a frame.
constexpr uint32_t kMaxFrames = UINT32_MAX / kFramePages;

uint32_t SuiteNumber(Suite suite) { return suite == Suite::kAegis256Blake3 ? 1 : 2; }

Result<Suite> SuiteFromNumber(uint32_t number) {
  if (number != 1 && number != 2) return Fail(Errc::kCorrupt, "no cipher suite {}", number);
  Suite suite = number == 1 ? Suite::kAegis256Blake3 : Suite::kXChaCha20Blake2b;
  if (!SuiteAvailable(suite))
    return Fail(Errc::kUnsupported, "this build cannot read the cipher suite {}", SuiteName(suite))
        .WithRemedy("install libsodium >= 1.0.19 and libblake3 (scripts/setup) and build again");
  return suite;
}

Result<Suite> ReadCommonStart(ByteReader* in, std::string_view magic, std::string_view what) {
  if (AsText(in->Take(magic.size())) != magic)
    return Fail(Errc::kCorrupt, "it does not begin like a {}", what);
  uint32_t format = in->U32();
  if (format != kFormatVersion)
    return Fail(Errc::kUnsupported, "{} of format {}, this program knows {}", what, format,
                kFormatVersion)
        .WithRemedy("use a newer ckptfs");
  return SuiteFromNumber(in->U32());
}

bool Plausible(const FrameEntry& entry, size_t packs) {
  if (entry.pack >= packs || entry.pages == 0 || entry.pages > kFramePages) return false;
  uint64_t plain = entry.pages * kPageBytes + kTagBytes;
  return entry.compressed ? entry.stored_bytes > kTagBytes && entry.stored_bytes < plain
                          : entry.stored_bytes == plain;
}

}  // namespace

std::vector<uint8_t> EncodePackHeader(const PackHeader& header) {
  ByteWriter out;
  out.Raw(AsBytes(kPackMagic));
  out.U32(kFormatVersion);
  out.U32(SuiteNumber(header.suite));
  out.Raw(header.pack);
  out.Raw(header.job);
  std::vector<uint8_t> bytes = out.Take();
  bytes.resize(kPackHeaderBytes);
  return bytes;
}

Result<PackHeader> ParsePackHeader(Bytes bytes) {
  ByteReader in(bytes);
  PackHeader header;
  auto suite = ReadCommonStart(&in, kPackMagic, "pack");
  if (!suite) return suite.error();
  header.suite = *suite;
  header.pack = in.Array<16>();
  header.job = in.Array<16>();
  for (uint8_t byte : in.rest())
    if (byte != 0) return Fail(Errc::kCorrupt, "the pack's header has bytes where none may be");
  if (in.failed() || bytes.size() != kPackHeaderBytes)
    return Fail(Errc::kCorrupt, "the pack's header is too short");
  return header;
}

uint64_t Head::image_bytes() const {
  uint64_t bytes = head_bytes();
  for (const FrameEntry& frame : frames) bytes += frame.stored_bytes;
  return bytes;
}

std::vector<uint8_t> EncodeHead(const Head& head) {
  ByteWriter out;
  out.Raw(AsBytes(kHeadMagic));
  out.U32(kFormatVersion);
  out.U32(SuiteNumber(head.suite));
  out.Raw(head.pack);
  out.Raw(head.job);
  out.U32(static_cast<uint32_t>(head.packs.size()));
  out.U32(static_cast<uint32_t>(head.frames.size()));
  out.U64(head.table_bytes);
  out.U64(head.head_bytes());
  for (int i = 0; i < 3; ++i) out.U64(0);
  for (const PackId& pack : head.packs) out.Raw(pack);
  for (const FrameEntry& frame : head.frames) {
    out.U32(frame.pack);
    out.U32(frame.number);
    out.U64(frame.offset);
    out.U32(frame.stored_bytes);
    out.U16(frame.pages);
    out.U8(frame.compressed ? 1 : 0);
    out.U8(0);
    out.Raw(frame.hash);
  }
  return out.Take();
}

Result<Head> ParseHead(Bytes bytes, uint64_t head_bytes) {
  ByteReader in(bytes);
  Head head;
  auto suite = ReadCommonStart(&in, kHeadMagic, "head of a unit's image");
  if (!suite) return suite.error();
  head.suite = *suite;
  head.pack = in.Array<16>();
  head.job = in.Array<16>();
  uint32_t packs = in.U32();
  uint32_t frames = in.U32();
  head.table_bytes = in.U64();
  uint64_t stated_bytes = in.U64();
  uint64_t reserved = in.U64() | in.U64() | in.U64();
  if (in.failed() || reserved != 0) return Fail(Errc::kCorrupt, "the head's start is malformed");

  // Bounds before any allocation and before arithmetic that could overflow.
  uint64_t listed = uint64_t{packs} * Head::kPackBytes + uint64_t{frames} * Head::kFrameEntryBytes;
  if (frames > kMaxFrames || packs > uint64_t{frames} + 1 || listed > in.rest().size() ||
      head.table_bytes > head_bytes || stated_bytes != head_bytes)
    return Fail(Errc::kCorrupt, "the head's sizes contradict each other");
  head.packs.reserve(packs);
  for (uint32_t i = 0; i < packs; ++i) head.packs.push_back(in.Array<16>());
  head.frames.reserve(frames);
  for (uint32_t i = 0; i < frames; ++i) {
    FrameEntry frame;
    frame.pack = in.U32();
    frame.number = in.U32();
    frame.offset = in.U64();
    frame.stored_bytes = in.U32();
    frame.pages = in.U16();
    uint8_t compression = in.U8();
    uint8_t zero = in.U8();
    frame.compressed = compression == 1;
    frame.hash = in.Array<32>();
    if (compression > 1 || zero != 0 || !Plausible(frame, packs))
      return Fail(Errc::kCorrupt, "entry {} of the head's frames is malformed", i);
    head.frames.push_back(frame);
  }
  if (in.failed() || head.head_bytes() != head_bytes)
    return Fail(Errc::kCorrupt, "the head's sizes contradict each other");
  return head;
}

}  // namespace ckptfs
