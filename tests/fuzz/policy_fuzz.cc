// What is written to a policy: what is taken can be read back and written again.
#include "agent/policy.h"

#include <cstdlib>

#include "base/bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ckptfs;
  auto policy = Policy{}.With(AsText({data, size}));
  if (!policy) return 0;
  auto again = Policy{}.With(policy->Format());
  if (!again || !(*again == *policy)) std::abort();
  return 0;
}
