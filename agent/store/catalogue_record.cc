#include "agent/store/catalogue_record.h"

#include "agent/store/encoding.h"

namespace ckptfs {
namespace {

constexpr size_t kMaxListed = 1 << 20;

}  // namespace

std::set<ContainerId> VersionRecord::containers() const {
  std::set<ContainerId> all;
  for (const UnitRecord& unit : units) {
    all.insert(unit.container);
    for (const UnitRecord::Source& source : unit.sources) all.insert(source.container);
  }
  return all;
}

std::vector<uint8_t> EncodeVersionKey(Bytes job, uint64_t version) {
  std::vector<uint8_t> key(job.begin(), job.end());
  for (int shift = 56; shift >= 0; shift -= 8)
    key.push_back(static_cast<uint8_t>(version >> shift));
  return key;
}

bool DecodeVersionKey(Bytes key, Bytes* job, uint64_t* version) {
  if (key.size() < 9) return false;
  *job = key.first(key.size() - 8);
  *version = 0;
  for (uint8_t byte : key.last(8)) *version = *version << 8 | byte;
  return true;
}

std::vector<uint8_t> Encode(const VersionRecord& record) {
  ByteWriter out;
  out.Raw(record.manifest_digest);
  out.Raw(record.job_id);
  out.U64(record.written_bytes);
  out.U8(record.imported ? 1 : 0);
  out.Varint(record.units.size());
  for (const UnitRecord& unit : record.units) {
    out.Text(unit.name);
    out.Raw(unit.container);
    out.U8(unit.flat ? 1 : 0);
    out.Varint(unit.sources.size());
    for (const UnitRecord::Source& source : unit.sources) {
      out.Raw(source.container);
      out.U8(source.flat ? 1 : 0);
    }
  }
  return out.Take();
}

bool Decode(Bytes bytes, VersionRecord* record) {
  ByteReader in(bytes);
  record->manifest_digest = in.Array<32>();
  record->job_id = in.Array<16>();
  record->written_bytes = in.U64();
  record->imported = in.U8() != 0;
  uint64_t units = in.Varint();
  for (uint64_t i = 0; i < units && !in.failed() && i < kMaxListed; ++i) {
    UnitRecord unit;
    unit.name = in.Text(256);
    unit.container = in.Array<16>();
    unit.flat = in.U8() != 0;
    uint64_t sources = in.Varint();
    for (uint64_t j = 0; j < sources && !in.failed() && j < kMaxListed; ++j) {
      UnitRecord::Source source;
      source.container = in.Array<16>();
      source.flat = in.U8() != 0;
      unit.sources.push_back(source);
    }
    record->units.push_back(std::move(unit));
  }
  return in.Done();
}

std::vector<uint8_t> EncodeJob(const JobId& job_id, uint64_t highest) {
  ByteWriter out;
  out.Raw(job_id);
  out.U64(highest);
  return out.Take();
}

std::vector<uint8_t> EncodeContainer(uint64_t dead_bytes, bool unclaimed) {
  ByteWriter out;
  out.U64(dead_bytes);
  out.U8(unclaimed ? 1 : 0);
  return out.Take();
}

}  // namespace ckptfs
