// Known answers: of the primitives, from their specifications, so that a library that changed is
// noticed; and of what is built from them, computed by golden/vectors.py, which shares no code
// with us or with libsodium.
#include <gtest/gtest.h>
#include <sodium.h>

#include "crypto/frames.h"
#include "tests/crypto/test_keys.h"

namespace ckptfs {
namespace {

std::vector<uint8_t> Hex(std::string_view hex) {
  std::vector<uint8_t> bytes(hex.size() / 2);
  EXPECT_TRUE(FromHex(hex, bytes)) << hex;
  return bytes;
}

#ifdef CKPTFS_HAVE_AEGIS
// draft-irtf-cfrg-aegis-aead, AEGIS-256 test vectors 1 to 3.
TEST(KnownAnswers, Aegis256) {
  struct Vector {
    const char *ad, *message, *sealed;
  };
  const Vector vectors[] = {
      {"", "00000000000000000000000000000000",
       "754fc3d8c973246dcc6d741412a4b236"
       "1181a1d18091082bf0266f66297d167d2e68b845f61a3b0527d31fc7b7b89f13"},
      {"", "", "6a348c930adbd654896e1666aad67de989ea75ebaa2b82fb588977b1ffec864a"},
      {"0001020304050607", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
       "f373079ed84b2709faee373584585d60accd191db310ef5d8b11833df9dec711"
       "b7d28d0c3c0ebd409fd22b44160503073a547412da0854bfb9723020dab8da1a"},
  };
  std::vector<uint8_t> key(32), nonce(32);
  key[0] = 0x10, key[1] = 0x01, nonce[0] = 0x10, nonce[2] = 0x02;
  for (const Vector& vector : vectors) {
    std::vector<uint8_t> ad = Hex(vector.ad), message = Hex(vector.message);
    std::vector<uint8_t> sealed(message.size() + 32);
    crypto_aead_aegis256_encrypt(sealed.data(), nullptr, message.data(), message.size(), ad.data(),
                                 ad.size(), nullptr, nonce.data(), key.data());
    EXPECT_EQ(ToHex(sealed), vector.sealed);
  }
}

TEST(KnownAnswers, AegisIsTheDefaultWhereTheCpuHelps) {
  if (!sodium_runtime_has_aesni()) GTEST_SKIP() << "this CPU has no AES instructions";
  if (!SuiteAvailable(Suite::kAegis256Blake3)) GTEST_SKIP() << "built without libblake3";
  EXPECT_EQ(DefaultSuite(), Suite::kAegis256Blake3);
}
#endif

// draft-irtf-cfrg-xchacha, A.3.1.
TEST(KnownAnswers, XChaCha20Poly1305) {
  std::vector<uint8_t> key(32), nonce(24);
  for (size_t i = 0; i < 32; ++i) key[i] = static_cast<uint8_t>(0x80 + i);
  for (size_t i = 0; i < 24; ++i) nonce[i] = static_cast<uint8_t>(0x40 + i);
  std::vector<uint8_t> ad = Hex("50515253c0c1c2c3c4c5c6c7");
  Bytes message = AsBytes(
      "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
      "future, sunscreen would be it.");
  std::vector<uint8_t> sealed(message.size() + 16);
  crypto_aead_xchacha20poly1305_ietf_encrypt(sealed.data(), nullptr, message.data(), message.size(),
                                             ad.data(), ad.size(), nullptr, nonce.data(),
                                             key.data());
  EXPECT_EQ(ToHex(Bytes(sealed).first(16)), "bd6d179d3e83d43b9576579493c0e939");
  EXPECT_EQ(ToHex(Bytes(sealed).last(16)), "c0875924c1c7987947deafd8780acf49");
}

// RFC 8032, 7.1, test 2.
TEST(KnownAnswers, Ed25519) {
  std::vector<uint8_t> seed =
      Hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
  uint8_t public_key[32], secret_key[64], signature[64];
  const uint8_t message = 0x72;
  crypto_sign_seed_keypair(public_key, secret_key, seed.data());
  crypto_sign_detached(signature, nullptr, &message, 1, secret_key);
  EXPECT_EQ(ToHex(public_key), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  EXPECT_EQ(ToHex(signature),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
}

TEST(KnownAnswers, Hashes) {
  EXPECT_EQ(ToHex(Hash(Suite::kXChaCha20Blake2b, AsBytes("abc"))),
            "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
  if (!SuiteAvailable(Suite::kAegis256Blake3)) return;
  EXPECT_EQ(ToHex(Hash(Suite::kAegis256Blake3, {})),
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
  EXPECT_EQ(ToHex(Hash(Suite::kAegis256Blake3, AsBytes("abc"))),
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
}

struct GoldenFrame {
  Suite suite;
  FrameKind kind;
  const char* first_bytes;
  const char* tag;
};
const GoldenFrame kGoldenFrames[] = {
    {Suite::kAegis256Blake3, FrameKind::kPages, "f025d75d32a8e762b48cfc088f365417",
     "21d77fd64b501eebb9def1940ffcad1ae8daebc86bc385858123edb768c14a9e"},
    {Suite::kAegis256Blake3, FrameKind::kTable, "87c990e47a198803a983a2702bd88edc",
     "1c50883493d2e7a6a249216b7d646f7b5e99256742d7a331c8520770c741b8d0"},
    {Suite::kXChaCha20Blake2b, FrameKind::kPages, "c45e0a50e211370f39c4be559beaedff",
     "e950039f17e004bd2d3fb164b85bbf6700000000000000000000000000000000"},
    {Suite::kXChaCha20Blake2b, FrameKind::kTable, "80739741b28aa955c4a52528aed5e556",
     "3d45ed5e6fa7675858ef5acf0415879c00000000000000000000000000000000"},
};

TEST(KnownAnswers, FramesOfTheFormat) {
  SecretBytes data_key = GoldenDataKey();
  FrameId id{{}, 0x0102030405060708};
  for (size_t i = 0; i < id.pack.size(); ++i) id.pack[i] = static_cast<uint8_t>(0xa0 + i);
  for (const GoldenFrame& golden : kGoldenFrames) {
    if (!SuiteAvailable(golden.suite)) continue;
    std::vector<uint8_t> frame(100 + kTagBytes);
    for (size_t i = 0; i < 100; ++i) frame[i] = static_cast<uint8_t>(i * 7);
    Must(FrameCipher::Make(golden.suite, data_key))->SealInPlace(golden.kind, id, frame);
    EXPECT_EQ(ToHex(Bytes(frame).first(16)), golden.first_bytes);
    EXPECT_EQ(ToHex(Bytes(frame).last(kTagBytes)), golden.tag);
  }
}

TEST(KnownAnswers, FingerprintsOfTheFormat) {
  SecretBytes data_key = GoldenDataKey();
  std::vector<uint8_t> page(kPageBytes);
  for (size_t i = 0; i < page.size(); ++i) page[i] = static_cast<uint8_t>(i * 31 + i / 256);
  EXPECT_EQ(ToHex(Must(Fingerprinter::Make(Suite::kXChaCha20Blake2b, data_key))->Of(page)),
            "f36281d2139754a0fa8b6a806800e80b");
  if (!SuiteAvailable(Suite::kAegis256Blake3)) return;
  EXPECT_EQ(ToHex(Must(Fingerprinter::Make(Suite::kAegis256Blake3, data_key))->Of(page)),
            "6b727362319242f5ab1063d6d9eb6331");
}

}  // namespace
}  // namespace ckptfs
