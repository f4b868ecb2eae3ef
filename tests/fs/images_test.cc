// Images: read as they lie in the store, copied in as cp, rsync and tar do it,
// removed as rm -r does it.
#include "tests/fs/tree_fixture.h"

namespace ckptfs {
namespace {

using fake::Alice;
using fake::Bob;
using fake::Root;

class ImagesTest : public TreeTest {
 protected:
  void AddVersion(uint64_t version) {
    store_.AddVersion("sim", version, fake::kAlice,
                      {{"manifest", "{}\n"}, {"manifest.minisig", "sig\n"}, {"main.img", big_}});
  }
  Result<void> RemoveAll(const std::string& folder) {
    auto names = Ls(folder);
    if (!names) return names.error();
    for (const std::string& name : *names)
      if (auto gone = Unlink(folder + "/" + name); !gone) return gone;
    return Rmdir(folder);
  }
  bool IsVersion(uint64_t version) const { return store_.Info("sim", version).ok(); }

  std::string big_ = std::string(600'000, 'x') + std::string(600'000, 'y');
};

TEST_F(ImagesTest, VersionsAreReadAndLatestPointsToTheNewest) {
  AddVersion(1);
  AddVersion(12);
  EXPECT_EQ(*Ls("images/sim"), (std::vector<std::string>{"latest", "1", "12"}));
  EXPECT_EQ(*Cat("images/sim/12/main.img"), big_);
  auto attr = Stat("images/sim/12/main.img");
  EXPECT_EQ(attr->size_bytes, big_.size());
  EXPECT_EQ(attr->mtime_unix_ms, 1'700'000'000'012);
  auto link = Walk("images/sim/latest", Alice());
  Waiting<std::string> target;
  tree_->ReadLink(Alice(), link->ino, target.reply());
  EXPECT_EQ(*target.Get(), "12");
  tree_->Forget(link->ino, 1);
  EXPECT_EQ(CodeOf(Stat("images/sim", Bob())), Errc::kNotFound);
  EXPECT_TRUE(Ls("images", Bob())->empty());
  EXPECT_EQ(CodeOf(Echo("images/sim/1/manifest", "x")), Errc::kReadOnly);
  EXPECT_EQ(CodeOf(CreateWith("images/sim/1/new", "x")), Errc::kReadOnly);
  EXPECT_EQ(CodeOf(Stat("images/sim/01")), Errc::kNotFound);
}

TEST_F(ImagesTest, AReadAcrossPiecesIsWhole) {
  AddVersion(1);
  auto handle = Open("images/sim/1/main.img", {}, Alice());
  EXPECT_EQ(*ReadAt(*handle, 599'990, 20), big_.substr(599'990, 20));
  EXPECT_EQ(*ReadAt(*handle, big_.size()), "");
  EXPECT_TRUE(Close(*handle));
}

TEST_F(ImagesTest, OtherBytesUnderTheSameNumberAreAnotherInode) {
  AddVersion(1);
  auto before = Walk("images/sim/1/manifest", Alice());
  ASSERT_TRUE(store_.Delete("sim", 1));
  AddVersion(1);
  auto after = Walk("images/sim/1/manifest", Alice());
  EXPECT_NE(before->ino, after->ino);
  tree_->Forget(before->ino, 1);
  tree_->Forget(after->ino, 1);
}

TEST_F(ImagesTest, AVersionIsDeletedOnceAllItsFilesAreRemoved) {
  AddVersion(1);
  AddVersion(2);
  EXPECT_EQ(CodeOf(Rmdir("images/sim/1")), Errc::kNotEmpty);
  ASSERT_TRUE(Unlink("images/sim/1/manifest"));
  EXPECT_EQ(CodeOf(Stat("images/sim/1/manifest")), Errc::kNotFound);
  EXPECT_EQ(CodeOf(Rmdir("images/sim/1")), Errc::kNotEmpty);
  EXPECT_TRUE(IsVersion(1));
  EXPECT_TRUE(RemoveAll("images/sim/1"));
  EXPECT_FALSE(IsVersion(1));
  EXPECT_EQ(CodeOf(Rmdir("images/sim")), Errc::kNotEmpty);
}

TEST_F(ImagesTest, AWholeFolderGoesAsRmGoesThroughIt) {
  AddVersion(1);
  AddVersion(2);
  EXPECT_TRUE(Unlink("images/sim/latest"));
  EXPECT_TRUE(RemoveAll("images/sim/1"));
  EXPECT_TRUE(RemoveAll("images/sim/2"));
  EXPECT_EQ(*Ls("images"), std::vector<std::string>{"sim"});
  EXPECT_TRUE(Rmdir("images/sim"));
  EXPECT_TRUE(Ls("images")->empty());
}

TEST_F(ImagesTest, WhatIsCopiedInBecomesAVersionWhenItIsWhole) {
  ASSERT_TRUE(Mkdir("images/sim"));
  EXPECT_EQ(CodeOf(Mkdir("images/sim")), Errc::kExists);
  EXPECT_EQ(CodeOf(Mkdir("images/sim", Bob())), Errc::kNotYours);
  EXPECT_EQ(CodeOf(Mkdir("images/sim/one")), Errc::kInvalid);
  ASSERT_TRUE(Mkdir("images/sim/3"));
  EXPECT_EQ(CodeOf(Mkdir("images/sim/3")), Errc::kExists);
  EXPECT_EQ(CodeOf(Stat("images/sim/3", Bob())), Errc::kNotFound);
  ASSERT_TRUE(CreateWith("images/sim/3/main.img", big_));
  EXPECT_NE(Cat("status")->find("incoming sim/3 partial manifest is missing\n"), std::string::npos);
  ASSERT_TRUE(CreateWith("images/sim/3/manifest.minisig", "sig\n"));
  // As rsync does.
  ASSERT_TRUE(CreateWith("images/sim/3/.manifest.Ab12", "{}\n"));
  EXPECT_FALSE(IsVersion(3));
  ASSERT_TRUE(Rename("images/sim/3/.manifest.Ab12", "manifest"));
  ASSERT_TRUE(Eventually([&] { return IsVersion(3); }));
  EXPECT_EQ(*Cat("images/sim/3/main.img"), big_);
  // It is a version a moment before it is no longer one that comes in.
  EXPECT_TRUE(Eventually([&] { return Cat("status")->find("incoming") == std::string::npos; }));
}

TEST_F(ImagesTest, TimesAndOwnersAreTakenWithoutEffectAlsoAfterwards) {
  ASSERT_TRUE(Mkdir("images/sim"));
  ASSERT_TRUE(Mkdir("images/sim/3"));
  auto folder = Walk("images/sim/3", Alice());
  for (const char* name : {"main.img", "manifest", "manifest.minisig"}) {
    Waiting<CreatedFile> created;
    tree_->Create(Alice(), folder->ino, name, ForWriting(), created.reply());
    auto file = created.Get();
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(WriteAt(file->opened.handle, 0, "text\n"));
    AttrChange size;
    size.size_bytes = 3;
    size.handle = file->opened.handle;
    Waiting<Entry> cut;
    tree_->SetAttr(Alice(), file->entry.ino, size, cut.reply());
    EXPECT_EQ(cut.Get()->attr.size_bytes, 3u);
    ASSERT_TRUE(Close(file->opened.handle));
    if (std::string_view(name) == "manifest.minisig") {
      ASSERT_TRUE(Eventually([&] { return IsVersion(3); }));
    }
    AttrChange other;
    other.other = true;
    Waiting<Entry> changed;
    tree_->SetAttr(Alice(), file->entry.ino, other, changed.reply());
    EXPECT_TRUE(changed.Get().ok()) << name;
    tree_->Forget(file->entry.ino, 1);
  }
  tree_->Forget(folder->ino, 1);
}

TEST_F(ImagesTest, ABadImageIsSaidAndCanBeRemoved) {
  store_.RefuseImages(Fail(Errc::kUntrusted, "signer 1A2B is not trusted"));
  ASSERT_TRUE(Mkdir("jobs/sim"));
  ASSERT_TRUE(Mkdir("images/sim"));
  ASSERT_TRUE(Mkdir("images/sim/3"));
  for (const char* name : {"main.img", "manifest", "manifest.minisig"})
    ASSERT_TRUE(CreateWith(std::string("images/sim/3/") + name, "x\n"));
  ASSERT_TRUE(Eventually([&] { return !agent_.noted().empty(); }));
  std::string line = "incoming sim/3 bad signer 1A2B is not trusted\n";
  EXPECT_NE(Cat("status")->find(line), std::string::npos);
  EXPECT_NE(Cat("jobs/sim/status")->find(line), std::string::npos);
  EXPECT_EQ(Cat("status", Bob())->find("incoming"), std::string::npos);
  EXPECT_TRUE(RemoveAll("images/sim/3"));
  EXPECT_TRUE(Rmdir("images/sim"));
}

TEST_F(ImagesTest, LatestCanBeCopiedInAndFollowsWhatIsThere) {
  ASSERT_TRUE(Mkdir("images/sim"));
  auto folder = Walk("images/sim", Alice());
  Waiting<Entry> linked, other;
  tree_->MakeLink(Alice(), folder->ino, "latest", "7", linked.reply());
  ASSERT_TRUE(linked.Get().ok());
  tree_->Forget(linked.Get()->ino, 1);
  tree_->MakeLink(Alice(), folder->ino, "evil", "/etc/passwd", other.reply());
  EXPECT_EQ(CodeOf(other.Get()), Errc::kNotYours);
  tree_->Forget(folder->ino, 1);
  EXPECT_TRUE(Stat("images/sim/latest").ok());
}

TEST_F(ImagesTest, ALongListingAsksTheStoreOnceForEachVersion) {
  for (uint64_t version = 1; version <= 1000; ++version)
    store_.AddVersion("sim", version, fake::kAlice, {});
  EXPECT_EQ(Ls("images/sim", Root())->size(), 1001u);
  uint64_t before = store_.infos();
  EXPECT_EQ(Ls("images/sim", Root())->size(), 1001u);
  EXPECT_LT(store_.infos() - before, 10u);
}

}  // namespace
}  // namespace ckptfs
