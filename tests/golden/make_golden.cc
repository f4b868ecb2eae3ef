// Makes tests/golden/format-N/ with the store as it is built now. Run once for each format
// version, before its release; tests/golden/README.md says how. Nothing runs it by itself: what
// is committed is what a release wrote, and stays.
#include <fcntl.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "agent/store/encoding.h"
#include "agent/store/manifest.h"
#include "agent/store/page_table.h"
#include "agent/store/trust.h"
#include "tests/store/store_fixture.h"

namespace ckptfs {
namespace {

namespace fs = std::filesystem;

template <typename T>
T Must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "make_golden: %s\n", result.error().Text().c_str());
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

// The keys in keys/NAME, made if they are not there.
NodeKeys Keys(const std::string& golden, const std::string& name) {
  std::string dir = golden + "/keys/" + name;
  if (!fs::exists(dir)) {
    fs::create_directories(dir);
    auto fd = Must(Open(dir, O_RDONLY | O_DIRECTORY));
    Must(Must(NodeKeys::Generate(name)).Save(fd.get(), std::nullopt));
  }
  return Must(LoadTestKeys(dir));
}

// --- what is saved

// Pages that are all different and get small by compression.
std::string PlainPages(size_t pages) {
  std::string bytes;
  for (size_t i = 0; i < pages; ++i) {
    std::string line = fmt::format("page {} of the golden image\n", i);
    size_t end = bytes.size() + kPageBytes;
    while (bytes.size() < end) bytes += line;
    bytes.resize(end);
  }
  return bytes;
}

// Over the end of a frame, with the same pages twice, with a last page that is not whole, and
// with streams of every small size.
std::map<std::string, Streams> UnitsOf(uint64_t version) {
  std::string pages = PlainPages(80) + PlainPages(3) + "the end";
  // In the second version some pages of the first frame are dead, and there is a new one.
  if (version == 2)
    for (size_t page : {0, 7, 63, 70}) pages[page * kPageBytes] = '*';
  return {{"main",
           {{"pages-1.img", pages},
            {"empty", ""},
            {"one-byte", "x"},
            {"a name, with: signs", std::string(kPageBytes, '\0')}}},
          {"side", {{"noise", RandomBytes(2 * kPageBytes + 99, 7)}}}};
}

void SaveVersion(Store& store, const std::map<std::string, Streams>& units) {
  auto version = Must(store.Begin({.job = "golden",
                                   .owner_uid = 1000,
                                   .owner_gid = 1000,
                                   .owner_name = "ada",
                                   .full_above_dead = 1.0}));
  for (const auto& [name, streams] : units) {
    auto unit =
        Must(version->AddUnit({.name = name, .checkpointer = "criu", .compress = name == "main"}));
    for (const auto& [stream_name, bytes] : streams) {
      auto stream = Must(unit->Open(stream_name));
      Must(stream->Append(AsBytes(bytes)));
      Must(stream->End());
    }
    Must(unit->Finish(
        {.arch = "x86_64", .kernel = "6.12.0", .cpu_features = {"avx2"}, .build_ids = {"ab12"}}));
  }
  Must(version->Commit());
}

// What `b2sum -l 256 -c` reads.
std::string Sums(const std::map<std::string, Streams>& units) {
  std::string text;
  for (const auto& [unit, streams] : units)
    for (const auto& [name, bytes] : streams)
      text += fmt::format("{}  {}/{}\n", ToHex(Hash(Suite::kXChaCha20Blake2b, AsBytes(bytes))),
                          unit, name);
  return text;
}

std::unique_ptr<Store> MakersStore(const std::string& golden, const std::string& dir, Suite suite) {
  auto store = OpenStoreWithKeys(dir, golden + "/keys/maker", "maker", suite);
  Must(store->Trust("reader", Keys(golden, "reader").public_key().Format()));
  return store;
}

void MakeGood(const std::string& golden, const std::string& format) {
  for (Suite suite : AllSuites()) {
    TempDir temporary;
    auto store = MakersStore(golden, temporary.path() + "/store", suite);
    for (uint64_t version : {1, 2}) {
      SaveVersion(*store, UnitsOf(version));
      std::string to = fmt::format("{}/{}/{}", format, SuiteName(suite), version);
      CopyOut(*store, "golden", version, to);
      WriteAllTo(to + ".b2sum", Sums(UnitsOf(version)));
    }
  }
}

// --- what must be refused

struct Image {
  std::string manifest, signature, unit;
};

class Forger {
 public:
  Forger(std::string golden, std::string refused)
      : golden_(std::move(golden)), refused_(std::move(refused)), maker_(Keys(golden_, "maker")) {
    TempDir temporary;
    // In the suite that every build can read, so that no other reason to refuse it comes first.
    auto store = MakersStore(golden_, temporary.path() + "/store", Suite::kXChaCha20Blake2b);
    SaveVersion(*store, {{"main", {{"pages-1.img", PlainPages(2)}, {"small", "x"}}}});
    CopyOut(*store, "golden", 1, temporary.path() + "/1");
    good_ = {.manifest = ReadAll(temporary.path() + "/1/manifest"),
             .signature = ReadAll(temporary.path() + "/1/manifest.minisig"),
             .unit = ReadAll(temporary.path() + "/1/main.img")};
    manifest_ = Must(ParseManifest(good_.manifest));
    head_ = Must(ParseHead(AsBytes(good_.unit), manifest_.units[0].head_bytes));
    cipher_ = Must(FrameCipher::Make(manifest_.suite, Must(UnwrapDataKey(maker_, manifest_))));
    table_.resize(head_.table_bytes);
    Must(cipher_->Open(
        FrameKind::kTable, {head_.pack, 0},
        AsBytes(good_.unit).subspan(head_.table_offset(), head_.table_bytes + kTagBytes), table_));
  }

  // Copies that went wrong, and hands that have no key.
  void Changed() {
    auto changed = [&](const std::string& name, std::string Image::*part, auto change) {
      Image image = good_;
      change(image.*part);
      Write(name, image);
    };
    auto flip = [](size_t at) {
      return [at](std::string& bytes) { bytes[at] = static_cast<char>(bytes[at] ^ 1); };
    };
    auto cut = [](std::string& bytes) { bytes.resize(bytes.size() - 1); };
    changed("flipped_manifest", &Image::manifest, flip(good_.manifest.find("ada")));
    changed("flipped_signature", &Image::signature, flip(100));
    changed("flipped_head", &Image::unit, flip(16));
    changed("flipped_table", &Image::unit, flip(head_.table_offset()));
    changed("flipped_frame", &Image::unit, flip(good_.unit.size() - 1));
    changed("truncated_manifest", &Image::manifest, cut);
    changed("truncated_signature", &Image::signature, cut);
    changed("truncated_unit", &Image::unit, cut);
    changed("grown_unit", &Image::unit, [](std::string& bytes) { bytes += 'x'; });

    Image stranger = good_;
    stranger.signature = Must(Keys(golden_, "stranger").Sign(AsBytes(good_.manifest)));
    Write("wrong_signer", stranger);
    // The stranger's signature with the maker's key id on it.
    auto named = Must(FromBase64(Line(stranger.signature, 1), 256));
    std::copy_n(maker_.public_key().key_id.begin(), 8, named.begin() + 2);
    stranger.signature.replace(stranger.signature.find(Line(stranger.signature, 1)),
                               Line(stranger.signature, 1).size(), ToBase64(named));
    Write("wrong_signer_with_the_makers_id", stranger);
  }

  // Signed by the maker: only what is said is wrong.
  void Manifests() {
    std::string suite(SuiteName(manifest_.suite)), size = Field("image_bytes");
    WriteSigned("format_2_manifest", Replaced("\"ckptfs-1\"", "\"ckptfs-2\""));
    WriteSigned("unknown_suite_manifest", Replaced(suite, "rot13-crc32"));
    WriteSigned("huge_number_manifest", Replaced(size, "\"image_bytes\": 9007199254740992,"));
    WriteSigned("second_spelling_manifest", Replaced(size, "\"image_bytes\":  " + size.substr(15)));
    Manifest other = manifest_;
    other.units[0].name = "side";
    WriteSigned("manifest_names_another_unit", Must(FormatManifest(other)));
    other = manifest_;
    other.units[0].root[0] ^= 1;
    WriteSigned("manifest_has_another_units_root", Must(FormatManifest(other)));
    other = manifest_;
    other.units[0].pack[0] ^= 1;
    WriteSigned("manifest_has_another_units_pack", Must(FormatManifest(other)));
    other = manifest_;
    std::erase_if(other.data_keys, [&](const WrappedKey& key) {
      return key.recipient != maker_.public_key().IdText();
    });
    WriteSigned("not_for_the_reader", Must(FormatManifest(other)));
  }

  // Genuine manifests of heads that no writer makes: what a reader must not trust even then.
  void Heads() {
    auto with_number = [&](const std::string& name, size_t at, uint32_t number) {
      std::string unit = good_.unit;
      ByteWriter word;
      word.U32(number);
      unit.replace(at, 4, AsText(word.bytes()));
      WriteUnit(name, unit, head_.head_bytes());
    };
    with_number("format_2_head", 8, 2);
    with_number("unknown_suite_head", 12, 3);
    with_number("huge_pack_count", 48, UINT32_MAX);
    with_number("huge_frame_count", 52, (uint32_t{1} << 26) - 2);
    with_number("huge_table_size", 60, 1);  // the high half
    with_number("head_points_outside_its_packs", head_.table_offset() - Head::kFrameEntryBytes, 7);
    with_number("frame_longer_than_any", head_.table_offset() - Head::kFrameEntryBytes + 16,
                UINT32_MAX);
  }

  // The same of page tables, which need the job's key to be made, and to be looked into.
  void Tables() {
    std::string unit = good_.unit;
    unit[head_.head_bytes() - kTagBytes] ^= 1;
    WriteUnit("table_with_a_wrong_tag", unit, head_.head_bytes());

    auto table = Must(ParsePageTable(table_, table_.size(), head_.frames));
    auto streams = table.streams;
    streams[0].extents[0].start += 1000;
    WriteTable("table_points_outside", streams);
    streams = table.streams;
    streams[0].extents[0].pages = UINT32_MAX - 1;
    streams[0].size_bytes = uint64_t{UINT32_MAX - 1} * kPageBytes;
    WriteTable("huge_extent", streams);
    streams = table.streams;
    streams[0].name = "../../etc/passwd";
    WriteTable("stream_named_as_a_path", streams);
    streams = table.streams;
    streams[0].name = streams[1].name;
    WriteTable("two_streams_of_one_name", streams);
    ByteWriter huge;
    huge.Varint(uint64_t{1} << 60);
    huge.Raw(Bytes(table_).subspan(1));
    WritePlainTable("huge_stream_count", huge.Take());
  }

 private:
  static std::string Line(const std::string& text, int number) {
    size_t start = 0;
    for (; number > 0; --number) start = text.find('\n', start) + 1;
    return text.substr(start, text.find('\n', start) - start);
  }
  std::string Field(const std::string& key) const {
    size_t start = good_.manifest.find('"' + key + '"');
    return good_.manifest.substr(start, good_.manifest.find('\n', start) - start);
  }
  std::string Replaced(const std::string& from, const std::string& to) const {
    std::string text = good_.manifest;
    return text.replace(text.find(from), from.size(), to);
  }
  void WriteSigned(const std::string& name, const std::string& manifest) {
    Image image = good_;
    image.manifest = manifest;
    image.signature = Must(maker_.Sign(AsBytes(manifest)));
    Write(name, image);
  }
  void WriteUnit(const std::string& name, const std::string& unit, uint64_t head_bytes) {
    Manifest manifest = manifest_;
    manifest.units[0].head_bytes = head_bytes;
    manifest.units[0].image_bytes = unit.size();
    manifest.units[0].root = Hash(manifest.suite, AsBytes(unit).first(head_bytes));
    Image image = good_;
    image.unit = unit;
    image.manifest = Must(FormatManifest(manifest));
    image.signature = Must(maker_.Sign(AsBytes(image.manifest)));
    Write(name, image);
  }
  void WriteTable(const std::string& name, const std::vector<StreamEntry>& streams) {
    auto plain = EncodeStreams(streams);
    auto good = Must(ParsePageTable(table_, table_.size(), head_.frames));
    Bytes fingerprints = Bytes(table_).subspan(good.fingerprints_offset);
    plain.insert(plain.end(), fingerprints.begin(), fingerprints.end());
    WritePlainTable(name, plain);
  }
  void WritePlainTable(const std::string& name, std::vector<uint8_t> plain) {
    Head head = head_;
    head.table_bytes = plain.size();
    plain.resize(plain.size() + kTagBytes);
    cipher_->SealInPlace(FrameKind::kTable, {head.pack, 0}, plain);
    std::string unit(AsText(EncodeHead(head)));
    unit += AsText(plain);
    unit += good_.unit.substr(head_.head_bytes());
    WriteUnit(name, unit, head.head_bytes());
  }
  void Write(const std::string& name, const Image& image) {
    std::string dir = refused_ + "/" + name;
    fs::create_directories(dir);
    WriteAllTo(dir + "/manifest", image.manifest);
    WriteAllTo(dir + "/manifest.minisig", image.signature);
    WriteAllTo(dir + "/main.img", image.unit);
  }

  std::string golden_, refused_;
  NodeKeys maker_;
  Image good_;
  Manifest manifest_;
  Head head_;
  std::unique_ptr<FrameCipher> cipher_;
  std::vector<uint8_t> table_;
};

int Make(const std::string& golden) {
  std::string format = fmt::format("{}/format-{}", golden, kFormatVersion);
  if (fs::exists(format)) {
    std::fprintf(stderr, "%s is there; a golden image is never made anew\n", format.c_str());
    return 1;
  }
  Must(InitCrypto());
  for (const char* name : {"maker", "reader", "stranger"}) (void)Keys(golden, name);
  MakeGood(golden, format);
  Forger forger(golden, format + "/refused");
  forger.Changed();
  forger.Manifests();
  forger.Heads();
  forger.Tables();
  return 0;
}

}  // namespace
}  // namespace ckptfs

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s tests/golden\n", argv[0]);
    return 2;
  }
  return ckptfs::Make(argv[1]);
}
