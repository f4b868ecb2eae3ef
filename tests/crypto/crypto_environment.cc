// Starts libsodium before the first test.
#include <gtest/gtest.h>

#include "crypto/secret_bytes.h"

namespace ckptfs {
namespace {

class CryptoEnvironment : public testing::Environment {
 public:
  void SetUp() override { ASSERT_TRUE(InitCrypto()); }
};

[[maybe_unused]] testing::Environment* const kEnvironment =
    testing::AddGlobalTestEnvironment(new CryptoEnvironment);

}  // namespace
}  // namespace ckptfs
