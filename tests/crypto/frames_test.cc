#include "crypto/frames.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "tests/crypto/test_keys.h"

namespace ckptfs {
namespace {

constexpr FrameKind kBothKinds[] = {FrameKind::kPages, FrameKind::kTable};

std::vector<uint8_t> Plain(size_t size_bytes) {
  std::vector<uint8_t> bytes(size_bytes);
  for (size_t i = 0; i < size_bytes; ++i) bytes[i] = static_cast<uint8_t>(i * 7 + 1);
  return bytes;
}

class Frames : public testing::TestWithParam<Suite> {
 protected:
  std::unique_ptr<FrameCipher> Cipher(const SecretBytes& key) {
    return Must(FrameCipher::Make(GetParam(), key));
  }
  std::vector<uint8_t> Sealed(FrameKind kind, const FrameId& id, std::vector<uint8_t> plain) {
    plain.resize(plain.size() + kTagBytes);
    cipher_->SealInPlace(kind, id, plain);
    return plain;
  }
  // It is refused as corrupt, and nothing is left of what had been in the output.
  void ExpectRefused(const FrameCipher& cipher, FrameKind kind, const FrameId& id,
                     const std::vector<uint8_t>& sealed, const std::string& what) {
    std::vector<uint8_t> out(sealed.size() < kTagBytes ? 5 : sealed.size() - kTagBytes, 0xee);
    auto opened = cipher.Open(kind, id, sealed, out);
    ASSERT_FALSE(opened) << what;
    EXPECT_EQ(opened.error().code(), Errc::kCorrupt) << what;
    EXPECT_TRUE(AllZero(out)) << what;
  }

  SecretBytes key_ = Must(NewDataKey());
  std::unique_ptr<FrameCipher> cipher_ = Cipher(key_);
  FrameId id_{RandomPackId(), 41};
};
INSTANTIATE_TEST_SUITE_P(, Frames, testing::ValuesIn(AvailableSuites()), SuiteTestName);

TEST_P(Frames, OpenGivesBackWhatWasSealed) {
  for (FrameKind kind : kBothKinds)
    for (size_t size : {0, 1, 31, 32, 4096, 64 * 4096}) {
      std::vector<uint8_t> plain = Plain(size);
      std::vector<uint8_t> sealed = Sealed(kind, id_, plain);
      if (size >= 32) {
        EXPECT_FALSE(std::equal(plain.begin(), plain.end(), sealed.begin()));
      }
      std::vector<uint8_t> out(size, 0xee);
      ASSERT_TRUE(cipher_->Open(kind, id_, sealed, out)) << size;
      EXPECT_EQ(out, plain);
    }
}

TEST_P(Frames, SealedFromElsewhereIsTheSameAndLeavesThePlaintext) {
  for (FrameKind kind : kBothKinds)
    for (size_t size : {0, 1, 4096, 64 * 4096}) {
      const std::vector<uint8_t> plain = Plain(size);
      std::vector<uint8_t> sealed(size + kTagBytes, 0xee);
      cipher_->Seal(kind, id_, plain, sealed);
      EXPECT_EQ(plain, Plain(size));
      EXPECT_EQ(sealed, Sealed(kind, id_, plain)) << size;
    }
}

TEST_P(Frames, OpenWorksInPlace) {
  std::vector<uint8_t> sealed = Sealed(FrameKind::kPages, id_, Plain(5000));
  ASSERT_TRUE(cipher_->Open(FrameKind::kPages, id_, sealed, MutableBytes(sealed).first(5000)));
  sealed.resize(5000);
  EXPECT_EQ(sealed, Plain(5000));
}

TEST_P(Frames, FailingInPlaceLeavesZeros) {
  std::vector<uint8_t> sealed = Sealed(FrameKind::kPages, id_, Plain(5000));
  sealed[4999] ^= 1;
  MutableBytes out = MutableBytes(sealed).first(5000);
  ASSERT_FALSE(cipher_->Open(FrameKind::kPages, id_, sealed, out));
  EXPECT_TRUE(AllZero(out));
}

TEST_P(Frames, EveryFlippedBitIsFound) {
  std::vector<uint8_t> sealed = Sealed(FrameKind::kTable, id_, Plain(70));
  for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    std::vector<uint8_t> changed = sealed;
    changed[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    ExpectRefused(*cipher_, FrameKind::kTable, id_, changed, fmt::format("bit {}", bit));
  }
}

TEST_P(Frames, EveryTruncationIsFound) {
  std::vector<uint8_t> sealed = Sealed(FrameKind::kPages, id_, Plain(70));
  for (size_t size = 0; size < sealed.size(); ++size)
    ExpectRefused(*cipher_, FrameKind::kPages, id_,
                  {sealed.begin(), sealed.begin() + static_cast<ptrdiff_t>(size)},
                  fmt::format("{} bytes", size));
}

TEST_P(Frames, AppendedBytesAreFound) {
  std::vector<uint8_t> sealed = Sealed(FrameKind::kPages, id_, Plain(70));
  for (uint8_t more : {0, 1}) {
    sealed.push_back(more);
    ExpectRefused(*cipher_, FrameKind::kPages, id_, sealed, "longer");
  }
}

TEST_P(Frames, AnOutputOfAnotherSizeIsRefused) {
  std::vector<uint8_t> sealed = Sealed(FrameKind::kPages, id_, Plain(70));
  for (size_t size : {0, 69, 71, 102}) {
    std::vector<uint8_t> out(size, 0xee);
    EXPECT_FALSE(cipher_->Open(FrameKind::kPages, id_, sealed, out));
    EXPECT_TRUE(AllZero(out));
  }
}

TEST_P(Frames, AnotherKeyOpensNothing) {
  std::vector<uint8_t> sealed = Sealed(FrameKind::kPages, id_, Plain(70));
  ExpectRefused(*Cipher(Must(NewDataKey())), FrameKind::kPages, id_, sealed, "other key");
}

TEST_P(Frames, AnotherKindDoesNotOpen) {
  ExpectRefused(*cipher_, FrameKind::kTable, id_, Sealed(FrameKind::kPages, id_, Plain(70)),
                "pages as table");
  ExpectRefused(*cipher_, FrameKind::kPages, id_, Sealed(FrameKind::kTable, id_, Plain(70)),
                "table as pages");
}

TEST_P(Frames, AnotherNumberOrPackDoesNotOpen) {
  std::vector<uint8_t> sealed = Sealed(FrameKind::kPages, id_, Plain(70));
  for (int bit = 0; bit < 64; ++bit) {
    FrameId other = id_;
    other.number ^= uint64_t{1} << bit;
    ExpectRefused(*cipher_, FrameKind::kPages, other, sealed, fmt::format("number bit {}", bit));
  }
  for (size_t bit = 0; bit < 128; ++bit) {
    FrameId other = id_;
    other.pack[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    ExpectRefused(*cipher_, FrameKind::kPages, other, sealed, fmt::format("pack bit {}", bit));
  }
}

// The same plaintext never gives the same ciphertext: each kind, pack and number has a key stream
// of its own.
TEST_P(Frames, NoTwoIdsShareAKeyStream) {
  std::set<std::vector<uint8_t>> seen;
  size_t sealed = 0;
  for (FrameKind kind : kBothKinds)
    for (int pack = 0; pack < 20; ++pack) {
      FrameId id{RandomPackId(), 0};
      for (uint64_t number : {0ull, 1ull, 2ull, 255ull, 256ull, 1ull << 32, 1ull << 56, ~0ull}) {
        id.number = number;
        std::vector<uint8_t> frame = Sealed(kind, id, std::vector<uint8_t>(32));
        frame.resize(32);
        seen.insert(frame);
        ++sealed;
      }
    }
  EXPECT_EQ(seen.size(), sealed);
}

TEST_P(Frames, TheSameDataKeyGivesTheSameCipherAgain) {
  std::vector<uint8_t> sealed = Sealed(FrameKind::kPages, id_, Plain(70));
  std::vector<uint8_t> out(70);
  EXPECT_TRUE(Cipher(key_)->Open(FrameKind::kPages, id_, sealed, out));
}

TEST_P(Frames, ManyThreadsMayUseOneCipher) {
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t)
    threads.emplace_back([this, t] {
      for (uint64_t i = 0; i < 50; ++i) {
        FrameId id{id_.pack, t * 1000 + i};
        std::vector<uint8_t> sealed = Sealed(FrameKind::kPages, id, Plain(4096));
        std::vector<uint8_t> out(4096);
        EXPECT_TRUE(cipher_->Open(FrameKind::kPages, id, sealed, out));
        EXPECT_EQ(out, Plain(4096));
      }
    });
  for (std::thread& thread : threads) thread.join();
}

TEST_P(Frames, ADataKeyOfAnotherSizeIsRefused) {
  for (size_t size : {0, 16, 31, 33}) {
    EXPECT_FALSE(FrameCipher::Make(GetParam(), Must(SecretBytes::Zeros(size))));
    EXPECT_FALSE(Fingerprinter::Make(GetParam(), Must(SecretBytes::Zeros(size))));
  }
}

TEST_P(Frames, FingerprintsDifferByContentAndKeyAlone) {
  std::vector<uint8_t> page = Plain(kPageBytes);
  auto printer = Must(Fingerprinter::Make(GetParam(), key_));
  auto same = Must(Fingerprinter::Make(GetParam(), key_));
  auto other = Must(Fingerprinter::Make(GetParam(), Must(NewDataKey())));
  Fingerprint fingerprint = printer->Of(page);
  EXPECT_EQ(same->Of(page), fingerprint);
  EXPECT_NE(other->Of(page), fingerprint);
  std::set<Fingerprint> seen{fingerprint};
  for (size_t bit = 0; bit < kPageBytes * 8; bit += 61) {
    page[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    EXPECT_TRUE(seen.insert(printer->Of(page)).second) << bit;
    page[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
  }
}

TEST(FramesAcrossSuites, OneDataKeyGivesEachSuiteItsOwnKeys) {
  if (AvailableSuites().size() < 2) GTEST_SKIP() << "only one suite is available here";
  SecretBytes key = Must(NewDataKey());
  auto aegis = Must(FrameCipher::Make(Suite::kAegis256Blake3, key));
  auto chacha = Must(FrameCipher::Make(Suite::kXChaCha20Blake2b, key));
  FrameId id{RandomPackId(), 1};
  std::vector<uint8_t> frame(100);
  aegis->SealInPlace(FrameKind::kPages, id, frame);
  std::vector<uint8_t> out(100 - kTagBytes);
  EXPECT_FALSE(chacha->Open(FrameKind::kPages, id, frame, out));
}

TEST(FramesAcrossSuites, AnUnavailableSuiteMakesNothing) {
  if (SuiteAvailable(Suite::kAegis256Blake3)) GTEST_SKIP() << "every suite is available here";
  SecretBytes key = Must(NewDataKey());
  EXPECT_EQ(FrameCipher::Make(Suite::kAegis256Blake3, key).error().code(), Errc::kUnsupported);
  EXPECT_EQ(Fingerprinter::Make(Suite::kAegis256Blake3, key).error().code(), Errc::kUnsupported);
}

TEST(PackId, TwoDiffer) { EXPECT_NE(RandomPackId(), RandomPackId()); }

}  // namespace
}  // namespace ckptfs
