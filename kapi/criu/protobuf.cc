#include "kapi/criu/protobuf.h"

namespace ckptfs {
namespace {

enum Wire : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

uint64_t LittleEndian(Bytes bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | bytes[i];
  return value;
}

}  // namespace

std::optional<uint64_t> TakeVarint(Bytes* bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < 10 && i < bytes->size(); ++i) {
    uint8_t byte = (*bytes)[i];
    value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) == 0) {
      *bytes = bytes->subspan(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

std::optional<ProtobufField> ProtobufReader::Bad() {
  bad_ = true;
  rest_ = {};
  return std::nullopt;
}

std::optional<ProtobufField> ProtobufReader::Next() {
  if (rest_.empty()) return std::nullopt;
  auto tag = TakeVarint(&rest_);
  if (!tag || *tag >> 3 == 0 || *tag >> 32 != 0) return Bad();
  ProtobufField field;
  field.number = static_cast<uint32_t>(*tag >> 3);
  size_t size = 0;
  switch (*tag & 7) {
    case kVarint: {
      auto value = TakeVarint(&rest_);
      if (!value) return Bad();
      field.value = *value;
      return field;
    }
    case kBytes: {
      auto length = TakeVarint(&rest_);
      if (!length || *length > rest_.size()) return Bad();
      field.is_bytes = true;
      field.bytes = rest_.first(static_cast<size_t>(*length));
      rest_ = rest_.subspan(static_cast<size_t>(*length));
      return field;
    }
    case kFixed64:
      size = 8;
      break;
    case kFixed32:
      size = 4;
      break;
    default:
      return Bad();
  }
  if (rest_.size() < size) return Bad();
  field.value = LittleEndian(rest_.first(size));
  rest_ = rest_.subspan(size);
  return field;
}

void AppendVarint(std::string* out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) *out += static_cast<char>((value & 0x7f) | 0x80);
  *out += static_cast<char>(value);
}

void AppendStringField(std::string* out, uint32_t number, std::string_view text) {
  AppendVarint(out, number << 3 | kBytes);
  AppendVarint(out, text.size());
  out->append(text);
}

void AppendIntField(std::string* out, uint32_t number, uint64_t value) {
  AppendVarint(out, number << 3 | kVarint);
  AppendVarint(out, value);
}

}  // namespace ckptfs
