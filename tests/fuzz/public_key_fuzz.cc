// PublicKey::Parse: what it takes, it writes in a form that it takes again, as the same key.
#include <cstdlib>

#include "crypto/keys.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ckptfs;
  auto key = PublicKey::Parse(AsText({data, size}));
  if (!key) return 0;
  std::string text = key->Format();
  auto again = PublicKey::Parse(text);
  if (!again || !(*again == *key) || again->Format() != text) std::abort();
  return 0;
}
