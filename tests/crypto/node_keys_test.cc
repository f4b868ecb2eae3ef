// keys/self.key and keys/self.pub: written, read, damaged, exposed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/key_file.h"
#include "crypto/keys.h"
#include "tests/base/temp_dir.h"
#include "tests/crypto/test_keys.h"

namespace ckptfs {
namespace {

using testing::HasSubstr;

Result<SecretBytes> NobodyToAsk() {
  ADD_FAILURE() << "the passphrase was asked for";
  return Fail(Errc::kInternal, "nobody to ask");
}

std::function<Result<SecretBytes>()> Answer(std::string_view passphrase) {
  return [passphrase] { return SecretBytes::Copy(AsBytes(passphrase)); };
}

mode_t ModeOf(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777;
}

size_t CountOf(int dir_fd) { return Must(ListDir(dir_fd)).size(); }

// They are the same node: one can do what the other could.
void ExpectSameSecrets(const NodeKeys& one, const NodeKeys& two) {
  EXPECT_EQ(one.public_key(), two.public_key());
  EXPECT_EQ(Must(one.Sign(AsBytes("x"))), Must(two.Sign(AsBytes("x"))));
  SecretBytes data_key = Must(NewDataKey());
  auto opened = two.Unwrap(Must(WrapDataKey(data_key, one.public_key())));
  ASSERT_TRUE(opened);
  EXPECT_EQ(ToHex(opened->bytes()), ToHex(data_key.bytes()));
}

class KeyFiles : public testing::Test {
 protected:
  Errc LoadError(const std::function<Result<SecretBytes>()>& ask = NobodyToAsk) {
    auto loaded = NodeKeys::Load(dir_.fd(), ask);
    if (loaded) ADD_FAILURE() << "it loads";
    return loaded ? Errc::kInternal : loaded.error().code();
  }
  // Replaces `from` in a key file's text and puts the checksum right again.
  std::string Edited(std::string text, const std::string& from, const std::string& to) {
    size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    text.resize(text.rfind("checksum "));
    std::array<uint8_t, 16> sum;
    Bytes bytes = AsBytes(text);
    crypto_generichash_blake2b(sum.data(), sum.size(), bytes.data(), bytes.size(), nullptr, 0);
    return text + "checksum " + ToHex(sum) + "\n";
  }

  TempDir dir_;
  NodeKeys keys_ = Must(NodeKeys::Generate("node-1"));
};

TEST_F(KeyFiles, RoundTripWithoutPassphrase) {
  ASSERT_TRUE(keys_.Save(dir_.fd(), std::nullopt));
  EXPECT_EQ(ModeOf(dir_ / "self.key"), 0600u);
  EXPECT_EQ(dir_.Read("self.pub"), keys_.public_key().Format());
  EXPECT_EQ(CountOf(dir_.fd()), 2u);
  ExpectSameSecrets(keys_, Must(NodeKeys::Load(dir_.fd(), NobodyToAsk)));
}

TEST_F(KeyFiles, RoundTripWithPassphrase) {
  ASSERT_TRUE(keys_.Save(dir_.fd(), Must(SecretBytes::Copy(AsBytes("a b\nc")))));
  EXPECT_THAT(dir_.Read("self.key"), HasSubstr("\nsealed argon2id "));
  ExpectSameSecrets(keys_, Must(NodeKeys::Load(dir_.fd(), Answer("a b\nc"))));
  for (std::string_view wrong : {"", "a b", "A b\nc", "a b\nc\n"})
    EXPECT_EQ(LoadError(Answer(wrong)), Errc::kUntrusted) << wrong;
}

TEST_F(KeyFiles, WhyThePassphraseIsMissingIsPassedOn) {
  dir_.Write("self.key", GoldenFile("sealed.key"), 0600);
  EXPECT_EQ(LoadError([]() -> Result<SecretBytes> { return Fail(Errc::kCancelled, "^C"); }),
            Errc::kCancelled);
  EXPECT_EQ(LoadError(nullptr), Errc::kUntrusted);
}

TEST_F(KeyFiles, AnEmptyPassphraseIsRefused) {
  EXPECT_EQ(keys_.Save(dir_.fd(), Must(SecretBytes::Zeros(0))).error().code(), Errc::kInvalid);
  EXPECT_EQ(CountOf(dir_.fd()), 0u);
}

TEST_F(KeyFiles, TheGoldenOnesLoad) {
  for (const char* name : {"plain.key", "sealed.key"}) {
    dir_.Write("self.key", GoldenFile(name), 0600);
    NodeKeys golden = Must(NodeKeys::Load(dir_.fd(), Answer("correct horse")));
    EXPECT_EQ(golden.public_key().Format(), GoldenFile("self.pub"));
    EXPECT_EQ(Must(golden.Sign(AsBytes(GoldenFile("manifest")))), GoldenFile("manifest.minisig"));
  }
}

TEST_F(KeyFiles, ThePlainGoldenOneIsWhatWeWrite) {
  dir_.Write("self.key", GoldenFile("plain.key"), 0600);
  NodeKeys golden = Must(NodeKeys::Load(dir_.fd(), NobodyToAsk));
  TempDir other;
  ASSERT_TRUE(golden.Save(other.fd(), std::nullopt));
  EXPECT_EQ(other.Read("self.key"), GoldenFile("plain.key"));
}

TEST_F(KeyFiles, AnExistingKeyIsNeverOverwritten) {
  for (const char* name : {"self.key", "self.pub"}) {
    TempDir dir;
    dir.Write(name, "precious");
    auto saved = keys_.Save(dir.fd(), std::nullopt);
    ASSERT_FALSE(saved);
    EXPECT_EQ(saved.error().code(), Errc::kExists);
    EXPECT_EQ(dir.Read(name), "precious");
    EXPECT_EQ(CountOf(dir.fd()), 1u);
  }
}

TEST_F(KeyFiles, NoKeyIsNotFound) { EXPECT_EQ(LoadError(), Errc::kNotFound); }

TEST_F(KeyFiles, ALostPublicHalfComesBack) {
  ASSERT_TRUE(keys_.Save(dir_.fd(), std::nullopt));
  ASSERT_EQ(::unlink((dir_ / "self.pub").c_str()), 0);
  ASSERT_TRUE(NodeKeys::Load(dir_.fd(), NobodyToAsk));
  EXPECT_EQ(dir_.Read("self.pub"), keys_.public_key().Format());
  dir_.Write("self.pub", Must(NodeKeys::Generate("evil")).public_key().Format());
  ASSERT_TRUE(NodeKeys::Load(dir_.fd(), NobodyToAsk));
  EXPECT_EQ(dir_.Read("self.pub"), keys_.public_key().Format());
}

TEST_F(KeyFiles, AKeyThatOthersCanReachIsRefused) {
  ASSERT_TRUE(keys_.Save(dir_.fd(), std::nullopt));
  for (mode_t mode : {0644, 0640, 0604, 0620, 0602, 0610, 0666}) {
    ASSERT_EQ(::chmod((dir_ / "self.key").c_str(), mode), 0);
    auto loaded = NodeKeys::Load(dir_.fd(), NobodyToAsk);
    ASSERT_FALSE(loaded) << fmt::format("{:o}", mode);
    EXPECT_EQ(loaded.error().code(), Errc::kAccess);
    EXPECT_THAT(loaded.error().remedy(), HasSubstr("chmod 600"));
  }
  ASSERT_EQ(::chmod((dir_ / "self.key").c_str(), 0400), 0);
  EXPECT_TRUE(NodeKeys::Load(dir_.fd(), NobodyToAsk));
}

TEST_F(KeyFiles, AKeyOfAnotherUserIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  ASSERT_TRUE(keys_.Save(dir_.fd(), std::nullopt));
  ASSERT_EQ(::chown((dir_ / "self.key").c_str(), 12345, 12345), 0);
  EXPECT_EQ(LoadError(), Errc::kAccess);
}

TEST_F(KeyFiles, WhatIsNoFileIsRefusedAndDoesNotHang) {
  ASSERT_EQ(::mkfifo((dir_ / "self.key").c_str(), 0600), 0);
  EXPECT_EQ(LoadError(), Errc::kCorrupt);
  ASSERT_EQ(::unlink((dir_ / "self.key").c_str()), 0);
  ASSERT_EQ(::mkdir((dir_ / "self.key").c_str(), 0700), 0);
  EXPECT_EQ(LoadError(), Errc::kCorrupt);
}

TEST_F(KeyFiles, AFileTornAtAnyLengthIsCorrupt) {
  for (const char* name : {"plain.key", "sealed.key"}) {
    std::string text = GoldenFile(name);
    for (size_t size = 0; size < text.size(); ++size) {
      dir_.Write("self.key", text.substr(0, size), 0600);
      EXPECT_EQ(LoadError(), Errc::kCorrupt) << name << " " << size;
      // What a crash of a file system can leave: the size, but zeros.
      dir_.Write("self.key", text.substr(0, size) + std::string(text.size() - size, '\0'), 0600);
      EXPECT_EQ(LoadError(), Errc::kCorrupt) << name << " " << size;
    }
  }
}

TEST_F(KeyFiles, EveryFlippedByteIsRefused) {
  for (const char* name : {"plain.key", "sealed.key"}) {
    std::string text = GoldenFile(name);
    for (size_t i = 0; i < text.size(); ++i) {
      std::string changed = text;
      changed[i] = static_cast<char>(changed[i] ^ 1);
      dir_.Write("self.key", changed, 0600);
      Errc code = LoadError();
      EXPECT_TRUE(code == Errc::kCorrupt || code == Errc::kUnsupported) << name << " " << i;
    }
  }
}

TEST_F(KeyFiles, TooLongAFileIsCorrupt) {
  dir_.Write("self.key", GoldenFile("plain.key") + std::string(5000, '\n'), 0600);
  EXPECT_EQ(LoadError(), Errc::kCorrupt);
}

TEST_F(KeyFiles, ALaterFormatIsUnsupported) {
  dir_.Write("self.key", "ckptfs secret key 2\nwhatever\n", 0600);
  EXPECT_EQ(LoadError(), Errc::kUnsupported);
}

// Whoever edits the file can also put the checksum right.
TEST_F(KeyFiles, EditedTextIsRefusedWithTheRightChecksumToo) {
  struct Edit {
    const char *file, *from, *to;
    Errc expected;
  };
  const Edit edits[] = {
      {"plain.key", "recipient ", "recipient  ", Errc::kCorrupt},
      {"plain.key", "(golden)", "(a b)", Errc::kCorrupt},
      {"plain.key", "secret AQ", "secret  AQ", Errc::kCorrupt},
      {"plain.key", "secret AQ", "secret Ag", Errc::kCorrupt},
      {"plain.key", "QA==\n", "QA==\n\n", Errc::kCorrupt},
      {"plain.key", "QA==\n", "QA==\r\n", Errc::kCorrupt},
      {"plain.key", "QA==\n", "QA==", Errc::kCorrupt},
      {"plain.key", "QA==\n", "QB==\n", Errc::kCorrupt},
      {"plain.key", "secret ", "sealed ", Errc::kCorrupt},
      {"sealed.key", "argon2id", "argon2i", Errc::kCorrupt},
      // Costs that would hang or starve the node, or are no numbers of ours.
      {"sealed.key", " 2 ", " 17 ", Errc::kCorrupt},
      {"sealed.key", " 2 ", " 0 ", Errc::kCorrupt},
      {"sealed.key", " 2 ", " 02 ", Errc::kCorrupt},
      {"sealed.key", " 2 ", " +2 ", Errc::kCorrupt},
      {"sealed.key", " 2 ", "  2 ", Errc::kCorrupt},
      {"sealed.key", " 8388608 ", " 1073741825 ", Errc::kCorrupt},
      {"sealed.key", " 8388608 ", " 8191 ", Errc::kCorrupt},
      {"sealed.key", " 8388608 ", " 99999999999999999999 ", Errc::kCorrupt},
      {"sealed.key", "DA0ODw== ZGV", "DA0ODw==  ZGV", Errc::kCorrupt},
      {"sealed.key", "QK0=\n", "QK0= \n", Errc::kCorrupt},
      {"sealed.key", "QK0=\n", "QK0= x\n", Errc::kCorrupt},
      // All that stands before the box is sealed with it.
      {"sealed.key", " 2 ", " 3 ", Errc::kUntrusted},
      {"sealed.key", "(golden)", "(holden)", Errc::kUntrusted},
      {"sealed.key", "AAECAwQ", "BAECAwQ", Errc::kUntrusted},
      {"sealed.key", "QK0=\n", "QKw=\n", Errc::kUntrusted},
  };
  for (const Edit& edit : edits) {
    dir_.Write("self.key", Edited(GoldenFile(edit.file), edit.from, edit.to), 0600);
    EXPECT_EQ(LoadError(Answer("correct horse")), edit.expected) << edit.from << " > " << edit.to;
  }
}

TEST_F(KeyFiles, SecretsOfAnotherKeyAreCorrupt) {
  NodeKeys other = Must(NodeKeys::Generate("other"));
  SecretBytes secrets = Must(SecretBytes::Random(kSecretsBytes));
  SecretBytes text = Must(FormatKeyFile(other.public_key(), secrets.bytes(), std::nullopt));
  dir_.Write("self.key", AsText(text.bytes()), 0600);
  EXPECT_EQ(LoadError(), Errc::kCorrupt);
}

}  // namespace
}  // namespace ckptfs
