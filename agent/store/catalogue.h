// The catalogue: which versions there are, in LMDB. A version exists from the
// transaction that puts it here to the one that takes it out.
//
// All of it is read into memory once, at Open; LMDB makes changes durable and
// whole. What is here about versions can be made anew from packs and manifests;
// the agent's records and the memory of deleted versions cannot.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/store/catalogue_record.h"
#include "agent/store/disk.h"
#include "base/guarded.h"

struct MDB_env;

namespace ckptfs {

struct JobRecord {
  JobId job_id{};
  uint64_t highest_version = 0;  // that ever was, deleted ones counted
  std::map<uint64_t, VersionRecord> versions;
};

// Thread-safe. A change holds `writing_` over its transaction and the lock of the
// contents only to bring them up to date, so that reading never waits for a disk.
class Catalogue {
 public:
  struct Contents {
    std::map<std::string, JobRecord> jobs;
    // Of the manifest that was ever committed or admitted as this version of this job.
    std::map<std::pair<JobId, uint64_t>, Digest> digests;
    // Bytes in a container that no version refers to but that still take room.
    std::map<ContainerId, uint64_t> dead_bytes;
    // Containers from which dead bytes are yet to be taken.
    std::set<ContainerId> unclaimed;
    std::map<std::string, std::string> records;
  };

  // Opens or makes the catalogue in the folder `path`, which exists.
  // Errors: kCorrupt when it cannot be understood; then it has to be made anew.
  static Result<std::unique_ptr<Catalogue>> Open(const Disk& disk, const std::string& path);
  ~Catalogue();

  // Made by this Open: what the store holds is not in it yet.
  bool is_new() const { return is_new_; }
  // Everything that the store holds is in it.
  Result<void> SetComplete();

  // Locked: hold it shortly.
  Guarded<Contents>::Locked Read() const { return contents_.Lock(); }
  std::optional<VersionRecord> Find(const std::string& job, uint64_t version) const;
  std::optional<Digest> EverCommitted(const JobId& job_id, uint64_t version) const;

  // Each is one durable transaction: on failure nothing has changed.
  Result<void> PutVersion(const std::string& job, uint64_t version, const VersionRecord& record);
  // Also notes its containers as unclaimed. kNotFound if there is none.
  Result<void> DeleteVersion(const std::string& job, uint64_t version);
  // A number that may not be given to a new version.
  Result<void> NoteVersionNumber(const std::string& job, uint64_t version);
  Result<void> Claimed(const ContainerId& container, uint64_t dead_bytes);
  Result<void> PutRecord(const std::string& key, std::string_view value);
  // Whether there was one.
  Result<bool> DeleteRecord(const std::string& key);

 private:
  class Transaction;
  Catalogue(const Disk& disk, MDB_env* env) : disk_(disk), env_(env) {}
  Result<void> Load();
  // Runs `change` in a transaction, again with a larger map when it was full.
  template <typename Change>
  Result<void> Commit(const std::string& what, Change change);

  const Disk& disk_;
  MDB_env* env_;
  unsigned int versions_db_ = 0, jobs_db_ = 0, digests_db_ = 0, containers_db_ = 0, records_db_ = 0,
               meta_db_ = 0;
  bool is_new_ = false;
  std::mutex writing_;  // before the lock of contents_
  Guarded<Contents> contents_;
};

}  // namespace ckptfs
