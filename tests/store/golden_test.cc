// What a release once wrote can be read for ever, and what a reader must refuse is refused in
// words that name what is wrong. tests/golden/README.md says what the images are.
#include <filesystem>
#include <set>
#include <sstream>

#include "tests/store/store_fixture.h"

namespace ckptfs {
namespace {

namespace fs = std::filesystem;

const std::string kGolden = CKPTFS_SOURCE_DIR "/tests/golden/";

// "UNIT/STREAM" to the sum that b2sum -l 256 prints.
using Sums = std::map<std::string, std::string>;

Sums ReadSums(const std::string& path) {
  Sums sums;
  std::istringstream text(ReadAll(path));
  for (std::string line; std::getline(text, line);) sums[line.substr(66)] = line.substr(0, 64);
  return sums;
}

std::string SumOf(const std::string& bytes) {
  return ToHex(Hash(Suite::kXChaCha20Blake2b, AsBytes(bytes)));
}

// A node that has the reader's keys and trusts the maker.
class GoldenTest : public testing::Test {
 protected:
  void SetUp() override {
    store_ = OpenStoreWithKeys(dir_.path() + "/store", kGolden + "keys/reader", "reader");
    ASSERT_NE(store_, nullptr);
    ASSERT_TRUE(store_->Trust("maker", ReadAll(kGolden + "keys/maker/self.pub")));
  }
  PublicKey Maker() {
    auto key = PublicKey::Parse(ReadAll(kGolden + "keys/maker/self.pub"));
    EXPECT_TRUE(key);
    return key ? *key : PublicKey{};
  }
  Result<VersionInfo> Verify(const std::string& image) {
    return VerifyImageDir(image, Maker(), [](std::string) {});
  }
  Result<VersionInfo> Admit(const std::string& image, uint64_t version) {
    CopyIn(*store_, "golden", version, image);
    return store_->Admit("golden", version);
  }
  Result<void> Extract(const std::string& image, const std::string& out) {
    auto keys = LoadTestKeys(kGolden + "keys/reader");
    if (!keys) return keys.error();
    return ExtractImageDir(image, *keys, {Maker()}, out);
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
};

struct Released {
  const char* name;
  const char* folder;  // with the versions 1 and 2, which refers to 1
  Suite suite;
};

void PrintTo(const Released& released, std::ostream* out) { *out << released.folder; }

class ReleasedImage : public GoldenTest, public testing::WithParamInterface<Released> {
 protected:
  std::string image(uint64_t version) {
    return fmt::format("{}{}/{}", kGolden, GetParam().folder, version);
  }
};

INSTANTIATE_TEST_SUITE_P(
    , ReleasedImage,
    testing::Values(Released{"Format1Aegis", "format-1/aegis256-blake3", Suite::kAegis256Blake3},
                    Released{"Format1XChaCha", "format-1/xchacha20poly1305-blake2b",
                             Suite::kXChaCha20Blake2b}),
    [](const auto& one) { return one.param.name; });

TEST_P(ReleasedImage, IsVerifiedWithThePublicKeyAlone) {
  for (uint64_t version : {1, 2}) {
    auto info = Verify(image(version));
    if (!SuiteAvailable(GetParam().suite)) {
      ASSERT_FALSE(info);
      EXPECT_EQ(info.error().code(), Errc::kUnsupported) << info.error().Text();
      return;
    }
    ASSERT_TRUE(info) << info.error().Text();
    EXPECT_EQ(info->version, version);
    EXPECT_EQ(info->parent, version - 1);
    EXPECT_EQ(info->suite, SuiteName(GetParam().suite));
    EXPECT_EQ(info->node, "maker");
    EXPECT_EQ(info->owner_name, "ada");
    EXPECT_EQ(info->units.size(), 2u);
  }
}

TEST_P(ReleasedImage, ComesOutOfAStoreByteForByte) {
  for (uint64_t version : {1, 2}) {
    auto admitted = Admit(image(version), version);
    if (!SuiteAvailable(GetParam().suite)) {
      ASSERT_FALSE(admitted);
      EXPECT_EQ(admitted.error().code(), Errc::kUnsupported) << admitted.error().Text();
      return;
    }
    ASSERT_TRUE(admitted) << admitted.error().Text();
  }
  // Both are looked at when both are there: what they share is not one in the other's place.
  for (uint64_t version : {1, 2}) {
    Sums sums;
    for (const char* unit : {"main", "side"}) {
      auto streams = TryLoad(*store_, "golden", version, unit);
      ASSERT_TRUE(streams) << streams.error().Text();
      for (const auto& [name, bytes] : *streams) sums[unit + ("/" + name)] = SumOf(bytes);
    }
    EXPECT_EQ(sums, ReadSums(image(version) + ".b2sum"));
    std::string out = fmt::format("{}/out-{}", dir_.path(), version);
    CopyOut(*store_, "golden", version, out);
    for (const std::string& path : FilesBelow(image(version)))
      EXPECT_TRUE(ReadAll(path) == ReadAll(out + "/" + fs::path(path).filename().string())) << path;
  }
}

TEST_P(ReleasedImage, IsExtractedByteForByte) {
  if (!SuiteAvailable(GetParam().suite)) GTEST_SKIP() << "this build has not the suite";
  for (uint64_t version : {1, 2}) {
    std::string out = fmt::format("{}/out-{}", dir_.path(), version);
    auto extracted = Extract(image(version), out);
    ASSERT_TRUE(extracted) << extracted.error().Text();
    Sums sums;
    for (const std::string& path : FilesBelow(out))
      sums[fs::relative(path, out).string()] = SumOf(ReadAll(path));
    EXPECT_EQ(sums, ReadSums(image(version) + ".b2sum"));
  }
}

// A next version is made on top of one that a release wrote.
TEST_P(ReleasedImage, CanBeTheParentOfANewVersion) {
  if (!SuiteAvailable(GetParam().suite)) GTEST_SKIP() << "this build has not the suite";
  store_.reset();
  store_ = OpenStore(dir_.path() + "/store", "reader", GetParam().suite);
  auto admitted = Admit(image(2), 2);
  ASSERT_TRUE(admitted) << admitted.error().Text();
  auto streams = TryLoad(*store_, "golden", 2, "main");
  ASSERT_TRUE(streams) << streams.error().Text();
  std::string& pages = (*streams)["pages-1.img"];
  ChangePages(&pages, 1, 3);
  VersionInfo info = Save(*store_, *streams, {.job = "golden", .full_above_dead = 1.0});
  EXPECT_EQ(info.version, 3u);
  EXPECT_EQ(info.parent, 2u);
  EXPECT_LT(info.written_bytes, pages.size() / 8) << "the parent's pages were not found";
  ExpectLoads(*store_, 3, *streams, "golden");
}

// What is said of an image: a code, and words that name what is wrong.
struct Answer {
  Errc code;
  const char* words;
};
struct Refused {
  const char* name;              // of its folder in format-1/refused
  std::optional<Answer> verify;  // nullopt: nothing is wrong without the job's key
  Answer admit;
};

Refused Always(const char* name, Errc code, const char* words) {
  return {name, Answer{code, words}, {code, words}};
}
Refused OnlyByAReader(const char* name, Errc code, const char* words) {
  return {name, std::nullopt, {code, words}};
}
// What is still being copied looks like this too, so that it is not bad for ever.
Refused MayBeIncomplete(const char* name, const char* words, const char* admit_words) {
  return {name, Answer{Errc::kCorrupt, words}, {Errc::kBusy, admit_words}};
}

void PrintTo(const Refused& refused, std::ostream* out) { *out << refused.name; }

const Refused kRefused[] = {
    Always("flipped_manifest", Errc::kCorrupt, "manifest or signature"),
    Always("flipped_signature", Errc::kCorrupt, "manifest or signature"),
    Always("flipped_head", Errc::kCorrupt, "its hash is not the manifest's"),
    Always("flipped_table", Errc::kCorrupt, "its hash is not the manifest's"),
    Always("flipped_frame", Errc::kCorrupt, "frame 0, at 276 of main.img: its bytes were changed"),
    Always("truncated_manifest", Errc::kCorrupt, "manifest or signature"),
    Always("truncated_signature", Errc::kCorrupt, "manifest.minisig: the signature file is not"),
    MayBeIncomplete("truncated_unit", "bytes, the manifest says", "main.img is not all there"),
    Always("grown_unit", Errc::kCorrupt, "bytes, the manifest says"),
    Always("wrong_signer", Errc::kUntrusted, "which is not trusted here"),
    Always("wrong_signer_with_the_makers_id", Errc::kCorrupt, "does not verify"),
    Always("format_2_manifest", Errc::kUnsupported, "the manifest is of format 'ckptfs-2'"),
    Always("unknown_suite_manifest", Errc::kUnsupported, "'suite'"),
    Always("huge_number_manifest", Errc::kCorrupt, "'image_bytes'"),
    Always("second_spelling_manifest", Errc::kCorrupt, "not in the one form"),
    MayBeIncomplete("manifest_names_another_unit", "the file main.img does not belong to it",
                    "side.img is not all there"),
    Always("manifest_has_another_units_root", Errc::kCorrupt, "its hash is not the manifest's"),
    Always("manifest_has_another_units_pack", Errc::kCorrupt, "contradicts the manifest"),
    OnlyByAReader("not_for_the_reader", Errc::kUntrusted, "is not readable by this node"),
    Always("format_2_head", Errc::kUnsupported, "head of a unit's image of format 2"),
    Always("unknown_suite_head", Errc::kCorrupt, "no cipher suite 3"),
    Always("huge_pack_count", Errc::kCorrupt, "the head's sizes contradict each other"),
    Always("huge_frame_count", Errc::kCorrupt, "the head's sizes contradict each other"),
    Always("huge_table_size", Errc::kCorrupt, "the head's sizes contradict each other"),
    Always("head_points_outside_its_packs", Errc::kCorrupt, "entry 0 of the head's frames"),
    Always("frame_longer_than_any", Errc::kCorrupt, "entry 0 of the head's frames"),
    OnlyByAReader("table_with_a_wrong_tag", Errc::kCorrupt, "piece 0 of the page table"),
    OnlyByAReader("table_points_outside", Errc::kCorrupt, "refers to pages that do not exist"),
    OnlyByAReader("huge_extent", Errc::kCorrupt, "refers to pages that do not exist"),
    OnlyByAReader("huge_stream_count", Errc::kCorrupt, "the page table's start is malformed"),
    OnlyByAReader("stream_named_as_a_path", Errc::kCorrupt, "a stream of the page table"),
    OnlyByAReader("two_streams_of_one_name", Errc::kCorrupt, "have the same name"),
};

class RefusedImage : public GoldenTest, public testing::WithParamInterface<Refused> {
 protected:
  std::string image() { return kGolden + "format-1/refused/" + GetParam().name; }
  template <typename T>
  static void ExpectRefused(const Result<T>& result, const Answer& answer) {
    ASSERT_FALSE(result);
    EXPECT_EQ(ErrcName(result.error().code()), ErrcName(answer.code)) << result.error().Text();
    EXPECT_NE(result.error().Text().find(answer.words), std::string::npos) << result.error().Text();
  }
};

INSTANTIATE_TEST_SUITE_P(Format1, RefusedImage, testing::ValuesIn(kRefused),
                         [](const auto& one) { return one.param.name; });

TEST_P(RefusedImage, IsRefusedWithoutTheJobsKey) {
  auto verified = Verify(image());
  if (GetParam().verify)
    ExpectRefused(verified, *GetParam().verify);
  else
    EXPECT_TRUE(verified) << verified.error().Text();
}

TEST_P(RefusedImage, IsNotAdmittedAndLeavesNothing) {
  ExpectRefused(Admit(image(), 1), GetParam().admit);
  EXPECT_TRUE(store_->Versions("golden").empty());
  EXPECT_EQ(PackCount(dir_.path() + "/store"), 0u);
}

TEST_P(RefusedImage, IsNotExtracted) {
  std::string out = dir_.path() + "/out";
  ExpectRefused(Extract(image(), out), GetParam().verify.value_or(GetParam().admit));
  if (!fs::exists(out)) return;
  for (const std::string& path : FilesBelow(out)) EXPECT_EQ(ReadAll(path), "") << path;
}

TEST(RefusedImages, HaveARowEach) {
  std::set<std::string> folders, rows;
  for (const auto& entry : fs::directory_iterator(kGolden + "format-1/refused"))
    folders.insert(entry.path().filename().string());
  for (const Refused& row : kRefused) rows.insert(row.name);
  EXPECT_EQ(folders, rows);
}

}  // namespace
}  // namespace ckptfs
