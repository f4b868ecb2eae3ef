// A page table from anywhere, over a few frames of known sizes.
#include <cstdlib>

#include "agent/store/page_table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<ckptfs::FrameEntry> frames(4);
  for (auto& frame : frames) frame.pages = ckptfs::kFramePages;
  frames[1].pages = 3;
  frames[3].pages = 17;
  auto table = ckptfs::ParsePageTable({data, size}, size, frames);
  if (!table) return 0;
  auto again = ckptfs::EncodeStreams(table->streams);
  if (again.size() != table->fingerprints_offset) std::abort();
  return 0;
}
