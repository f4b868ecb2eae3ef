#include "base/bytes.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace ckptfs {
namespace {

TEST(Hex, RoundTripsEveryByte) {
  std::vector<uint8_t> bytes(256), back(256);
  for (size_t i = 0; i < 256; ++i) bytes[i] = static_cast<uint8_t>(i);
  std::string hex = ToHex(bytes);
  EXPECT_EQ(hex.substr(0, 6), "000102");
  EXPECT_EQ(hex.substr(510), "ff");
  ASSERT_TRUE(FromHex(hex, back));
  EXPECT_EQ(back, bytes);
  EXPECT_EQ(ToHex({}), "");
}

TEST(Hex, OnlyLowerCaseOfTheExactLengthIsTaken) {
  std::array<uint8_t, 2> out{};
  EXPECT_TRUE(FromHex("00ff", out));
  for (std::string_view bad : {"", "00f", "00ff0", "00FF", "0x00", "00 f", "00fg", "-0ff"})
    EXPECT_FALSE(FromHex(bad, out)) << bad;
  EXPECT_TRUE(FromHex("", {}));
}

TEST(Bytes, TextAndBytesAreTheSameMemory) {
  std::string_view text("a\0b", 3);
  EXPECT_EQ(AsText(AsBytes(text)), text);
  EXPECT_EQ(AsBytes(text).data(), reinterpret_cast<const uint8_t*>(text.data()));
}

}  // namespace
}  // namespace ckptfs
