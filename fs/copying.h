// Copying: what the tree remembers of images that are being copied in or removed
// by hand. All of it is in memory: after a crash a version is whole again, and an
// incoming image is what the store has of it.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "agent/store/store.h"
#include "base/guarded.h"

namespace ckptfs {

// What a listing shows of a committed version, which never changes.
struct VersionFacts {
  uid_t uid = 0;
  gid_t gid = 0;
  int64_t created_unix_ms = 0;
  std::string digest;
};

// Thread-safe. Lock order: none of its locks is held over a call of the store.
class Copying {
 public:
  explicit Copying(const Store* store) : store_(store) {}

  // --- facts, so that a listing of thousands of versions does not ask the store
  // for each. kNotFound when there is no such version.
  Result<VersionFacts> CachedFacts(std::string_view job, uint64_t version);
  Result<VersionFacts> FreshFacts(std::string_view job, uint64_t version);

  // --- images/JOB without any version: made by mkdir, or left by rm -r
  struct Folder {
    uid_t uid = 0;
    gid_t gid = 0;
  };
  Result<void> AddFolder(std::string_view job, Folder folder);
  bool RemoveFolder(std::string_view job);
  std::optional<Folder> FindFolder(std::string_view job) const;
  std::vector<std::string> Folders(uid_t uid) const;  // of that user; all for root

  // --- `latest` as someone copied it in: it shows until a version takes its place.
  void ClaimLatest(std::string_view job, std::string_view target);
  std::optional<std::string> ClaimedLatest(std::string_view job) const;

  // --- rm -r of a version: each of its files is removed, then the folder. The
  // files only hide until then, for a minute at most: the version is whole.
  void Hide(std::string_view job, uint64_t version, std::string_view file);
  bool IsHidden(std::string_view job, uint64_t version, std::string_view file) const;
  void ForgetHidden(std::string_view job, uint64_t version);

  // --- who writes an incoming image: it is not checked before nobody does.
  void WriterCame(std::string_view job, uint64_t version);
  // True for the last one, unless a check is already on its way.
  bool WriterWent(std::string_view job, uint64_t version);
  // False when someone writes again: then whoever is last asks for another check.
  bool CheckBegins(std::string_view job, uint64_t version);

 private:
  using Clock = std::chrono::steady_clock;
  using Key = std::pair<std::string, uint64_t>;
  struct Hidden {
    std::set<std::string, std::less<>> files;
    Clock::time_point until;
  };
  struct Writers {
    size_t count = 0;
    bool check_queued = false;
  };
  struct Claim {
    std::string target;
    Clock::time_point until;
  };
  struct State {
    std::map<Key, VersionFacts> facts;
    std::map<std::string, Folder, std::less<>> folders;
    std::map<std::string, Claim, std::less<>> claims;
    std::map<Key, Hidden> hidden;
    std::map<Key, Writers> writers;
  };
  const Store* store_;
  Guarded<State> state_;
};

}  // namespace ckptfs
