// A job's record, of this boot and of another: what is taken is written in one form.
#include <cstdlib>

#include "agent/job.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ckptfs;
  for (const char* boot : {"boot-1", "boot-2"}) {
    auto record = ParseRecord(AsText({data, size}), boot);
    if (!record) continue;
    std::string text = FormatRecord(*record, boot);
    auto again = ParseRecord(text, boot);
    if (!again || FormatRecord(*again, boot) != text) std::abort();
  }
  return 0;
}
