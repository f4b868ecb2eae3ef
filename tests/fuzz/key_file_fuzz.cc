// keys/self.key without a passphrase to be had: what opens is written as it was read.
#include <cstdlib>

#include "crypto/key_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ckptfs;
  if (!InitCrypto()) std::abort();
  auto nobody = [] { return Result<SecretBytes>(Fail(Errc::kAccess, "nobody is asked")); };
  auto key = ParseKeyFile({data, size}, nobody);
  if (!key) return 0;
  auto text = FormatKeyFile(key->public_key, key->secrets.bytes(), std::nullopt);
  if (!text || !ParseKeyFile(text->bytes(), nobody)) std::abort();
  return 0;
}
