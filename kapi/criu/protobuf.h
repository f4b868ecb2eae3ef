// As much of the protobuf wire format as criu's streams and images need: reading
// and writing flat messages of integers and strings, from bytes nobody vouches for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace ckptfs {

struct ProtobufField {
  uint32_t number = 0;
  bool is_bytes = false;
  uint64_t value = 0;  // varint, fixed32 or fixed64
  Bytes bytes;         // borrowed from the message
};

// Walks over the fields of one message. Never reads outside of it.
class ProtobufReader {
 public:
  explicit ProtobufReader(Bytes message) : rest_(message) {}
  // nullopt at the end, or where the message cannot be understood: then `bad()`.
  std::optional<ProtobufField> Next();
  bool bad() const { return bad_; }
  size_t remaining() const { return rest_.size(); }  // bytes after the last field

 private:
  std::optional<ProtobufField> Bad();
  std::optional<uint64_t> Varint();

  Bytes rest_;
  bool bad_ = false;
};

// A repeated integer's values: packed bytes, or one value a field. False if bad.
template <typename Use>
bool ForEachValue(const ProtobufField& field, Use use);

void AppendVarint(std::string* out, uint64_t value);
void AppendStringField(std::string* out, uint32_t number, std::string_view text);
void AppendIntField(std::string* out, uint32_t number, uint64_t value);

// One varint from the front of `bytes`, which shrinks; nullopt if there is none.
std::optional<uint64_t> TakeVarint(Bytes* bytes);

template <typename Use>
bool ForEachValue(const ProtobufField& field, Use use) {
  if (!field.is_bytes) {
    use(field.value);
    return true;
  }
  for (Bytes rest = field.bytes; !rest.empty();) {
    auto value = TakeVarint(&rest);
    if (!value) return false;
    use(*value);
  }
  return true;
}

}  // namespace ckptfs
