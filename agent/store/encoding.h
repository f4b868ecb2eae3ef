// The image format's numbers: little-endian integers and varints (7 bits a byte,
// lowest first, at most 10 bytes, shortest form only).
#pragma once

#include <cstring>
#include <vector>

#include "base/bytes.h"

namespace ckptfs {

class ByteWriter {
 public:
  void U8(uint8_t value) { out_.push_back(value); }
  void U16(uint16_t value) { Little(value, 2); }
  void U32(uint32_t value) { Little(value, 4); }
  void U64(uint64_t value) { Little(value, 8); }
  void Raw(Bytes bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void Varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_.push_back(static_cast<uint8_t>(value | 0x80));
    out_.push_back(static_cast<uint8_t>(value));
  }
  // Small for small magnitudes of either sign.
  void Zigzag(int64_t value) {
    Varint((static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63));
  }
  // A length and that many bytes.
  void Text(std::string_view text) {
    Varint(text.size());
    Raw(AsBytes(text));
  }
  Bytes bytes() const { return out_; }
  std::vector<uint8_t> Take() { return std::move(out_); }

 private:
  void Little(uint64_t value, int size_bytes) {
    for (int i = 0; i < size_bytes; ++i) out_.push_back(static_cast<uint8_t>(value >> (8 * i)));
  }
  std::vector<uint8_t> out_;
};

// Reads what ByteWriter wrote. Past the end, or at a malformed varint, it turns
// to `failed` for good and gives zeros: look once, at the end.
class ByteReader {
 public:
  explicit ByteReader(Bytes bytes) : rest_(bytes) {}
  uint8_t U8() { return static_cast<uint8_t>(Little(1)); }
  uint16_t U16() { return static_cast<uint16_t>(Little(2)); }
  uint32_t U32() { return static_cast<uint32_t>(Little(4)); }
  uint64_t U64() { return Little(8); }
  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      uint8_t byte = U8();
      if (shift == 63 && byte > 1) break;
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (byte == 0 && shift > 0) break;
        return value;
      }
    }
    Fail();
    return 0;
  }
  int64_t Zigzag() {
    uint64_t value = Varint();
    return static_cast<int64_t>((value >> 1) ^ (~(value & 1) + 1));
  }
  Bytes Take(size_t size_bytes) {
    if (size_bytes > rest_.size()) {
      Fail();
      return {};
    }
    Bytes taken = rest_.first(size_bytes);
    rest_ = rest_.subspan(size_bytes);
    return taken;
  }
  template <size_t N>
  std::array<uint8_t, N> Array() {
    std::array<uint8_t, N> out{};
    Bytes taken = Take(N);
    if (!taken.empty()) std::memcpy(out.data(), taken.data(), N);
    return out;
  }
  std::string_view Text(size_t limit_bytes) {
    uint64_t size_bytes = Varint();
    if (size_bytes > limit_bytes) {
      Fail();
      return {};
    }
    return AsText(Take(size_bytes));
  }
  Bytes rest() const { return rest_; }
  bool failed() const { return failed_; }
  // All was read and nothing was amiss.
  bool Done() const { return !failed_ && rest_.empty(); }

 private:
  uint64_t Little(size_t size_bytes) {
    uint64_t value = 0;
    Bytes taken = Take(size_bytes);
    for (size_t i = 0; i < taken.size(); ++i) value |= static_cast<uint64_t>(taken[i]) << (8 * i);
    return value;
  }
  void Fail() {
    failed_ = true;
    rest_ = {};
  }
  Bytes rest_;
  bool failed_ = false;
};

}  // namespace ckptfs
