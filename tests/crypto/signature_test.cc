#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "crypto/keys.h"
#include "tests/crypto/test_keys.h"

namespace ckptfs {
namespace {

class Signature : public testing::Test {
 protected:
  void ExpectCorrupt(std::string_view file, const std::string& what) {
    auto verified = VerifySignature(keys_.public_key(), AsBytes(message_), file);
    ASSERT_FALSE(verified) << what;
    EXPECT_EQ(verified.error().code(), Errc::kCorrupt) << what;
  }
  // Not even of the form that we write.
  void ExpectMalformed(const std::string& file, const std::string& what) {
    ExpectCorrupt(file, what);
    EXPECT_FALSE(SignatureKeyId(file)) << what;
  }
  std::string Replaced(const std::string& from, const std::string& to) {
    std::string text = file_;
    size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  }

  NodeKeys keys_ = Must(NodeKeys::Generate("n"));
  std::string message_ = "{\"format\":1}\n";
  std::string file_ = Must(keys_.Sign(AsBytes(message_)));
};

TEST_F(Signature, VerifiesAndNamesItsKey) {
  EXPECT_TRUE(VerifySignature(keys_.public_key(), AsBytes(message_), file_));
  EXPECT_EQ(Must(SignatureKeyId(file_)), keys_.public_key().key_id);
}

TEST_F(Signature, IsTheSameEachTime) { EXPECT_EQ(Must(keys_.Sign(AsBytes(message_))), file_); }

TEST_F(Signature, OfAnEmptyMessageVerifies) {
  std::string file = Must(keys_.Sign({}));
  EXPECT_TRUE(VerifySignature(keys_.public_key(), {}, file));
  ExpectCorrupt(file, "a signature of nothing");
}

TEST_F(Signature, TheGoldenOneVerifies) {
  PublicKey golden = Must(PublicKey::Parse(GoldenFile("self.pub")));
  std::string manifest = GoldenFile("manifest"), file = GoldenFile("manifest.minisig");
  EXPECT_TRUE(VerifySignature(golden, AsBytes(manifest), file));
  EXPECT_EQ(Must(SignatureKeyId(file)), golden.key_id);
}

TEST_F(Signature, EveryFlippedBitOfTheFileIsFound) {
  for (size_t bit = 0; bit < file_.size() * 8; ++bit) {
    std::string changed = file_;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
    ExpectCorrupt(changed, fmt::format("bit {}", bit));
  }
}

TEST_F(Signature, EveryFlippedBitOfTheMessageIsFound) {
  for (size_t bit = 0; bit < message_.size() * 8; ++bit) {
    std::string changed = message_;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(VerifySignature(keys_.public_key(), AsBytes(changed), file_)) << bit;
  }
}

TEST_F(Signature, EveryTruncationIsMalformed) {
  for (size_t size = 0; size < file_.size(); ++size)
    ExpectMalformed(file_.substr(0, size), fmt::format("{} bytes", size));
}

TEST_F(Signature, OtherCommentsAreMalformed) {
  ExpectMalformed(Replaced("signature from ckptfs", "signature from minisign secret key"), "1");
  ExpectMalformed(Replaced("signature from ckptfs", "signature from Ckptfs"), "2");
  ExpectMalformed(Replaced("trusted comment: ckptfs manifest", "trusted comment: x"), "3");
  ExpectMalformed(Replaced("ckptfs manifest", "ckptfs manifest "), "4");
}

TEST_F(Signature, OtherWhitespaceIsMalformed) {
  ExpectMalformed(file_ + "\n", "a newline more");
  ExpectMalformed(file_ + " ", "a space more");
  ExpectMalformed(std::string("\xef\xbb\xbf") + file_, "a byte order mark");
  std::string crlf;
  for (char c : file_) crlf += c == '\n' ? std::string("\r\n") : std::string(1, c);
  ExpectMalformed(crlf, "CRLF");
  for (size_t at = file_.find('\n'); at != std::string::npos; at = file_.find('\n', at + 1)) {
    std::string changed = file_;
    ExpectMalformed(changed.insert(at, "\r"), "one CR");
    changed = file_;
    ExpectMalformed(changed.replace(at, 1, "\r"), "CR for LF");
    changed = file_;
    ExpectMalformed(changed.replace(at, 1, std::string(1, '\0')), "NUL for LF");
  }
}

// The unused bits at the end of base64 would let a file vary and still verify.
TEST_F(Signature, OtherBase64OfTheSameBytesIsMalformed) {
  size_t pad = file_.find("=\n");
  ASSERT_NE(pad, std::string::npos);
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (int add = 1; add < 4; ++add) {
    std::string changed = file_;
    changed[pad - 1] = alphabet[alphabet.find(changed[pad - 1]) + static_cast<size_t>(add)];
    ExpectMalformed(changed, fmt::format("{} more", add));
  }
}

// S + L, with L the order of the group, satisfies the same equation as S.
TEST_F(Signature, AScalarThatIsNotReducedIsRefused) {
  static constexpr uint8_t kOrder[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58,
                                         0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
                                         0,    0,    0,    0,    0,    0,    0,    0,
                                         0,    0,    0,    0,    0,    0,    0,    0x10};
  size_t at = file_.find('\n') + 1;
  std::string line = file_.substr(at, file_.find('\n', at) - at);
  std::vector<uint8_t> bytes = Must(FromBase64(line, 74));
  unsigned carry = 0;
  for (size_t i = 0; i < 32; ++i) {
    unsigned sum = bytes[42 + i] + kOrder[i] + carry;
    bytes[42 + i] = static_cast<uint8_t>(sum);
    carry = sum >> 8;
  }
  ExpectCorrupt(Replaced(line, ToBase64(bytes)), "S + L");
}

TEST_F(Signature, ByAnotherKeyIsRefused) {
  NodeKeys other = Must(NodeKeys::Generate("o"));
  ExpectCorrupt(Must(other.Sign(AsBytes(message_))), "other key");
  // The same key id does not help.
  PublicKey forged = other.public_key();
  forged.key_id = keys_.public_key().key_id;
  EXPECT_FALSE(VerifySignature(forged, AsBytes(message_), file_));
}

TEST_F(Signature, ThatSignsTheCommentOfAnotherIsRefused) {
  std::string other = Must(keys_.Sign(AsBytes("other")));
  size_t last = file_.find('\n', file_.find("trusted comment: ckptfs")) + 1;
  ExpectCorrupt(file_.substr(0, last) + other.substr(last), "global signature of another file");
}

}  // namespace
}  // namespace ckptfs
