// files.img on its way to criu: whatever it is, it stays as long as it was or grows by
// what was mended, and mending it again finds nothing.
#include <cstdlib>

#include "base/bytes.h"
#include "kapi/criu/image_fixes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ckptfs;
  const std::string before(AsText({data, size}));
  std::string image = before;
  int mended = FixTimerfds(&image);
  if (mended < 0 || (mended == 0 && image != before)) std::abort();
  std::string again = image;
  if (FixTimerfds(&again) != 0 || again != image) std::abort();
  return 0;
}
