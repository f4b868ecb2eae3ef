#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "crypto/keys.h"
#include "tests/crypto/test_keys.h"

namespace ckptfs {
namespace {

void ExpectInvalid(std::string_view text, const std::string& what) {
  auto parsed = PublicKey::Parse(text);
  ASSERT_FALSE(parsed) << what;
  EXPECT_EQ(parsed.error().code(), Errc::kInvalid) << what;
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(PublicKey, FormatRoundTrips) {
  PublicKey key = Must(NodeKeys::Generate("node-1.example_x")).public_key();
  EXPECT_TRUE(key.has_recipient);
  EXPECT_EQ(key.node, "node-1.example_x");
  EXPECT_EQ(Must(PublicKey::Parse(key.Format())), key);
  key.node.clear();
  EXPECT_EQ(Must(PublicKey::Parse(key.Format())), key);
  key.has_recipient = false;
  key.recipient = {};
  EXPECT_EQ(Must(PublicKey::Parse(key.Format())), key);
}

TEST(PublicKey, TheGoldenOneReads) {
  std::string text = GoldenFile("self.pub");
  PublicKey key = Must(PublicKey::Parse(text));
  EXPECT_EQ(key.node, "golden");
  EXPECT_EQ(key.IdText(), "EFCDAB8967452301");
  EXPECT_EQ(ToHex(key.key_id), "0123456789abcdef");
  EXPECT_EQ(key.Format(), text);
}

TEST(PublicKey, TheBareLineReadsWithAndWithoutItsNewline) {
  PublicKey key = Must(NodeKeys::Generate("n")).public_key();
  for (std::string end : {"", "\n"}) {
    PublicKey bare = Must(PublicKey::Parse(key.MinisignLine() + end));
    EXPECT_EQ(bare.signing, key.signing);
    EXPECT_EQ(bare.key_id, key.key_id);
    EXPECT_FALSE(bare.has_recipient);
    EXPECT_EQ(bare.node, "");
  }
}

TEST(PublicKey, AKeyThatMinisignMadeReads) {
  PublicKey key =
      Must(PublicKey::Parse("untrusted comment: minisign public key E5F7B371E3FD14\n"
                            "RWQU/eNxs/flADnNQdWNdsGdTbRT8bS/WVI5jOIUBsRbBqaMpNxmBO3N\n"));
  EXPECT_EQ(key.IdText(), "00E5F7B371E3FD14");
  EXPECT_FALSE(key.has_recipient);
}

TEST(PublicKey, TheNodeIsTakenOnlyFromOurOwnComment) {
  std::string text = GoldenFile("self.pub");
  for (const char* comment :
       {"minisign public key", "ckptfs public key EFCDAB8967452301 (a b)",
        "ckptfs public key EFCDAB8967452301 ()", "ckptfs public key 0000000000000000 (golden)",
        "ckptfs public key EFCDAB8967452301 (../x)", ""})
    EXPECT_EQ(Must(PublicKey::Parse(
                       Replaced(text, "ckptfs public key EFCDAB8967452301 (golden)", comment)))
                  .node,
              "")
        << comment;
}

TEST(PublicKey, EveryTruncationIsInvalid) {
  std::string text = GoldenFile("self.pub");
  size_t without_recipient = text.find("recipient");
  for (size_t size = 0; size < text.size(); ++size)
    if (size != without_recipient)
      ExpectInvalid(text.substr(0, size), fmt::format("{} bytes", size));
}

TEST(PublicKey, WhatIsNotExactlyOneKeyIsInvalid) {
  std::string text = GoldenFile("self.pub");
  std::string bare = Must(PublicKey::Parse(text)).MinisignLine();
  ExpectInvalid(text + "\n", "an empty line more");
  ExpectInvalid(text + text, "two keys");
  ExpectInvalid("\n" + text, "an empty line first");
  ExpectInvalid(Replaced(text, "\nRW", "\r\nRW"), "CRLF in the comment");
  ExpectInvalid(Replaced(text, "\nrecipient", "\r\nrecipient"), "CRLF after the key");
  ExpectInvalid(Replaced(text, "recipient ", "recipient  "), "two spaces");
  ExpectInvalid(Replaced(text, "recipient", "Recipient"), "another word");
  ExpectInvalid(Replaced(text, "golden", std::string("gol\0en", 6)), "a NUL in the comment");
  ExpectInvalid(Replaced(text, "golden", "gol\ten"), "a tab in the comment");
  ExpectInvalid(bare + "\n\n", "two newlines");
  ExpectInvalid(" " + bare, "a space first");
  ExpectInvalid(bare + " ", "a space last");
  ExpectInvalid(Replaced(bare, "RW", "RU"), "another algorithm");
  ExpectInvalid(std::string(4097, 'A'), "too long");
  ExpectInvalid(Replaced(text, "golden", std::string(4096, 'x')), "too long a comment");
}

// These verify or open what nobody with a key pair has made.
TEST(PublicKey, DegenerateKeysAreInvalid) {
  PublicKey golden = Must(PublicKey::Parse(GoldenFile("self.pub")));
  auto hex = [](std::string_view text) {
    std::array<uint8_t, 32> bytes{};
    EXPECT_TRUE(FromHex(text, bytes));
    return bytes;
  };
  for (const char* point : {"0000000000000000000000000000000000000000000000000000000000000000",
                            "0100000000000000000000000000000000000000000000000000000000000000",
                            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
                            "0200000000000000000000000000000000000000000000000000000000000000",
                            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"}) {
    PublicKey key = golden;
    key.signing = hex(point);
    ExpectInvalid(key.Format(), point);
  }
  for (const char* point : {"0000000000000000000000000000000000000000000000000000000000000000",
                            "0100000000000000000000000000000000000000000000000000000000000000",
                            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
                            "0900000000000000000000000000000000000000000000000000000000000080"}) {
    PublicKey key = golden;
    key.recipient = hex(point);
    ExpectInvalid(key.Format(), point);
  }
}

TEST(NodeName, OnlyPlainNamesMakeKeys) {
  for (const char* name : {"", "a b", "a/b", "a\n", "(x)", "\xc3\xa4"}) {
    auto made = NodeKeys::Generate(name);
    ASSERT_FALSE(made) << name;
    EXPECT_EQ(made.error().code(), Errc::kInvalid);
  }
  EXPECT_FALSE(NodeKeys::Generate(std::string(65, 'a')));
  EXPECT_TRUE(NodeKeys::Generate(std::string(64, 'a')));
}

TEST(DataKey, OpensForItsRecipientAlone) {
  NodeKeys ours = Must(NodeKeys::Generate("ours")), theirs = Must(NodeKeys::Generate("theirs"));
  SecretBytes data_key = Must(NewDataKey());
  std::vector<uint8_t> wrapped = Must(WrapDataKey(data_key, ours.public_key()));
  EXPECT_EQ(ToHex(Must(ours.Unwrap(wrapped)).bytes()), ToHex(data_key.bytes()));
  auto opened = theirs.Unwrap(wrapped);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), Errc::kUntrusted);
  EXPECT_THAT(opened.error().remedy(), testing::HasSubstr("keys/trusted"));
  EXPECT_NE(Must(WrapDataKey(data_key, ours.public_key())), wrapped);
}

TEST(DataKey, ATornOrChangedWrappingDoesNotOpen) {
  NodeKeys node = Must(NodeKeys::Generate("n"));
  std::vector<uint8_t> wrapped = Must(WrapDataKey(Must(NewDataKey()), node.public_key()));
  for (size_t size = 0; size < wrapped.size(); ++size)
    EXPECT_EQ(node.Unwrap(Bytes(wrapped).first(size)).error().code(), Errc::kCorrupt);
  for (size_t i = 0; i < wrapped.size(); ++i) {
    wrapped[i] ^= 1;
    EXPECT_EQ(node.Unwrap(wrapped).error().code(), Errc::kUntrusted) << i;
    wrapped[i] ^= 1;
  }
  wrapped.push_back(0);
  EXPECT_EQ(node.Unwrap(wrapped).error().code(), Errc::kCorrupt);
}

TEST(DataKey, AKeyWithoutRecipientCannotReceive) {
  PublicKey key = Must(NodeKeys::Generate("n")).public_key();
  key = Must(PublicKey::Parse(key.MinisignLine()));
  EXPECT_EQ(WrapDataKey(Must(NewDataKey()), key).error().code(), Errc::kInvalid);
}

TEST(Base64, RoundTripsAtEverySize) {
  for (size_t size = 0; size < 70; ++size) {
    std::vector<uint8_t> bytes(size, 0xfb);
    EXPECT_EQ(Must(FromBase64(ToBase64(bytes), size)), bytes);
    if (size > 0) {
      EXPECT_FALSE(FromBase64(ToBase64(bytes), size - 1));
    }
  }
}

TEST(Base64, OnlyTheCanonicalFormIsTaken) {
  EXPECT_EQ(ToBase64(AsBytes("a")), "YQ==");
  for (std::string text :
       {"YQ", "YQ=", "YR==", "YQ==\n", " YQ==", "Y Q==", "YQ==YQ==", "-_-_", "=", "====", "Y"})
    EXPECT_FALSE(FromBase64(text, 64)) << text;
  EXPECT_FALSE(FromBase64(std::string("YQ=\0", 4), 64));
}

}  // namespace
}  // namespace ckptfs
