// Images that are copied in: bit by bit, from trusted nodes and others.
#include <fcntl.h>

#include <algorithm>
#include <filesystem>

#include "agent/store/trust.h"
#include "crypto/keys.h"
#include "tests/store/store_fixture.h"

namespace ckptfs {
namespace {

namespace fs = std::filesystem;

class Copying : public testing::Test {
 protected:
  std::string image(uint64_t version) { return dir_.path() + "/image-" + std::to_string(version); }

  TempDir dir_;
  std::unique_ptr<Store> here_ = OpenStore(dir_.path() + "/here", "here");
  std::unique_ptr<Store> there_ = OpenStore(dir_.path() + "/there", "there");
  Streams streams_{{"pages-1.img", RandomBytes(3 << 20, 1)}, {"core.img", "small"}};
};

TEST_F(Copying, AnImageGoesOnWhereItWasCopiedTo) {
  TrustEachOther(*here_, *there_);
  Save(*here_, streams_);
  ChangePages(&streams_["pages-1.img"], 20, 2);
  Save(*here_, streams_);
  CopyOut(*here_, "sim", 2, image(2));
  CopyIn(*there_, "sim", 2, image(2));
  auto info = there_->Admit("sim", 2);
  ASSERT_TRUE(info) << info.error().Text();
  EXPECT_TRUE(info->imported);
  EXPECT_EQ(info->signer, here_->public_key().IdText());
  EXPECT_TRUE(there_->IncomingVersions("sim").empty());
  ExpectLoads(*there_, 2, streams_);

  // The next version there refers to the frames of the image that was copied in.
  ChangePages(&streams_["pages-1.img"], 20, 3);
  VersionInfo next = Save(*there_, streams_);
  EXPECT_EQ(next.version, 3u);
  EXPECT_EQ(next.parent, 2u);
  EXPECT_LT(next.written_bytes, 300u << 10);
  ExpectLoads(*there_, 3, streams_);

  // … also when that image is deleted, the catalogue lost, and on its way back.
  ASSERT_TRUE(there_->Delete("sim", 2));
  ExpectLoads(*there_, 3, streams_);
  there_.reset();
  fs::remove_all(dir_.path() + "/there/catalogue");
  there_ = OpenStore(dir_.path() + "/there", "there");
  ExpectLoads(*there_, 3, streams_);
  CopyOut(*there_, "sim", 3, image(3));
  CopyIn(*here_, "sim", 3, image(3));
  auto back = here_->Admit("sim", 3);
  ASSERT_TRUE(back) << back.error().Text();
  ExpectLoads(*here_, 3, streams_);
}

TEST_F(Copying, AVersionNumberThatLeavesNoRoomForLaterOnesIsRefused) {
  auto made = here_->MakeIncoming("sim", (uint64_t{1} << 53) - 1);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code(), Errc::kInvalid);
  Save(*here_, streams_);
}

TEST_F(Copying, ADeletedVersionComesBack) {
  Save(*here_, streams_);
  CopyOut(*here_, "sim", 1, image(1));
  ASSERT_TRUE(here_->Delete("sim", 1));
  CopyIn(*here_, "sim", 1, image(1));
  auto info = here_->Admit("sim", 1);
  ASSERT_TRUE(info) << info.error().Text();
  ExpectLoads(*here_, 1, streams_);
}

TEST_F(Copying, AnUnknownSignerIsNamedUntilItIsTrusted) {
  ASSERT_TRUE(here_->Trust("there", there_->public_key().Format()));
  Save(*here_, streams_);
  CopyOut(*here_, "sim", 1, image(1));
  CopyIn(*there_, "sim", 1, image(1));
  auto refused = there_->Admit("sim", 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::kUntrusted);
  EXPECT_NE(refused.error().message().find(here_->public_key().IdText()), std::string::npos);
  auto incoming = there_->Incoming("sim", 1);
  ASSERT_TRUE(incoming);
  EXPECT_EQ(incoming->state, IncomingState::kBad);
  EXPECT_EQ(incoming->refused, Errc::kUntrusted);
  ASSERT_TRUE(there_->Trust("here", here_->public_key().Format()));
  auto admitted = there_->Admit("sim", 1);
  EXPECT_TRUE(admitted) << admitted.error().Text();
}

TEST_F(Copying, AnImageForOthersIsRefused) {
  ASSERT_TRUE(there_->Trust("here", here_->public_key().Format()));
  Save(*here_, streams_);
  CopyOut(*here_, "sim", 1, image(1));
  CopyIn(*there_, "sim", 1, image(1));
  auto refused = there_->Admit("sim", 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::kUntrusted);
  EXPECT_NE(refused.error().message().find("not readable by this node"), std::string::npos);
}

TEST_F(Copying, WhoIsNoLongerTrustedCannotReadWhatComesAfter) {
  TrustEachOther(*here_, *there_);
  Save(*here_, streams_);
  auto second = Save(*here_, streams_);
  EXPECT_EQ(second.parent, 1u);
  CopyOut(*here_, "sim", 2, image(2));
  ASSERT_TRUE(here_->Distrust("other"));
  // Nothing of what the other can read: another key, and a version of its own.
  auto third = Save(*here_, streams_);
  EXPECT_EQ(third.parent, 0u);
  CopyOut(*here_, "sim", 3, image(3));
  CopyIn(*there_, "sim", 3, image(3));
  auto refused = there_->Admit("sim", 3);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::kUntrusted);
  // The key that it had from version 2 is not the one of version 3.
  std::string key_dir = dir_.path() + "/there/keys";
  there_.reset();
  auto keys_fd = Open(key_dir, O_RDONLY | O_DIRECTORY);
  auto theirs = NodeKeys::Load(keys_fd->get(), {});
  ASSERT_TRUE(theirs);
  auto old_manifest = ParseManifest(ReadAll(image(2) + "/manifest"));
  ASSERT_TRUE(old_manifest);
  auto old_key = UnwrapDataKey(*theirs, *old_manifest);
  ASSERT_TRUE(old_key) << old_key.error().Text();
  here_.reset();
  auto own_fd = Open(dir_.path() + "/here/keys", O_RDONLY | O_DIRECTORY);
  auto own = NodeKeys::Load(own_fd->get(), {});
  auto new_key = UnwrapDataKey(*own, *ParseManifest(ReadAll(image(3) + "/manifest")));
  ASSERT_TRUE(new_key);
  EXPECT_FALSE(std::ranges::equal(old_key->bytes(), new_key->bytes()));
  here_ = OpenStore(dir_.path() + "/here", "here");
  for (uint64_t version : {1, 2, 3}) ExpectLoads(*here_, version, streams_);
  auto fourth = Save(*here_, streams_);
  EXPECT_EQ(fourth.parent, 3u);
}

TEST_F(Copying, FilesArriveInAnyOrderAndUnderTemporaryNames) {
  TrustEachOther(*here_, *there_);
  Save(*here_, streams_);
  CopyOut(*here_, "sim", 1, image(1));
  ASSERT_TRUE(there_->MakeIncoming("sim", 1));
  ASSERT_TRUE(there_->MakeIncoming("sim", 1));
  std::string bytes = ReadAll(image(1) + "/main.img");
  {
    auto fd = there_->OpenIncoming("sim", 1, ".main.img.Ab12Cd", O_RDWR | O_CREAT | O_EXCL);
    ASSERT_TRUE(fd);
    size_t half = bytes.size() / 2;
    ASSERT_TRUE(WriteAll(fd->get(), AsBytes(bytes.substr(half)), static_cast<off_t>(half)));
    EXPECT_EQ(there_->Incoming("sim", 1)->state, IncomingState::kPartial);
    ASSERT_TRUE(WriteAll(fd->get(), AsBytes(bytes.substr(0, half)), 0));
    EXPECT_EQ(there_->Admit("sim", 1).error().code(), Errc::kBusy) << "a file is open";
  }
  ASSERT_TRUE(there_->RenameIncoming("sim", 1, ".main.img.Ab12Cd", "main.img"));
  ASSERT_TRUE(there_->RenameIncoming("sim", 1, ".main.img.Ab12Cd", "main.img"));
  EXPECT_EQ(there_->Admit("sim", 1).error().code(), Errc::kBusy) << "the manifest is missing";
  for (const char* name : {"manifest.minisig", "manifest"}) {
    auto fd = there_->OpenIncoming("sim", 1, name, O_WRONLY | O_CREAT);
    ASSERT_TRUE(WriteAll(fd->get(), AsBytes(ReadAll(image(1) + "/" + name))));
  }
  auto incoming = there_->Incoming("sim", 1);
  EXPECT_EQ(incoming->state, IncomingState::kComplete) << incoming->words;
  ASSERT_TRUE(there_->Admit("sim", 1));
  EXPECT_TRUE(there_->Admit("sim", 1)) << "again is no error";
  ExpectLoads(*there_, 1, streams_);
}

TEST_F(Copying, WhatWasCompleteIsAdmittedAtTheNextOpen) {
  TrustEachOther(*here_, *there_);
  Save(*here_, streams_);
  CopyOut(*here_, "sim", 1, image(1));
  CopyIn(*there_, "sim", 1, image(1));
  there_.reset();
  there_ = OpenStore(dir_.path() + "/there", "there");
  ExpectLoads(*there_, 1, streams_);
}

TEST_F(Copying, NamesThatLeaveTheFolderAreRefused) {
  ASSERT_TRUE(there_->MakeIncoming("sim", 1));
  for (const char* name : {"..", ".", "", "a/b", "../x", "a\nb"})
    EXPECT_EQ(there_->OpenIncoming("sim", 1, name, O_WRONLY | O_CREAT).error().code(),
              Errc::kInvalid);
  for (const char* job : {"..", ".x", "", "a/b", "-x"})
    EXPECT_EQ(there_->MakeIncoming(job, 1).error().code(), Errc::kInvalid);
}

TEST_F(Copying, ExtractGivesEveryStream) {
  Save(*here_, streams_);
  CopyOut(*here_, "sim", 1, image(1));
  here_.reset();
  auto keys_dir = Open(dir_.path() + "/here/keys", O_RDONLY | O_DIRECTORY);
  auto keys = NodeKeys::Load(keys_dir->get(), {});
  ASSERT_TRUE(keys) << keys.error().Text();
  auto done = ExtractImageDir(image(1), *keys, {}, dir_.path() + "/out");
  ASSERT_TRUE(done) << done.error().Text();
  for (const auto& [name, bytes] : streams_)
    EXPECT_TRUE(ReadAll(dir_.path() + "/out/main/" + name) == bytes) << name;
}

TEST_F(Copying, ExtractOfADamagedImageCanBeTriedAgain) {
  Save(*here_, streams_);
  CopyOut(*here_, "sim", 1, image(1));
  here_.reset();
  auto keys_dir = Open(dir_.path() + "/here/keys", O_RDONLY | O_DIRECTORY);
  auto keys = NodeKeys::Load(keys_dir->get(), {});
  ASSERT_TRUE(keys) << keys.error().Text();
  std::string good = ReadAll(image(1) + "/main.img"), bad = good;
  bad[good.size() / 2] ^= 1;
  std::string out = dir_.path() + "/out";
  WriteAllTo(image(1) + "/main.img", bad);
  auto failed = ExtractImageDir(image(1), *keys, {}, out);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code(), Errc::kCorrupt);
  EXPECT_FALSE(fs::exists(out + "/main/pages-1.img"));
  WriteAllTo(image(1) + "/main.img", good);
  fs::remove_all(out + "/main");
  auto done = ExtractImageDir(image(1), *keys, {}, out);
  ASSERT_TRUE(done) << done.error().Text();
  EXPECT_TRUE(ReadAll(out + "/main/pages-1.img") == streams_["pages-1.img"]);
}

}  // namespace
}  // namespace ckptfs
