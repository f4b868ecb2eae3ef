// An image's list of processes.
#include "kapi/criu/pstree.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto tree = ckptfs::ParsePstree({data, size});
  if (tree && (tree->empty() || ckptfs::PidClearOf(*tree) < 300)) __builtin_trap();
  return 0;
}
