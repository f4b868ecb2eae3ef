// Small makers that the tests of crypto/ share.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "crypto/keys.h"
#include "crypto/suite.h"

namespace ckptfs {

// The value, or the end of the test program: where a failure is not what is tested.
template <typename T>
T Must(Result<T> result) {
  if (!result) {
    ADD_FAILURE() << result.error().Text();
    std::abort();
  }
  return *std::move(result);
}

inline std::vector<Suite> AvailableSuites() {
  std::vector<Suite> available;
  for (Suite suite : AllSuites())
    if (SuiteAvailable(suite)) available.push_back(suite);
  return available;
}

inline std::string SuiteTestName(const testing::TestParamInfo<Suite>& info) {
  return info.param == Suite::kAegis256Blake3 ? "Aegis256Blake3" : "XChaCha20Blake2b";
}

// For ctest, which has this in the test's name.
inline void PrintTo(Suite suite, std::ostream* out) { *out << SuiteName(suite); }

// 00 01 02 … 1f, the data key of the golden values.
inline SecretBytes GoldenDataKey() {
  SecretBytes key = Must(SecretBytes::Zeros(kDataKeyBytes));
  for (size_t i = 0; i < kDataKeyBytes; ++i) key.mutable_bytes()[i] = static_cast<uint8_t>(i);
  return key;
}

inline std::string GoldenFile(const std::string& name) {
  return Must(ReadFile(std::string(CKPTFS_SOURCE_DIR "/tests/crypto/golden/") + name, 1 << 16));
}

inline bool AllZero(Bytes bytes) {
  for (uint8_t byte : bytes)
    if (byte != 0) return false;
  return true;
}

}  // namespace ckptfs
