#include "kapi/criu/image_fixes.h"

#include "kapi/criu/protobuf.h"

namespace ckptfs {
namespace {

constexpr uint32_t kTimerfdField = 12;  // of file_entry
enum TimerfdField : uint32_t { kSeconds = 7, kNanos = 8, kEverySeconds = 9, kEveryNanos = 10 };

uint32_t U32At(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

// Offset within `message` of the zero to be made a one; nullopt if it is fine as it is.
std::optional<size_t> DisarmedNanos(Bytes message) {
  uint64_t left = 0, interval = 0;
  std::optional<size_t> at;
  ProtobufReader reader(message);
  while (auto field = reader.Next()) {
    if (field->number == kSeconds || field->number == kNanos) left |= field->value;
    if (field->number == kEverySeconds || field->number == kEveryNanos) interval |= field->value;
    // A zero is one byte long, the last of its field.
    if (field->number == kNanos && !field->is_bytes) at = message.size() - reader.remaining() - 1;
  }
  if (reader.bad() || left != 0 || interval == 0 || !at || message[*at] != 0) return std::nullopt;
  return at;
}

}  // namespace

int FixTimerfds(std::string* files_image) {
  int fixed = 0;
  std::string& image = *files_image;
  for (size_t at = 8; at + 4 <= image.size();) {
    uint32_t size = U32At(image, at);
    at += 4;
    if (size > image.size() - at) break;
    ProtobufReader entry(AsBytes(image).subspan(at, size));
    while (auto field = entry.Next()) {
      if (field->number != kTimerfdField || !field->is_bytes) continue;
      if (auto zero = DisarmedNanos(field->bytes)) {
        size_t start = static_cast<size_t>(field->bytes.data() - AsBytes(image).data());
        image[start + *zero] = 1;
        ++fixed;
      }
    }
    at += size;
  }
  return fixed;
}

}  // namespace ckptfs
