// Byte views and sizes that every folder speaks in.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ckptfs {

using Bytes = std::span<const uint8_t>;
using MutableBytes = std::span<uint8_t>;

// The page: what is fingerprinted and referred to. Fixed by the image format,
// whatever the machine's own page size.
inline constexpr size_t kPageBytes = 4096;

inline Bytes AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view AsText(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Lower-case hexadecimal.
std::string ToHex(Bytes bytes);
// False if `hex` is not exactly out.size() bytes in lower-case hexadecimal.
bool FromHex(std::string_view hex, MutableBytes out);

}  // namespace ckptfs
