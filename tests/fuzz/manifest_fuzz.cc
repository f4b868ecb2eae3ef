// A manifest from anywhere: parsed within bounds, and what is taken is exactly what
// would have been written.
#include <cstdlib>

#include "agent/store/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto manifest = ckptfs::ParseManifest(text);
  if (!manifest) return 0;
  auto again = ckptfs::FormatManifest(*manifest);
  if (!again || *again != text) std::abort();
  return 0;
}
