// ckptfs-unit: what is taken is written in a form that says the same.
#include <cstdlib>

#include "kapi/criu/unit_meta.h"
#include "tests/kapi/memory_image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ckptfs;
  MemoryImage image;
  image.streams[kUnitMetaStream] = AsText({data, size});
  MemorySource source(&image);
  auto meta = ReadUnitMeta(source);
  if (!meta) return 0;
  if (meta->processes.size() > kMostSavedProcesses) std::abort();
  MemoryImage written;
  MemorySink sink(&written);
  if (!WriteUnitMeta(sink, *meta)) std::abort();
  MemorySource from(&written);
  auto again = ReadUnitMeta(from);
  if (!again || again->processes.size() != meta->processes.size() ||
      again->boot_id != meta->boot_id || again->shell_job() != meta->shell_job())
    std::abort();
  return 0;
}
