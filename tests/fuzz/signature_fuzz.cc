// Signature files: only one text is the signature of a message, whatever else is tried.
#include <cstdlib>

#include "crypto/keys.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ckptfs;
  // The key and the file of tests/crypto/golden.
  static const auto* const key = new Result<PublicKey>(
      PublicKey::Parse("RWQBI0VniavN73m1Vi6P5lT5QHixEuipi6eQH4U65pW+1+DjkQutBJZk\n"));
  static constexpr std::string_view kMessage = "{\"format\":1}\n";
  static constexpr std::string_view kGenuine =
      "untrusted comment: signature from ckptfs\n"
      "RUQBI0VniavN74rWewTzYxTePceWCJ5YFrBzuOPO0gforXnVG1VPsvy5+ft5n7e8KnC2fZ4F2VqDUir7jsccGOJjlIZ9"
      "Azkqyw0=\n"
      "trusted comment: ckptfs manifest\n"
      "2X/ml4bz24iZmoV+Nj+Uy3MgIk4To4KG5FPsJtv7K/E5vWuhb3m5W4tGa254H73zetV6S5Vt3gOhieIdAZS7Dw==\n";
  std::string_view file = AsText({data, size});
  bool formed = SignatureKeyId(file).ok();
  bool genuine = VerifySignature(**key, AsBytes(kMessage), file).ok();
  if (genuine != (file == kGenuine) || (genuine && !formed)) std::abort();
  return 0;
}
