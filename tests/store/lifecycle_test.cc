// Versions coming and going: deletion in any order, space given back, one daemon a
// store, a catalogue that is lost, torn or very long.
#include <fcntl.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <numeric>
#include <set>

#include "agent/store/local_store.h"
#include "agent/store/trust.h"
#include "tests/store/store_fixture.h"

namespace ckptfs {
namespace {

namespace fs = std::filesystem;

class Lifecycle : public testing::Test {
 protected:
  // Six versions of which each refers to all before it.
  void SaveSix() {
    Streams streams{{"pages-1.img", RandomBytes(6 << 20, 1)}, {"core.img", RandomBytes(5000, 2)}};
    for (uint64_t version = 1; version <= 6; ++version) {
      Save(*store_, streams, {.full_above_dead = 1.0});
      versions_[version] = streams;
      ChangePages(&streams["pages-1.img"], 150, version);
    }
  }
  void Reopen() {
    store_.reset();
    store_ = OpenStore(path_);
  }
  uint64_t UsedBytes() { return store_->Use()->bytes; }

  TempDir dir_;
  std::string path_ = dir_.path() + "/store";
  std::unique_ptr<Store> store_ = OpenStore(path_);
  std::map<uint64_t, Streams> versions_;
};

TEST_F(Lifecycle, DeletingInAnyOrderLeavesTheOthersReadableAndGivesAllBack) {
  std::mt19937 random(7);
  std::vector<std::vector<uint64_t>> orders{{1, 2, 3, 4, 5, 6}, {6, 5, 4, 3, 2, 1}};
  for (int i = 0; i < 6; ++i) {
    orders.push_back(orders[0]);
    std::shuffle(orders.back().begin(), orders.back().end(), random);
  }
  for (const auto& order : orders) {
    uint64_t before = UsedBytes();
    ASSERT_TRUE(store_->Versions("sim").empty());
    versions_.clear();
    Streams streams{{"pages-1.img", RandomBytes(4 << 20, 1)}, {"core.img", RandomBytes(5000, 2)}};
    std::map<uint64_t, uint64_t> number;  // in `order` -> real
    for (uint64_t i = 1; i <= 6; ++i) {
      number[i] = Save(*store_, streams, {.full_above_dead = 1.0}).version;
      versions_[i] = streams;
      ChangePages(&streams["pages-1.img"], 150, i);
    }
    for (uint64_t gone : order) {
      ASSERT_TRUE(store_->Delete("sim", number[gone]));
      versions_.erase(gone);
      if (gone == order[2]) Reopen();
      for (const auto& [i, kept] : versions_) ExpectLoads(*store_, number[i], kept);
    }
    EXPECT_TRUE(store_->Versions("sim").empty());
    EXPECT_EQ(PackCount(path_), 0u);
    EXPECT_LE(UsedBytes(), before + 8192);
  }
}

TEST_F(Lifecycle, DeadFramesAreTakenOutOfPacksThatStay) {
  Streams streams{{"pages-1.img", RandomBytes(16 << 20, 1)}};
  Save(*store_, streams);
  // The first half is replaced: version 2 refers to the second half of version 1's pack.
  streams["pages-1.img"].replace(0, 8 << 20, RandomBytes(8 << 20, 2));
  Save(*store_, streams);
  uint64_t before = UsedBytes();
  ASSERT_TRUE(store_->Delete("sim", 1));
  EXPECT_EQ(PackCount(path_), 2u);
  EXPECT_LE(UsedBytes(), before - (7u << 20));
  ExpectLoads(*store_, 2, streams);
  EXPECT_LT(store_->Use()->dead_bytes, 64u << 10);
}

// Says of every hole that this file system has none.
class NoPunching : public DiskFaults {
 public:
  int Before(DiskStep step, const std::string&) override {
    return step == DiskStep::kPunch ? EOPNOTSUPP : 0;
  }
};

TEST_F(Lifecycle, WithoutHolesToPunchPacksAreCopiedSparsely) {
  store_.reset();
  NoPunching faults;
  store_ = OpenStore(path_, "here", std::nullopt, &faults);
  Streams streams{{"pages-1.img", RandomBytes(16 << 20, 1)}};
  Save(*store_, streams);
  streams["pages-1.img"].replace(0, 8 << 20, RandomBytes(8 << 20, 2));
  Save(*store_, streams);
  uint64_t before = UsedBytes();
  ASSERT_TRUE(store_->Delete("sim", 1));
  EXPECT_LE(UsedBytes(), before - (7u << 20));
  ExpectLoads(*store_, 2, streams);
}

TEST_F(Lifecycle, AVersionThatIsBeingReadStaysReadableWhenItIsDeleted) {
  Streams streams{{"pages-1.img", RandomBytes(8 << 20, 1)}};
  Save(*store_, streams);
  auto reader = store_->OpenVersion("sim", 1);
  ASSERT_TRUE(reader);
  auto source = (*reader)->OpenUnit("main", nullptr);
  ASSERT_TRUE(source);
  ASSERT_TRUE(store_->Delete("sim", 1));
  EXPECT_TRUE((*source)->VerifyRest());
  EXPECT_EQ(PackCount(path_), 1u);
  reader->reset();
  source->reset();
  EXPECT_EQ(PackCount(path_), 0u);
}

TEST_F(Lifecycle, AParentDeletedWhileItsChildIsWrittenLosesNothing) {
  Streams streams{{"pages-1.img", RandomBytes(8 << 20, 1)}};
  Save(*store_, streams);
  auto version = store_->Begin({.job = "sim", .owner_uid = 1000, .owner_name = "ada"});
  ASSERT_TRUE(version);
  auto unit = (*version)->AddUnit({.name = "main", .checkpointer = "criu"});
  ASSERT_TRUE(unit);
  ASSERT_TRUE(store_->Delete("sim", 1));
  auto stream = (*unit)->Open("pages-1.img");
  ASSERT_TRUE((*stream)->Append(AsBytes(streams["pages-1.img"])));
  ASSERT_TRUE((*stream)->End());
  ASSERT_TRUE((*unit)->Finish({}));
  auto info = (*version)->Commit();
  ASSERT_TRUE(info) << info.error().Text();
  EXPECT_LT(info->written_bytes, 100u << 10);
  unit->reset();
  version->reset();
  ExpectLoads(*store_, 2, streams);
}

TEST_F(Lifecycle, NumbersAreNeverUsedTwice) {
  Streams streams{{"a", "b"}};
  EXPECT_EQ(Save(*store_, streams).version, 1u);
  EXPECT_EQ(Save(*store_, streams).version, 2u);
  ASSERT_TRUE(store_->Delete("sim", 2));
  ASSERT_TRUE(store_->Delete("sim", 1));
  Reopen();
  EXPECT_EQ(Save(*store_, streams).version, 3u);
  ASSERT_TRUE(store_->MakeIncoming("sim", 9));
  EXPECT_EQ(Save(*store_, streams).version, 10u);
}

TEST_F(Lifecycle, AnAbortedVersionLeavesNothing) {
  uint64_t before = UsedBytes();
  {
    auto version = store_->Begin({.job = "sim", .owner_name = "ada"});
    auto unit = (*version)->AddUnit({.name = "main", .checkpointer = "criu"});
    auto stream = (*unit)->Open("pages-1.img");
    ASSERT_TRUE((*stream)->Append(AsBytes(RandomBytes(20 << 20, 1))));
  }
  EXPECT_EQ(PackCount(path_), 0u);
  EXPECT_EQ(UsedBytes(), before);
  EXPECT_TRUE(store_->Versions("sim").empty());
}

// Frames are sealed under the pack's id and their numbers: the same again would be a
// nonce that is used twice.
TEST_F(Lifecycle, AVersionThatIsTriedAgainHasAnotherPackId) {
  std::set<std::string> names;
  for (int i = 0; i < 3; ++i) {
    auto version = store_->Begin({.job = "sim", .owner_name = "ada"});
    ASSERT_EQ((*version)->version(), 1u);
    auto unit = (*version)->AddUnit({.name = "main", .checkpointer = "criu"});
    ASSERT_TRUE(unit);
    for (const std::string& file : FilesBelow(path_ + "/packs")) names.insert(file);
  }
  EXPECT_EQ(names.size(), 3u);
}

TEST_F(Lifecycle, TwoJobsOfOneOwnerShareNoKeyAndNoPage) {
  Streams streams{{"pages-1.img", RandomBytes(4 << 20, 7)}};
  auto one = Save(*store_, streams, {.job = "one"});
  auto two = Save(*store_, streams, {.job = "two"});
  EXPECT_GE(two.written_bytes, 4u << 20);
  EXPECT_EQ(PackCount(path_), 2u);
  EXPECT_EQ(one.written_bytes, two.written_bytes);
  // Sealed, the same pages have nothing in common.
  std::set<std::string> blocks;
  size_t count = 0;
  for (const std::string& pack : FilesBelow(path_ + "/packs")) {
    std::string bytes = ReadAll(pack);
    for (size_t at = 4096; at + 4096 <= bytes.size() && at < (4u << 20); at += 64, ++count)
      blocks.insert(bytes.substr(at, 32));
  }
  EXPECT_EQ(blocks.size(), count);
  store_.reset();
  auto fd = Open(path_ + "/keys", O_RDONLY | O_DIRECTORY);
  auto keys = NodeKeys::Load(fd->get(), {});
  ASSERT_TRUE(keys) << keys.error().Text();
  std::vector<std::vector<uint8_t>> data_keys;
  for (const char* job : {"one", "two"}) {
    auto manifest = ParseManifest(ReadAll(path_ + "/images/" + job + "/1/manifest"));
    ASSERT_TRUE(manifest);
    auto key = UnwrapDataKey(*keys, *manifest);
    ASSERT_TRUE(key) << key.error().Text();
    data_keys.emplace_back(key->bytes().begin(), key->bytes().end());
  }
  EXPECT_NE(data_keys[0], data_keys[1]);
}

TEST_F(Lifecycle, AVersionWithAnUnfinishedUnitCannotBeCommitted) {
  auto version = store_->Begin({.job = "sim", .owner_name = "ada"});
  auto unit = (*version)->AddUnit({.name = "main", .checkpointer = "criu"});
  ASSERT_TRUE(unit);
  EXPECT_FALSE((*version)->Commit());
  EXPECT_TRUE(store_->Versions("sim").empty());
}

TEST_F(Lifecycle, SeveralUnitsMakeOneVersion) {
  auto version = store_->Begin({.job = "sim", .owner_name = "ada"});
  std::string b = RandomBytes(1 << 20, 1), a = RandomBytes(2 << 20, 2);
  for (auto [name, bytes] : {std::pair{"b", &b}, std::pair{"a", &a}}) {
    auto unit = (*version)->AddUnit({.name = name, .checkpointer = "criu"});
    ASSERT_TRUE(unit);
    auto stream = (*unit)->Open("pages");
    ASSERT_TRUE((*stream)->Append(AsBytes(*bytes)));
    ASSERT_TRUE((*stream)->End());
    ASSERT_TRUE((*unit)->Finish({}));
  }
  auto info = (*version)->Commit();
  ASSERT_TRUE(info) << info.error().Text();
  ASSERT_EQ(info->units.size(), 2u);
  ExpectLoads(*store_, 1, {{"pages", a}}, "sim", "a");
  ExpectLoads(*store_, 1, {{"pages", b}}, "sim", "b");
}

TEST_F(Lifecycle, ASecondDaemonIsRefusedInWords) {
  auto second = Store::Open({.dir = path_, .node = "here"}, Log(2, Log::Level::kError));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Errc::kBusy);
  EXPECT_NE(second.error().Text().find(std::to_string(::getpid())), std::string::npos);
}

TEST_F(Lifecycle, RecordsStay) {
  ASSERT_TRUE(store_->PutRecord("job/sim", "policy durable"));
  ASSERT_TRUE(store_->PutRecord("job/tsp", "x"));
  ASSERT_TRUE(store_->PutRecord("other", "y"));
  ASSERT_TRUE(store_->DeleteRecord("job/tsp"));
  EXPECT_EQ(store_->PutRecord("big", std::string(70000, 'x')).error().code(), Errc::kTooBig);
  Reopen();
  EXPECT_EQ(store_->Records("job/"),
            (std::map<std::string, std::string>{{"job/sim", "policy durable"}}));
}

TEST_F(Lifecycle, ALostCatalogueIsMadeAnew) {
  SaveSix();
  ASSERT_TRUE(store_->Delete("sim", 2));
  versions_.erase(2);
  store_.reset();
  fs::remove_all(path_ + "/catalogue");
  store_ = OpenStore(path_);
  EXPECT_EQ(store_->Versions("sim"), (std::vector<uint64_t>{1, 3, 4, 5, 6}));
  for (const auto& [version, streams] : versions_) ExpectLoads(*store_, version, streams);
  EXPECT_EQ(Save(*store_, versions_[6]).parent, 6u);
}

TEST_F(Lifecycle, ATornCatalogueIsMadeAnew) {
  SaveSix();
  const std::string data = path_ + "/catalogue/data.mdb";
  auto damage = [&](const std::function<void()>& how) {
    store_.reset();
    how();
    store_ = OpenStore(path_);
    ASSERT_EQ(store_->Versions("sim").size(), 6u);
    ExpectLoads(*store_, 6, versions_[6]);
  };
  damage([&] { fs::resize_file(data, 0); });
  damage([&] { fs::resize_file(data, 100); });
  damage([&] { fs::resize_file(data, 8192); });
  damage([&] { fs::resize_file(data, 12288); });
  damage([&] { WriteAllTo(data, RandomBytes(40960, 1)); });
}

TEST_F(Lifecycle, FsckRebuildsAndKeepsRecords) {
  SaveSix();
  ASSERT_TRUE(store_->PutRecord("job/sim", "x"));
  store_.reset();
  std::vector<std::string> said;
  auto good = CheckStore({.dir = path_, .node = "here"}, true,
                         [&](std::string line) { said.push_back(line); });
  ASSERT_TRUE(good) << good.error().Text();
  EXPECT_TRUE(*good);
  EXPECT_EQ(said.size(), 7u);
  store_ = OpenStore(path_);
  EXPECT_EQ(store_->Records("").size(), 1u);
  for (const auto& [version, streams] : versions_) ExpectLoads(*store_, version, streams);
}

TEST(ManyVersions, TenThousandAreListedQuickly) {
  // In memory: ten thousand commits are ten thousand syncs.
  TempDir dir("/dev/shm");
  const std::string path = dir.path() + "/store";
  fs::create_directories(path + "/catalogue");
  {
    Disk disk;
    auto catalogue = Catalogue::Open(disk, path + "/catalogue");
    ASSERT_TRUE(catalogue);
    for (uint64_t version = 1; version <= 10000; ++version) {
      VersionRecord record;
      record.units.push_back(
          {.name = "main", .container = RandomPackId(), .flat = false, .sources = {}});
      for (int i = 0; i < 10; ++i) record.units[0].sources.push_back({RandomPackId(), false});
      ASSERT_TRUE((*catalogue)->PutVersion(fmt::format("job{}", version % 5), version, record));
    }
    ASSERT_TRUE((*catalogue)->SetComplete());
  }
  auto start = std::chrono::steady_clock::now();
  auto store = OpenStore(path);
  size_t count = 0;
  for (const std::string& job : store->Jobs()) count += store->Versions(job).size();
  EXPECT_EQ(count, 10000u);
  // Some 50 ms; the rest is for sanitizers and busy machines.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(3));
}

}  // namespace
}  // namespace ckptfs
