#include "tests/store/store_fixture.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "base/fd.h"

namespace ckptfs {

namespace fs = std::filesystem;

TempDir::TempDir(const std::string& below) : path_(below + "/ckptfs-store-XXXXXX") {
  if (::mkdtemp(path_.data()) == nullptr) std::abort();
}

TempDir::~TempDir() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string RandomBytes(size_t size_bytes, uint64_t seed) {
  std::string bytes((size_bytes + 7) / 8 * 8, '\0');
  std::mt19937_64 random(seed);
  for (size_t i = 0; i < bytes.size(); i += 8) {
    uint64_t word = random();
    std::memcpy(bytes.data() + i, &word, 8);
  }
  bytes.resize(size_bytes);
  return bytes;
}

void ChangePages(std::string* bytes, size_t pages, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (size_t i = 0; i < pages; ++i) {
    uint64_t word = random();
    size_t page = random() % (bytes->size() / kPageBytes);
    std::memcpy(bytes->data() + page * kPageBytes + 8 * (random() % 512), &word, 8);
  }
}

std::unique_ptr<Store> OpenStore(const std::string& dir, const std::string& node,
                                 std::optional<Suite> suite, DiskFaults* faults) {
  StoreOptions options;
  options.dir = dir;
  options.node = node;
  options.suite = suite;
  options.faults = faults;
  auto store = Store::Open(options, Log(2, Log::Level::kError));
  EXPECT_TRUE(store) << store.error().Text();
  return store ? std::move(*store) : nullptr;
}

namespace {

void CopyKeys(const std::string& from, const std::string& to) {
  fs::create_directories(to);
  fs::permissions(to, fs::perms::owner_all);
  for (const char* name : {"/self.key", "/self.pub"}) WriteAllTo(to + name, ReadAll(from + name));
  fs::permissions(to + "/self.key", fs::perms::owner_read | fs::perms::owner_write);
}

}  // namespace

std::unique_ptr<Store> OpenStoreWithKeys(const std::string& dir, const std::string& keys,
                                         const std::string& node, std::optional<Suite> suite) {
  fs::create_directories(dir);
  fs::permissions(dir, fs::perms::owner_all);
  CopyKeys(keys, dir + "/keys");
  return OpenStore(dir, node, suite);
}

Result<NodeKeys> LoadTestKeys(const std::string& dir) {
  TempDir copy;
  CopyKeys(dir, copy.path());
  auto fd = Open(copy.path(), O_RDONLY | O_DIRECTORY);
  if (!fd) return fd.error();
  return NodeKeys::Load(fd->get(), [] {
    return Result<SecretBytes>(Fail(Errc::kAccess, "a test's keys have no passphrase"));
  });
}

namespace {

// Through a pipe, as checkpointers do, in pieces of odd sizes.
Result<void> SendThroughPipe(ImageSink::Stream& stream, const std::string& bytes) {
  auto pipe = MakePipe();
  if (!pipe) return pipe.error();
  ::fcntl(pipe->first.get(), F_SETFL, O_NONBLOCK);
  std::thread sender([&bytes, to = std::move(pipe->second)] {
    size_t piece = 1;
    for (size_t at = 0; at < bytes.size(); at += piece, piece = piece * 7 % 65521 + 1) {
      piece = std::min(piece, bytes.size() - at);
      if (!WriteAll(to.get(), AsBytes(std::string_view(bytes).substr(at, piece)))) return;
    }
  });
  Result<void> result;
  for (;;) {
    auto read = stream.ReadFrom(pipe->first.get());
    if (!read) {
      result = read.error();
      break;
    }
    if (*read == ImageSink::Read::kEnd) break;
    if (*read == ImageSink::Read::kWouldBlock) std::this_thread::yield();
  }
  pipe->first.Reset();
  sender.join();
  return result;
}

}  // namespace

Result<VersionInfo> TrySave(Store& store, const Streams& streams, const SaveOptions& options) {
  auto version = store.Begin({.job = options.job,
                              .owner_uid = 1000,
                              .owner_gid = 1000,
                              .owner_name = "ada",
                              .full = options.full,
                              .full_above_dead = options.full_above_dead});
  if (!version) return version.error();
  auto unit = (*version)->AddUnit({.name = options.unit,
                                   .checkpointer = "criu",
                                   .buffer_bytes = options.buffer_bytes,
                                   .compress = options.compress});
  if (!unit) return unit.error();
  bool by_pipe = false;
  for (const auto& [name, bytes] : streams) {
    auto stream = (*unit)->Open(name);
    if (!stream) return stream.error();
    auto sent = by_pipe ? SendThroughPipe(**stream, bytes) : (*stream)->Append(AsBytes(bytes));
    if (sent) sent = (*stream)->End();
    if (!sent) return sent.error();
    by_pipe = !by_pipe;
  }
  Needs needs{.arch = "x86_64", .kernel = "6.1", .cpu_features = {"avx"}, .build_ids = {"ab12"}};
  if (auto finished = (*unit)->Finish(needs); !finished) return finished.error();
  return (*version)->Commit();
}

VersionInfo Save(Store& store, const Streams& streams, const SaveOptions& options) {
  auto info = TrySave(store, streams, options);
  EXPECT_TRUE(info) << info.error().Text();
  return info ? *info : VersionInfo{};
}

Result<Streams> TryLoad(Store& store, const std::string& job, uint64_t version,
                        const std::string& unit) {
  auto reader = store.OpenVersion(job, version);
  if (!reader) return reader.error();
  auto source = (*reader)->OpenUnit(unit, nullptr);
  if (!source) return source.error();
  Streams streams;
  for (const std::string& name : (*source)->Names()) {
    auto stream = (*source)->Open(name);
    if (!stream) return stream.error();
    std::string bytes((*stream)->size_bytes(), '\0');
    auto read = (*stream)->Read({reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
    if (!read) return read.error();
    bytes.resize(*read);
    streams[name] = std::move(bytes);
  }
  if (auto verified = (*source)->VerifyRest(); !verified) return verified.error();
  return streams;
}

void ExpectLoads(Store& store, uint64_t version, const Streams& streams, const std::string& job,
                 const std::string& unit) {
  auto loaded = TryLoad(store, job, version, unit);
  ASSERT_TRUE(loaded) << loaded.error().Text();
  // Not EXPECT_EQ: nobody reads megabytes of difference.
  EXPECT_TRUE(*loaded == streams) << job << " version " << version << " is not as it was saved";
}

void CopyOut(const Store& store, const std::string& job, uint64_t version, const std::string& to) {
  fs::create_directories(to);
  auto files = store.Files(job, version);
  ASSERT_TRUE(files) << files.error().Text();
  for (const IncomingFile& file : *files) {
    auto open = store.OpenFile(job, version, file.name);
    ASSERT_TRUE(open) << open.error().Text();
    EXPECT_EQ((*open)->size_bytes(), file.size_bytes);
    std::string bytes;
    while (bytes.size() < file.size_bytes) {
      auto piece = (*open)->At(bytes.size(), 1 << 20);
      ASSERT_TRUE(piece && piece->size_bytes > 0);
      std::vector<uint8_t> part(piece->size_bytes);
      ASSERT_TRUE(ReadExactly(piece->fd, part, static_cast<off_t>(piece->offset)));
      bytes.append(part.begin(), part.end());
    }
    WriteAllTo(to + "/" + file.name, bytes);
  }
}

void CopyIn(Store& store, const std::string& job, uint64_t version, const std::string& from) {
  auto made = store.MakeIncoming(job, version);
  ASSERT_TRUE(made) << made.error().Text();
  for (const std::string& path : FilesBelow(from)) {
    auto fd = store.OpenIncoming(job, version, fs::path(path).filename().string(),
                                 O_WRONLY | O_CREAT | O_TRUNC);
    ASSERT_TRUE(fd) << fd.error().Text();
    ASSERT_TRUE(WriteAll(fd->get(), AsBytes(ReadAll(path))));
  }
}

void TrustEachOther(Store& a, Store& b) {
  ASSERT_TRUE(a.Trust("other", b.public_key().Format()));
  ASSERT_TRUE(b.Trust("other", a.public_key().Format()));
}

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void WriteAllTo(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

std::vector<std::string> FilesBelow(const std::string& dir) {
  std::vector<std::string> paths;
  for (const auto& entry : fs::recursive_directory_iterator(dir))
    if (entry.is_regular_file()) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

size_t PackCount(const std::string& store_dir) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(store_dir + "/packs"), {}));
}

int FailAt::Before(DiskStep, const std::string&) {
  if (++seen_ != step_) return 0;
  if (how_ == How::kExit) ::_exit(42);
  return error_number_;
}

}  // namespace ckptfs
