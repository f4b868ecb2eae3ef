// The pieces of the format on their own: what is written is read, and what was
// never written is refused.
#include <gtest/gtest.h>

#include <random>

#include "agent/store/head.h"
#include "agent/store/manifest.h"
#include "agent/store/names.h"
#include "agent/store/page_index.h"
#include "agent/store/page_table.h"

namespace ckptfs {
namespace {

Manifest SomeManifest() {
  Manifest manifest;
  manifest.job = "sim";
  manifest.job_id.fill(7);
  manifest.version = 3;
  manifest.parent = 2;
  manifest.created_unix_ms = 1700000000000;
  manifest.node = "n1";
  manifest.suite = Suite::kXChaCha20Blake2b;
  manifest.owner_uid = 1000;
  manifest.owner_gid = 100;
  manifest.owner_name = "ada";
  ManifestUnit unit;
  unit.name = "main";
  unit.checkpointer = "criu";
  unit.head_bytes = 200;
  unit.image_bytes = 5000;
  unit.memory_bytes = 9000;
  unit.frames = 1;
  unit.needs = {.arch = "x86_64", .kernel = "6.1", .cpu_features = {"avx"}, .build_ids = {}};
  manifest.units = {unit};
  manifest.data_keys = {{"0123456789ABCDEF", {1, 2, 3}}};
  return manifest;
}

TEST(ManifestForm, IsReadAsItWasWritten) {
  auto text = FormatManifest(SomeManifest());
  ASSERT_TRUE(text) << text.error().Text();
  auto parsed = ParseManifest(*text);
  ASSERT_TRUE(parsed) << parsed.error().Text();
  EXPECT_EQ(*FormatManifest(*parsed), *text);
  EXPECT_EQ(parsed->units[0].memory_bytes, 9000u);
  EXPECT_EQ(parsed->data_keys[0].wrapped, (std::vector<uint8_t>{1, 2, 3}));
}

TEST(ManifestForm, EverySecondSpellingIsRefused) {
  std::string text = *FormatManifest(SomeManifest());
  auto with = [&](std::string_view from, std::string_view to) {
    std::string changed = text;
    size_t at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return changed.replace(at, from.size(), to);
  };
  for (const std::string& bad : {with("\"version\": 3", "\"version\": 3.0"),
                                 with("\"version\": 3", "\"version\": -3"),
                                 with("\"version\": 3", "\"version\": 03"),
                                 with("\"version\": 3", "\"version\":  3"),
                                 with("\"version\": 3", "\"version\": 3,\n \"version\": 3"),
                                 with("\"version\": 3", "\"version\": 99999999999999999999"),
                                 with("\"version\": 3", "\"version\": 0"),
                                 with("\"parent\": 2", "\"parent\": 3"),
                                 with("\"job\": \"sim\"", "\"job\": \"../sim\""),
                                 with("\"job\": \"sim\"", "\"job\": \"\\u0073im\""),
                                 with("\"node\"", "\"extra\": 1,\n \"node\""),
                                 with("\"name\": \"ada\"", "\"name\": \"\\n\""),
                                 with("0707", "07Z7"),
                                 text + "\n",
                                 text.substr(1),
                                 std::string(),
                                 std::string("{}"),
                                 std::string("[]"),
                                 std::string(100000, '['),
                                 "\xff" + text}) {
    EXPECT_FALSE(ParseManifest(bad)) << bad.substr(0, 300);
  }
}

TEST(ManifestForm, AnotherFormatIsUnsupportedNotCorrupt) {
  std::string text = *FormatManifest(SomeManifest());
  text.replace(text.find("ckptfs-1"), 8, "ckptfs-2");
  EXPECT_EQ(ParseManifest(text).error().code(), Errc::kUnsupported);
}

TEST(ManifestForm, TextsThatAreNotPlainAreNotWritten) {
  Manifest manifest = SomeManifest();
  manifest.owner_name = "\xc3\xa4";
  EXPECT_FALSE(FormatManifest(manifest));
  manifest = SomeManifest();
  manifest.owner_name = std::string("\xff\xfe", 2);
  EXPECT_FALSE(FormatManifest(manifest));
}

Head SomeHead() {
  Head head;
  head.suite = Suite::kXChaCha20Blake2b;
  head.packs.resize(2);
  for (uint32_t i = 0; i < 5; ++i) {
    FrameEntry frame;
    frame.pack = i % 2;
    frame.number = i;
    frame.pages = static_cast<uint16_t>(i == 4 ? 3 : 64);
    frame.stored_bytes = frame.pages * 4096u + 32;
    head.frames.push_back(frame);
  }
  head.table_bytes = 300000;
  return head;
}

TEST(HeadForm, IsReadAsItWasWritten) {
  Head head = SomeHead();
  auto bytes = EncodeHead(head);
  EXPECT_EQ(bytes.size(), head.table_offset());
  auto parsed = ParseHead(bytes, head.head_bytes());
  ASSERT_TRUE(parsed) << parsed.error().Text();
  EXPECT_EQ(EncodeHead(*parsed), bytes);
}

TEST(HeadForm, EveryTruncationIsRefused) {
  Head head = SomeHead();
  auto bytes = EncodeHead(head);
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(ParseHead(Bytes(bytes).first(size), head.head_bytes())) << size;
  EXPECT_FALSE(ParseHead(bytes, head.head_bytes() - 1));
}

TEST(HeadForm, HugeCountsAllocateNothing) {
  auto bytes = EncodeHead(SomeHead());
  for (size_t i = 48; i < 72; ++i) bytes[i] = 0xff;
  EXPECT_FALSE(ParseHead(bytes, UINT64_MAX));
}

TEST(PageTableForm, ExtentsOverFramesAreReadAsTheyWereWritten) {
  Head head = SomeHead();
  std::vector<StreamEntry> streams{{"a", 100 * 4096 - 7, {{10, 100}}},
                                   {"b", 3 * 4096, {{256, 3}}},
                                   {"c", 2 * 4096, {{5, 1}, {5, 1}}},
                                   {"d", 0, {}}};
  auto bytes = EncodeStreams(streams);
  size_t at = bytes.size();
  bytes.resize(at + 104 * 16);
  auto table = ParsePageTable(bytes, bytes.size(), head.frames);
  ASSERT_TRUE(table) << table.error().Text();
  EXPECT_EQ(table->live_pages, 104u);
  EXPECT_EQ(table->streams[0].extents[0].pages, 100u);
  EXPECT_EQ(table->fingerprints_offset, at);
}

TEST(PageTableForm, PagesThatDoNotExistAreRefused) {
  Head head = SomeHead();
  for (Extent extent :
       {Extent{320, 1}, Extent{259, 1}, Extent{256, 4}, Extent{0, 0}, Extent{0, 320}}) {
    auto bytes = EncodeStreams({{"a", uint64_t{extent.pages} * 4096, {extent}}});
    bytes.resize(bytes.size() + extent.pages * 16);
    EXPECT_FALSE(ParsePageTable(bytes, bytes.size(), head.frames));
  }
}

TEST(Index, FindsEveryPageAndNoOther) {
  auto fingerprint = [](uint32_t i) {
    Fingerprint f{};
    // As uniform as the real ones.
    std::mt19937 random(i);
    for (auto& byte : f) byte = static_cast<uint8_t>(random());
    return f;
  };
  LiveMasks live{0b101, 0, ~uint64_t{0}};
  std::vector<Fingerprint> parents;
  for (uint32_t i = 0; i < 66; ++i) parents.push_back(fingerprint(i));
  PageIndex index(live, parents);
  EXPECT_EQ(index.Find(fingerprint(0)), 0u);
  EXPECT_EQ(index.Find(fingerprint(1)), 2u);
  EXPECT_EQ(index.Find(fingerprint(2)), 128u);
  EXPECT_FALSE(index.Holds(1, fingerprint(1)));
  EXPECT_TRUE(index.Holds(191, fingerprint(65)));
  for (uint32_t i = 100; i < 20100; ++i) {
    EXPECT_FALSE(index.Find(fingerprint(i)));
    EXPECT_EQ(index.Add(fingerprint(i)), 192 + i - 100);
  }
  for (uint32_t i = 100; i < 20100; ++i) EXPECT_EQ(index.Find(fingerprint(i)), 192 + i - 100);
  EXPECT_EQ(index.Find(fingerprint(65)), 191u);
}

TEST(Names, OnlyHarmlessOnesPass) {
  for (const char* good : {"a", "sim-1", "A.b_c", "0"}) EXPECT_TRUE(CheckName(good, "job")) << good;
  for (const char* bad : {"", ".", "..", ".a", "-a", "a/b", "a b", "a\n", "\xc3\xa4"})
    EXPECT_FALSE(CheckName(bad, "job")) << bad;
  EXPECT_FALSE(CheckName(std::string(65, 'a'), "job"));
  EXPECT_EQ(ParseVersionNumber("10"), 10u);
  for (const char* bad : {"", "0", "01", "-1", "1x", " 1", "99999999999999999999"})
    EXPECT_FALSE(ParseVersionNumber(bad)) << bad;
  EXPECT_EQ(UnitOfImageFile("main.img"), "main");
  EXPECT_FALSE(UnitOfImageFile(".img"));
}

}  // namespace
}  // namespace ckptfs
