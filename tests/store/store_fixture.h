// What the store's tests share: a store in a folder of its own, versions made of
// named strings, and looks into what lies on the disk.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "agent/store/disk.h"
#include "agent/store/store.h"

namespace ckptfs {

// Removed with all below it.
class TempDir {
 public:
  explicit TempDir(const std::string& below = "/tmp");
  ~TempDir();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

using Streams = std::map<std::string, std::string>;

// Bytes that do not compress and never come again for another seed.
std::string RandomBytes(size_t size_bytes, uint64_t seed);
// `pages` of the 4 KiB pages of `bytes` get other bytes.
void ChangePages(std::string* bytes, size_t pages, uint64_t seed);

std::unique_ptr<Store> OpenStore(const std::string& dir, const std::string& node = "here",
                                 std::optional<Suite> suite = std::nullopt,
                                 DiskFaults* faults = nullptr);
// The same with the keys (self.key and self.pub) of the folder `keys`.
std::unique_ptr<Store> OpenStoreWithKeys(const std::string& dir, const std::string& keys,
                                         const std::string& node,
                                         std::optional<Suite> suite = std::nullopt);
// The keys in a folder of the source tree, where others can read them.
Result<NodeKeys> LoadTestKeys(const std::string& dir);

struct SaveOptions {
  std::string job = "sim";
  std::string unit = "main";
  bool full = false;
  bool compress = false;
  uint64_t buffer_bytes = 0;
  double full_above_dead = 0.5;
};
// One version with one unit. Alternates between Append and ReadFrom.
Result<VersionInfo> TrySave(Store& store, const Streams& streams, const SaveOptions& options = {});
VersionInfo Save(Store& store, const Streams& streams, const SaveOptions& options = {});
// All streams of a unit, each frame verified.
Result<Streams> TryLoad(Store& store, const std::string& job, uint64_t version,
                        const std::string& unit = "main");
void ExpectLoads(Store& store, uint64_t version, const Streams& streams,
                 const std::string& job = "sim", const std::string& unit = "main");

// cp -a images/JOB/N TO, as the mount does it.
void CopyOut(const Store& store, const std::string& job, uint64_t version, const std::string& to);
// The files of the folder `from` into the store's incoming image.
void CopyIn(Store& store, const std::string& job, uint64_t version, const std::string& from);
// Each trusts the other and can read what it makes.
void TrustEachOther(Store& a, Store& b);

std::string ReadAll(const std::string& path);
void WriteAllTo(const std::string& path, const std::string& bytes);
std::vector<std::string> FilesBelow(const std::string& dir);  // sorted paths
size_t PackCount(const std::string& store_dir);

// Fails (or kills at) the Nth step, counting from 1.
class FailAt : public DiskFaults {
 public:
  enum class How { kErrno, kExit };
  FailAt(int step, How how, int error_number = 0)
      : step_(step), how_(how), error_number_(error_number) {}
  int Before(DiskStep step, const std::string& what) override;
  bool reached() const { return seen_ >= step_; }

 private:
  std::atomic<int> seen_{0};
  const int step_;
  const How how_;
  const int error_number_;
};

}  // namespace ckptfs
