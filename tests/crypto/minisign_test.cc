// The real minisign takes what we sign, and our parser takes what it makes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/child.h"
#include "crypto/keys.h"
#include "tests/base/temp_dir.h"
#include "tests/crypto/test_keys.h"

namespace ckptfs {
namespace {

constexpr char kMinisign[] = "/usr/bin/minisign";

class Minisign : public testing::Test {
 protected:
  void SetUp() override {
    if (::access(kMinisign, X_OK) != 0) GTEST_SKIP() << "minisign is not installed";
    dir_.Write("manifest", kManifest);
    dir_.Write("manifest.minisig", Must(keys_.Sign(AsBytes(kManifest))));
    dir_.Write("self.pub", keys_.public_key().Format());
  }
  // Its exit status; what it says is in the file `said`.
  bool Run(std::vector<std::string> words) {
    Fd said = Must(Open(dir_ / "said", O_WRONLY | O_CREAT | O_TRUNC, 0600));
    ChildOptions options;
    options.argv = {kMinisign};
    options.argv.insert(options.argv.end(), words.begin(), words.end());
    options.stdout_fd = options.stderr_fd = said.get();
    options.working_directory = dir_.path();
    return Must(Must(Child::Spawn(options)).Wait()).Success();
  }

  static constexpr char kManifest[] = "{\"format\":1}\n";
  TempDir dir_;
  NodeKeys keys_ = Must(NodeKeys::Generate("node-1"));
};

TEST_F(Minisign, TakesOurSignatureWithOurPublicKeyFile) {
  EXPECT_TRUE(Run({"-Vm", "manifest", "-p", "self.pub"})) << dir_.Read("said");
  EXPECT_THAT(dir_.Read("said"), testing::HasSubstr("ckptfs manifest"));
}

TEST_F(Minisign, TakesOurSignatureWithTheBareKeyAndPrehashedOnly) {
  EXPECT_TRUE(Run({"-VHm", "manifest", "-P", keys_.public_key().MinisignLine()}))
      << dir_.Read("said");
}

TEST_F(Minisign, RefusesAnAlteredManifestAndAnotherKey) {
  dir_.Write("manifest", "{\"format\":2}\n");
  EXPECT_FALSE(Run({"-Vm", "manifest", "-p", "self.pub"}));
  dir_.Write("manifest", kManifest);
  EXPECT_FALSE(
      Run({"-Vm", "manifest", "-P", Must(NodeKeys::Generate("o")).public_key().MinisignLine()}));
}

TEST_F(Minisign, ItsPublicKeyIsTakenAndVerifiesItsSignatureWithOurComments) {
  ASSERT_TRUE(Run({"-G", "-W", "-p", "theirs.pub", "-s", "theirs.key"})) << dir_.Read("said");
  PublicKey theirs = Must(PublicKey::Parse(dir_.Read("theirs.pub")));
  ASSERT_TRUE(Run({"-Sm", "manifest", "-s", "theirs.key", "-c", "signature from ckptfs", "-t",
                   "ckptfs manifest"}))
      << dir_.Read("said");
  auto verified = VerifySignature(theirs, AsBytes(kManifest), dir_.Read("manifest.minisig"));
  EXPECT_TRUE(verified) << verified.error().Text();
  // With minisign's own comments it is genuine, but not byte for byte ours.
  ASSERT_TRUE(Run({"-Sm", "manifest", "-s", "theirs.key"})) << dir_.Read("said");
  EXPECT_FALSE(VerifySignature(theirs, AsBytes(kManifest), dir_.Read("manifest.minisig")));
}

}  // namespace
}  // namespace ckptfs
