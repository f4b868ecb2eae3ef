// What goes into a version comes out of it again, whatever it looks like.
#include "tests/crypto/test_keys.h"
#include "tests/store/store_fixture.h"

namespace ckptfs {
namespace {

class RoundTrip : public testing::TestWithParam<Suite> {
 protected:
  TempDir dir_;
  std::unique_ptr<Store> store_ = OpenStore(dir_.path() + "/store", "here", GetParam());
};

INSTANTIATE_TEST_SUITE_P(Suites, RoundTrip, testing::ValuesIn(AvailableSuites()), SuiteTestName);

TEST_P(RoundTrip, EveryOddSizeComesBack) {
  Streams streams;
  for (size_t size : {0, 1, 4095, 4096, 4097, 65535, 65536, 65537, 262143, 262144, 262145, 1000003})
    streams["size-" + std::to_string(size)] = RandomBytes(size, size);
  VersionInfo info = Save(*store_, streams);
  EXPECT_EQ(info.version, 1u);
  ExpectLoads(*store_, 1, streams);
}

TEST_P(RoundTrip, ManySmallStreamsComeBackInOrder) {
  Streams streams;
  for (int i = 0; i < 500; ++i)
    streams[fmt::format("core-{:04}.img", i)] =
        RandomBytes(static_cast<size_t>(i * 37), 1000u + static_cast<unsigned>(i));
  Save(*store_, streams);
  ExpectLoads(*store_, 1, streams);
}

TEST_P(RoundTrip, ChangedAndShiftedPagesComeBack) {
  Streams streams{{"pages-1.img", RandomBytes(8 << 20, 1)},
                  {"pages-2.img", RandomBytes(3 << 20, 2)}};
  Save(*store_, streams);
  std::vector<Streams> versions{streams};
  for (uint64_t seed = 2; seed < 8; ++seed) {
    ChangePages(&streams["pages-1.img"], 40, seed);
    // A mapping that begins elsewhere: the same pages at other places.
    std::string& second = streams["pages-2.img"];
    second = second.substr(kPageBytes * seed) + RandomBytes(kPageBytes * seed / 2, seed);
    VersionInfo info = Save(*store_, streams);
    EXPECT_EQ(info.parent, seed - 1);
    EXPECT_LT(info.written_bytes, 700u << 10) << "shifted pages were not found again";
    versions.push_back(streams);
  }
  for (size_t i = 0; i < versions.size(); ++i) ExpectLoads(*store_, i + 1, versions[i]);
}

TEST_P(RoundTrip, CompressedComesBackAndIsSmaller) {
  std::string text;
  for (int i = 0; text.size() < (4 << 20); ++i) text += fmt::format("line {} of a long story\n", i);
  Streams streams{{"pages-1.img", text}, {"pages-2.img", RandomBytes(1 << 20, 3)}};
  VersionInfo info = Save(*store_, streams, {.compress = true});
  EXPECT_LT(info.written_bytes, 3u << 20);
  ExpectLoads(*store_, 1, streams);
  ChangePages(&streams["pages-1.img"], 10, 4);
  Save(*store_, streams);
  ExpectLoads(*store_, 2, streams);
}

TEST_P(RoundTrip, StreamsThatAreOpenTogetherComeBack) {
  auto version = store_->Begin({.job = "sim", .owner_name = "ada"});
  ASSERT_TRUE(version);
  auto unit = (*version)->AddUnit({.name = "main", .checkpointer = "criu"});
  ASSERT_TRUE(unit);
  Streams streams;
  std::vector<std::unique_ptr<ImageSink::Stream>> open;
  for (int i = 0; i < 100; ++i) open.push_back(*(*unit)->Open("s" + std::to_string(i)));
  for (int round = 0; round < 30; ++round)
    for (size_t i = 0; i < open.size(); ++i) {
      std::string piece = RandomBytes(i * 97 + 1, i * 100 + static_cast<size_t>(round));
      ASSERT_TRUE(open[i]->Append(AsBytes(piece)));
      streams["s" + std::to_string(i)] += piece;
    }
  for (auto& stream : open) ASSERT_TRUE(stream->End());
  ASSERT_TRUE((*unit)->Finish({}));
  ASSERT_TRUE((*version)->Commit());
  ExpectLoads(*store_, 1, streams);
}

TEST_P(RoundTrip, PagesThatAreEqualAreStoredOnce) {
  std::string page = RandomBytes(kPageBytes, 5);
  std::string zeros(16 << 20, '\0'), same;
  for (int i = 0; i < 1000; ++i) same += page;
  VersionInfo info = Save(*store_, {{"zeros", zeros}, {"same", same}});
  EXPECT_LT(info.written_bytes, 64u << 10);
  ExpectLoads(*store_, 1, {{"zeros", zeros}, {"same", same}});
}

TEST(Incremental, OnePercentChangedCostsAtMostOneAndAHalfPercent) {
  TempDir dir;
  auto store = OpenStore(dir.path() + "/store");
  Streams streams{{"pages-1.img", RandomBytes(256 << 20, 1)}};
  Save(*store, streams);
  ChangePages(&streams["pages-1.img"], 65536 / 100, 2);
  VersionInfo info = Save(*store, streams);
  EXPECT_LE(info.written_bytes, (256u << 20) * 3 / 200);
  ExpectLoads(*store, 2, streams);
}

TEST(Incremental, NothingChangedCostsTheTableOnly) {
  TempDir dir;
  auto store = OpenStore(dir.path() + "/store");
  Streams streams{{"pages-1.img", RandomBytes(64 << 20, 1)}};
  Save(*store, streams);
  EXPECT_LE(Save(*store, streams).written_bytes, (64u << 20) / 220);
  ExpectLoads(*store, 2, streams);
}

TEST(Incremental, AnotherOwnersJobOfTheSameNameSharesNothing) {
  TempDir dir;
  auto store = OpenStore(dir.path() + "/store");
  Streams streams{{"pages-1.img", RandomBytes(1 << 20, 1)}};
  Save(*store, streams);
  auto version = store->Begin({.job = "sim", .owner_uid = 7, .owner_gid = 7, .owner_name = "bob"});
  ASSERT_TRUE(version);
  auto unit = (*version)->AddUnit({.name = "main", .checkpointer = "criu"});
  ASSERT_TRUE(unit);
  auto stream = (*unit)->Open("pages-1.img");
  ASSERT_TRUE((*stream)->Append(AsBytes(streams["pages-1.img"])));
  ASSERT_TRUE((*stream)->End());
  ASSERT_TRUE((*unit)->Finish({}));
  auto info = (*version)->Commit();
  ASSERT_TRUE(info);
  EXPECT_EQ(info->parent, 0u);
  EXPECT_GT(info->written_bytes, 1u << 20);
}

TEST(Fallback, FileSystemsWithoutDirectIoWork) {
  TempDir dir("/dev/shm");
  auto store = OpenStore(dir.path() + "/store");
  Streams streams{{"pages-1.img", RandomBytes(20 << 20, 1)}};
  Save(*store, streams);
  ExpectLoads(*store, 1, streams);
}

TEST(Secrecy, NoFileOfTheStoreHoldsPlaintext) {
  TempDir dir;
  auto store = OpenStore(dir.path() + "/store");
  const std::string marker = "MARKER-OF-PLAINTEXT";
  std::string pages = RandomBytes(2 << 20, 1);
  for (size_t at = 100; at + marker.size() < pages.size(); at += 50000)
    pages.replace(at, marker.size(), marker);
  Save(*store, {{"pages-1.img", pages}, {marker, marker + " in a small stream"}});
  Save(*store, {{"pages-1.img", pages + "more"}, {marker, "x"}}, {.compress = true});
  for (const std::string& path : FilesBelow(dir.path()))
    EXPECT_EQ(ReadAll(path).find(marker), std::string::npos) << path;
}

}  // namespace
}  // namespace ckptfs
