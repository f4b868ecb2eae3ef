// Whatever is changed in an image or in the store is found, and named.
#include <filesystem>

#include "tests/store/store_fixture.h"

namespace ckptfs {
namespace {

namespace fs = std::filesystem;

bool IsRefusal(Errc code) {
  return code == Errc::kCorrupt || code == Errc::kReplayed || code == Errc::kUntrusted ||
         code == Errc::kUnsupported || code == Errc::kBusy;  // busy: not all there
}

// Two versions with two units each, copied out of one store; another store trusts it.
class Tamper : public testing::Test {
 protected:
  void SetUp() override {
    TrustEachOther(*here_, *there_);
    for (uint64_t seed : {1, 2}) {
      auto version = here_->Begin({.job = "sim", .owner_name = "ada", .full_above_dead = 1.0});
      for (const char* name : {"a", "b"}) {
        auto unit = (*version)->AddUnit({.name = name, .checkpointer = "criu"});
        auto stream = (*unit)->Open("pages");
        std::string pages = RandomBytes(600 << 10, 1);
        ChangePages(&pages, 3 * (seed - 1), seed);
        pages += name;
        ASSERT_TRUE((*stream)->Append(AsBytes(pages)));
        ASSERT_TRUE((*stream)->End());
        ASSERT_TRUE((*unit)->Finish({}));
      }
      ASSERT_TRUE((*version)->Commit());
      CopyOut(*here_, "sim", seed, image(seed));
    }
  }
  std::string image(uint64_t version) { return dir_.path() + "/image-" + std::to_string(version); }

  // Verify and Admit both refuse the folder `bad`, shown as `version`.
  void ExpectRefused(const std::string& bad, uint64_t version, const std::string& what) {
    auto verified = VerifyImageDir(bad, here_->public_key(), [](std::string) {});
    bool replay = verified.ok();  // genuine, only at the wrong place: Admit's to find
    if (!replay) {
      EXPECT_TRUE(IsRefusal(verified.error().code()) || verified.error().code() == Errc::kNotFound)
          << what << ": " << verified.error().Text();
    }
    CopyIn(*there_, "sim", version, bad);
    auto admitted = there_->Admit("sim", version);
    ASSERT_FALSE(admitted) << what << " was admitted";
    EXPECT_TRUE(IsRefusal(admitted.error().code())) << what << ": " << admitted.error().Text();
    EXPECT_TRUE(there_->Versions("sim").empty());
    ASSERT_TRUE(there_->RemoveIncoming("sim", version));
    EXPECT_EQ(PackCount(dir_.path() + "/there"), 0u);
  }

  TempDir dir_;
  std::unique_ptr<Store> here_ = OpenStore(dir_.path() + "/here", "here");
  std::unique_ptr<Store> there_ = OpenStore(dir_.path() + "/there", "there");
};

TEST_F(Tamper, TheWholeImageIsAdmitted) {
  auto verified = VerifyImageDir(image(2), here_->public_key(), [](std::string) {});
  ASSERT_TRUE(verified) << verified.error().Text();
  CopyIn(*there_, "sim", 2, image(2));
  auto info = there_->Admit("sim", 2);
  ASSERT_TRUE(info) << info.error().Text();
}

TEST_F(Tamper, AFlippedByteAnywhereIsFound) {
  for (const std::string& path : FilesBelow(image(2))) {
    std::string good = ReadAll(path);
    // Every byte of small files, and of large ones enough to be in each of their parts.
    size_t step = good.size() > 10000 ? good.size() / 40 : good.size() > 1000 ? 37 : 5;
    for (size_t at = 0; at < good.size(); at += step) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ 0x20);
      WriteAllTo(path, bad);
      ExpectRefused(image(2), 2, path + " flipped at " + std::to_string(at));
      if (HasFatalFailure()) return;
    }
    WriteAllTo(path, good);
  }
}

TEST_F(Tamper, TruncationAndGrowthAreFound) {
  for (const std::string& path : FilesBelow(image(2))) {
    std::string good = ReadAll(path);
    for (size_t size : {size_t{0}, size_t{1}, good.size() / 2, good.size() - 1}) {
      WriteAllTo(path, good.substr(0, size));
      ExpectRefused(image(2), 2, path + " cut to " + std::to_string(size));
    }
    WriteAllTo(path, good + "x");
    ExpectRefused(image(2), 2, path + " grown");
    fs::remove(path);
    ExpectRefused(image(2), 2, path + " removed");
    WriteAllTo(path, good);
  }
}

TEST_F(Tamper, FilesOfOtherVersionsAndUnitsAreFound) {
  for (const char* name : {"a.img", "b.img", "manifest", "manifest.minisig"}) {
    std::string good = ReadAll(image(2) + "/" + name);
    WriteAllTo(image(2) + "/" + name, ReadAll(image(1) + "/" + name));
    ExpectRefused(image(2), 2, std::string(name) + " of version 1");
    WriteAllTo(image(2) + "/" + name, good);
  }
  fs::rename(image(2) + "/a.img", image(2) + "/x");
  fs::rename(image(2) + "/b.img", image(2) + "/a.img");
  fs::rename(image(2) + "/x", image(2) + "/b.img");
  ExpectRefused(image(2), 2, "units swapped");
}

TEST_F(Tamper, AnExtraFileIsFound) {
  WriteAllTo(image(2) + "/c.img", "x");
  ExpectRefused(image(2), 2, "an extra file");
}

TEST_F(Tamper, AnOlderVersionPresentedAsANewerOneIsReplayed) {
  CopyIn(*there_, "sim", 2, image(1));
  auto admitted = there_->Admit("sim", 2);
  ASSERT_FALSE(admitted);
  EXPECT_EQ(admitted.error().code(), Errc::kReplayed);
  CopyIn(*there_, "other", 1, image(1));
  admitted = there_->Admit("other", 1);
  ASSERT_FALSE(admitted);
  EXPECT_EQ(admitted.error().code(), Errc::kReplayed);
}

TEST_F(Tamper, AnotherManifestUnderAKnownNumberIsReplayed) {
  // The store is copied, goes on, and its other version 3 is presented to the first.
  here_.reset();
  fs::copy(dir_.path() + "/here", dir_.path() + "/fork", fs::copy_options::recursive);
  auto fork = OpenStore(dir_.path() + "/fork", "here");
  here_ = OpenStore(dir_.path() + "/here", "here");
  Streams streams{{"pages", RandomBytes(10000, 9)}};
  EXPECT_EQ(Save(*fork, streams).version, 3u);
  EXPECT_EQ(Save(*here_, streams).version, 3u);
  CopyOut(*fork, "sim", 3, image(3));
  EXPECT_EQ(here_->MakeIncoming("sim", 3).error().code(), Errc::kExists);
  ASSERT_TRUE(here_->Delete("sim", 3));
  CopyIn(*here_, "sim", 3, image(3));
  auto admitted = here_->Admit("sim", 3);
  ASSERT_FALSE(admitted);
  EXPECT_EQ(admitted.error().code(), Errc::kReplayed);
}

TEST_F(Tamper, InTheStoreItselfEveryChangeIsFound) {
  here_.reset();
  // Version 2 refers to version 1's packs too, so every pack but version 1's heads matters.
  const std::string store = dir_.path() + "/here";
  std::vector<std::string> paths = FilesBelow(store + "/packs");
  for (const char* name : {"manifest", "manifest.minisig"})
    paths.push_back(store + "/images/sim/2/" + name);
  for (const std::string& path : paths) {
    std::string good = ReadAll(path);
    size_t step = good.size() > 10000 ? good.size() / 25 : good.size() / 15 + 1;
    for (size_t at = good.size() > 10000 ? 5000 : 0; at < good.size(); at += step) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ 1);
      WriteAllTo(path, bad);
      here_ = OpenStore(store, "here");
      bool found = false;
      for (uint64_t version : {1, 2})
        for (const char* unit : {"a", "b"}) {
          auto loaded = TryLoad(*here_, "sim", version, unit);
          if (loaded) continue;
          found = true;
          EXPECT_TRUE(IsRefusal(loaded.error().code())) << loaded.error().Text();
        }
      EXPECT_TRUE(found) << path << " at " << at;
      here_.reset();
      WriteAllTo(path, good);
    }
  }
  here_ = OpenStore(store, "here");
}

TEST_F(Tamper, AMissingPackIsNamed) {
  for (const std::string& path : FilesBelow(dir_.path() + "/here/packs")) fs::remove(path);
  auto opened = here_->OpenVersion("sim", 1);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), Errc::kCorrupt);
  EXPECT_NE(opened.error().message().find(".pack"), std::string::npos);
}

}  // namespace
}  // namespace ckptfs
