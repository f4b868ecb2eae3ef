// What a criu that is not ours to trust may send for an image file's name.
#include "kapi/criu/image_stream.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto name = ckptfs::ParseStreamRequest({data, size});
  if (name && !ckptfs::IsStreamName(*name)) __builtin_trap();
  return 0;
}
