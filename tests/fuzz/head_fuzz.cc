// The head of a unit's image, and a pack's header, from anywhere.
#include <algorithm>
#include <cstdlib>

#include "agent/store/head.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ckptfs::Bytes bytes(data, size);
  (void)ckptfs::ParsePackHeader(bytes);
  // The length that the manifest states: what the head says itself gets furthest.
  uint64_t head_bytes = size;
  if (size >= 72) {
    head_bytes = 0;
    for (size_t i = 8; i-- > 0;) head_bytes = head_bytes << 8 | data[64 + i];
  }
  auto head = ckptfs::ParseHead(bytes, head_bytes);
  if (!head) return 0;
  auto again = ckptfs::EncodeHead(*head);
  if (again.size() > size || !std::equal(again.begin(), again.end(), data)) std::abort();
  return 0;
}
