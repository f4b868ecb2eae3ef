#include "crypto/suite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/crypto/test_keys.h"

namespace ckptfs {
namespace {

TEST(Suite, NamesRoundTrip) {
  for (Suite suite : AvailableSuites()) EXPECT_EQ(Must(ParseSuite(SuiteName(suite))), suite);
}

TEST(Suite, AnUnavailableOneIsUnsupportedAndSaysWhatToDo) {
  if (SuiteAvailable(Suite::kAegis256Blake3)) GTEST_SKIP() << "every suite is available here";
  auto parsed = ParseSuite("aegis256-blake3");
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().code(), Errc::kUnsupported);
  EXPECT_THAT(parsed.error().remedy(), testing::HasSubstr("scripts/setup"));
}

TEST(Suite, NamesThatWeNeverWroteAreInvalid) {
  for (std::string_view name : {"", "aegis256", "AEGIS256-BLAKE3", "aegis256-blake3 ", "null"}) {
    auto parsed = ParseSuite(name);
    ASSERT_FALSE(parsed) << name;
    EXPECT_EQ(parsed.error().code(), Errc::kInvalid) << name;
  }
}

TEST(Suite, TheDefaultIsAvailable) { EXPECT_TRUE(SuiteAvailable(DefaultSuite())); }

class SuiteHash : public testing::TestWithParam<Suite> {};
INSTANTIATE_TEST_SUITE_P(, SuiteHash, testing::ValuesIn(AvailableSuites()), SuiteTestName);

TEST_P(SuiteHash, PiecesGiveTheSameHashAsTheWhole) {
  std::vector<uint8_t> bytes(70000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 13);
  for (size_t piece_bytes : {1, 63, 64, 1023, 1025, 65536}) {
    Hasher hasher(GetParam());
    for (size_t at = 0; at < bytes.size(); at += piece_bytes)
      hasher.Update(Bytes(bytes).subspan(at, std::min(piece_bytes, bytes.size() - at)));
    EXPECT_EQ(hasher.Finish(), Hash(GetParam(), bytes)) << piece_bytes;
  }
}

TEST_P(SuiteHash, AMovedHasherGoesOn) {
  Hasher first(GetParam());
  first.Update(AsBytes("ab"));
  Hasher second(std::move(first));
  second.Update(AsBytes("c"));
  Hasher third(GetParam());
  third = std::move(second);
  EXPECT_EQ(third.Finish(), Hash(GetParam(), AsBytes("abc")));
}

}  // namespace
}  // namespace ckptfs
