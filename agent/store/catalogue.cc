#include "agent/store/catalogue.h"

#include <lmdb.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "agent/store/encoding.h"

namespace ckptfs {
namespace {

constexpr uint32_t kSchema = 1;
constexpr size_t kFirstMapBytes = 16 << 20;

Error FromLmdb(int code, std::string_view what) {
  if (code == MDB_MAP_FULL) return Fail(Errc::kNoSpace, "catalogue: {}: no room", what);
  if (code > 0) {
    Error error = Error::FromErrno(code, "catalogue: {}", what);
    if (error.code() != Errc::kNoSpace && error.code() != Errc::kQuota) return error;
    return error.WithRemedy("make room on the file system of the store");
  }
  return Fail(Errc::kCorrupt, "catalogue: {}: {}", what, mdb_strerror(code))
      .WithRemedy("end the daemon and run 'ckptfs fsck --rebuild'");
}

MDB_val Value(Bytes bytes) { return {bytes.size(), const_cast<uint8_t*>(bytes.data())}; }

Bytes BytesOf(const MDB_val& value) {
  return {static_cast<const uint8_t*>(value.mv_data), value.mv_size};
}

// LMDB reads through a mapping, and past the end of a file that was cut short that
// is a SIGBUS. Zeros there are an error that it can say.
void ExtendTorn(const std::string& path) {
  struct stat there;
  if (::stat(path.c_str(), &there) == 0 && there.st_size > 0 &&
      there.st_size < static_cast<off_t>(kFirstMapBytes))
    (void)!::truncate(path.c_str(), kFirstMapBytes);
}

}  // namespace

// Aborts unless committed.
class Catalogue::Transaction {
 public:
  Transaction(MDB_env* env, unsigned flags) { code_ = mdb_txn_begin(env, nullptr, flags, &txn_); }
  ~Transaction() {
    if (txn_ != nullptr) mdb_txn_abort(txn_);
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  // Each keeps the first failure.
  void Put(MDB_dbi db, Bytes key, Bytes value) {
    MDB_val k = Value(key), v = Value(value);
    if (code_ == 0) code_ = mdb_put(txn_, db, &k, &v, 0);
  }
  void Delete(MDB_dbi db, Bytes key) {
    MDB_val k = Value(key);
    if (code_ != 0) return;
    int deleted = mdb_del(txn_, db, &k, nullptr);
    if (deleted != MDB_NOTFOUND) code_ = deleted;
  }
  MDB_dbi OpenDb(const char* name) {
    MDB_dbi db = 0;
    if (code_ == 0) code_ = mdb_dbi_open(txn_, name, MDB_CREATE, &db);
    return db;
  }
  void ForEach(MDB_dbi db, const std::function<void(Bytes key, Bytes value)>& visit) {
    MDB_cursor* cursor = nullptr;
    if (code_ == 0) code_ = mdb_cursor_open(txn_, db, &cursor);
    if (code_ != 0) return;
    MDB_val key, value;
    int got = 0;
    while ((got = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
      visit(BytesOf(key), BytesOf(value));
    if (got != MDB_NOTFOUND) code_ = got;
    mdb_cursor_close(cursor);
  }
  int Commit() {
    if (code_ == 0) code_ = mdb_txn_commit(std::exchange(txn_, nullptr));
    return code_;
  }
  int code() const { return code_; }

 private:
  MDB_txn* txn_ = nullptr;
  int code_ = 0;
};

Result<std::unique_ptr<Catalogue>> Catalogue::Open(const Disk& disk, const std::string& path) {
  MDB_env* env = nullptr;
  if (int code = mdb_env_create(&env); code != 0) return FromLmdb(code, "open");
  std::unique_ptr<Catalogue> catalogue(new Catalogue(disk, env));
  mdb_env_set_maxdbs(env, 8);
  ExtendTorn(path + "/data.mdb");
  mdb_env_set_mapsize(env, kFirstMapBytes);
  // One process and one thread at a time use it, under the store's lock.
  if (int code = mdb_env_open(env, path.c_str(), MDB_NOTLS | MDB_NOLOCK, 0600); code != 0)
    return FromLmdb(code, "open " + path);
  // A map smaller than what is there already is set to that by LMDB itself.
  auto made = catalogue->Commit("make tables", [&](Transaction& txn) {
    catalogue->versions_db_ = txn.OpenDb("versions");
    catalogue->jobs_db_ = txn.OpenDb("jobs");
    catalogue->digests_db_ = txn.OpenDb("digests");
    catalogue->containers_db_ = txn.OpenDb("containers");
    catalogue->records_db_ = txn.OpenDb("records");
    catalogue->meta_db_ = txn.OpenDb("meta");
  });
  if (!made) return made.error();
  if (auto loaded = catalogue->Load(); !loaded) return loaded.error();
  return catalogue;
}

Catalogue::~Catalogue() { mdb_env_close(env_); }

Result<void> Catalogue::Load() {
  Transaction txn(env_, MDB_RDONLY);
  auto contents = contents_.Lock();
  bool good = true;
  std::optional<uint32_t> schema;
  txn.ForEach(meta_db_, [&](Bytes, Bytes value) { schema = ByteReader(value).U32(); });
  is_new_ = !schema;
  if (schema && *schema != kSchema)
    return Fail(Errc::kUnsupported, "the catalogue is of format {}, this program knows {}", *schema,
                kSchema)
        .WithRemedy("use a newer ckptfs");
  txn.ForEach(jobs_db_, [&](Bytes key, Bytes value) {
    ByteReader in(value);
    JobRecord& job = contents->jobs[std::string(AsText(key))];
    job.job_id = in.Array<16>();
    job.highest_version = in.U64();
    good &= in.Done();
  });
  txn.ForEach(versions_db_, [&](Bytes key, Bytes value) {
    Bytes job;
    uint64_t version = 0;
    VersionRecord record;
    good = good && DecodeVersionKey(key, &job, &version) && Decode(value, &record);
    if (good) contents->jobs[std::string(AsText(job))].versions[version] = std::move(record);
  });
  txn.ForEach(digests_db_, [&](Bytes key, Bytes value) {
    Bytes job;
    std::pair<JobId, uint64_t> id;
    good = good && DecodeVersionKey(key, &job, &id.second) && job.size() == id.first.size() &&
           value.size() == sizeof(Digest);
    if (!good) return;
    std::copy(job.begin(), job.end(), id.first.begin());
    std::copy(value.begin(), value.end(), contents->digests[id].begin());
  });
  txn.ForEach(containers_db_, [&](Bytes key, Bytes value) {
    ByteReader in(value);
    ContainerId id = ByteReader(key).Array<16>();
    if (uint64_t dead = in.U64(); dead > 0) contents->dead_bytes[id] = dead;
    if (in.U8() != 0) contents->unclaimed.insert(id);
    good &= in.Done();
  });
  txn.ForEach(records_db_, [&](Bytes key, Bytes value) {
    contents->records[std::string(AsText(key))] = std::string(AsText(value));
  });
  if (txn.code() != 0) return FromLmdb(txn.code(), "read");
  if (!good)
    return Fail(Errc::kCorrupt, "the catalogue cannot be understood")
        .WithRemedy("end the daemon and run 'ckptfs fsck --rebuild'");
  return {};
}

template <typename Change>
Result<void> Catalogue::Commit(const std::string& what, Change change) {
  if (auto go = disk_.Before(DiskStep::kTransaction, "catalogue"); !go) return go;
  for (;;) {
    int code;
    {
      Transaction txn(env_, 0);
      if (txn.code() == 0) change(txn);
      code = txn.Commit();
    }
    if (code == 0) return {};
    if (code == MDB_MAP_FULL) {
      MDB_envinfo info;
      mdb_env_info(env_, &info);
      // No transaction is open: all run under the store's lock.
      code = mdb_env_set_mapsize(env_, info.me_mapsize * 2);
      if (code == 0) continue;
    }
    return FromLmdb(code, what);
  }
}

Result<void> Catalogue::SetComplete() {
  ByteWriter schema;
  schema.U32(kSchema);
  auto done = Commit(
      "complete", [&](Transaction& txn) { txn.Put(meta_db_, AsBytes("schema"), schema.bytes()); });
  if (done) is_new_ = false;
  return done;
}

std::optional<VersionRecord> Catalogue::Find(const std::string& job, uint64_t version) const {
  auto contents = contents_.Lock();
  auto found = contents->jobs.find(job);
  if (found == contents->jobs.end()) return std::nullopt;
  auto record = found->second.versions.find(version);
  if (record == found->second.versions.end()) return std::nullopt;
  return record->second;
}

std::optional<Digest> Catalogue::EverCommitted(const JobId& job_id, uint64_t version) const {
  auto contents = contents_.Lock();
  auto found = contents->digests.find({job_id, version});
  if (found == contents->digests.end()) return std::nullopt;
  return found->second;
}

Result<void> Catalogue::PutVersion(const std::string& job, uint64_t version,
                                   const VersionRecord& record) {
  std::lock_guard writing(writing_);
  uint64_t highest = version;
  {
    auto contents = contents_.Lock();
    if (auto known = contents->jobs.find(job); known != contents->jobs.end())
      highest = std::max(version, known->second.highest_version);
  }
  auto done = Commit("add a version", [&](Transaction& txn) {
    txn.Put(versions_db_, EncodeVersionKey(AsBytes(job), version), Encode(record));
    txn.Put(jobs_db_, AsBytes(job), EncodeJob(record.job_id, highest));
    txn.Put(digests_db_, EncodeVersionKey(record.job_id, version), record.manifest_digest);
  });
  if (!done) return done;
  auto contents = contents_.Lock();
  JobRecord& changed = contents->jobs[job];
  changed.job_id = record.job_id;
  changed.highest_version = highest;
  changed.versions[version] = record;
  contents->digests[{record.job_id, version}] = record.manifest_digest;
  return {};
}

Result<void> Catalogue::DeleteVersion(const std::string& job, uint64_t version) {
  std::lock_guard writing(writing_);
  auto record = Find(job, version);
  if (!record) return Fail(Errc::kNotFound, "job {} has no version {}", job, version);
  std::map<ContainerId, uint64_t> containers;  // and what is dead in them already
  {
    auto contents = contents_.Lock();
    for (const ContainerId& id : record->containers()) {
      auto dead = contents->dead_bytes.find(id);
      containers[id] = dead == contents->dead_bytes.end() ? 0 : dead->second;
    }
  }
  auto done = Commit("delete a version", [&](Transaction& txn) {
    txn.Delete(versions_db_, EncodeVersionKey(AsBytes(job), version));
    for (const auto& [id, dead_bytes] : containers)
      txn.Put(containers_db_, id, EncodeContainer(dead_bytes, true));
  });
  if (!done) return done;
  auto contents = contents_.Lock();
  contents->jobs[job].versions.erase(version);
  for (const auto& [id, dead_bytes] : containers) contents->unclaimed.insert(id);
  return {};
}

Result<void> Catalogue::NoteVersionNumber(const std::string& job, uint64_t version) {
  std::lock_guard writing(writing_);
  JobId job_id{};
  {
    auto contents = contents_.Lock();
    auto known = contents->jobs.find(job);
    if (known != contents->jobs.end()) {
      if (known->second.highest_version >= version) return {};
      job_id = known->second.job_id;
    }
  }
  auto done = Commit("note a version's number", [&](Transaction& txn) {
    txn.Put(jobs_db_, AsBytes(job), EncodeJob(job_id, version));
  });
  if (done) contents_.Lock()->jobs[job].highest_version = version;
  return done;
}

Result<void> Catalogue::Claimed(const ContainerId& container, uint64_t dead_bytes) {
  std::lock_guard writing(writing_);
  auto done = Commit("note a pack's dead bytes", [&](Transaction& txn) {
    if (dead_bytes == 0)
      txn.Delete(containers_db_, container);
    else
      txn.Put(containers_db_, container, EncodeContainer(dead_bytes, false));
  });
  if (!done) return done;
  auto contents = contents_.Lock();
  contents->unclaimed.erase(container);
  if (dead_bytes == 0)
    contents->dead_bytes.erase(container);
  else
    contents->dead_bytes[container] = dead_bytes;
  return {};
}

Result<void> Catalogue::PutRecord(const std::string& key, std::string_view value) {
  std::lock_guard writing(writing_);
  auto done = Commit("keep a record",
                     [&](Transaction& txn) { txn.Put(records_db_, AsBytes(key), AsBytes(value)); });
  if (done) contents_.Lock()->records[key] = value;
  return done;
}

Result<bool> Catalogue::DeleteRecord(const std::string& key) {
  std::lock_guard writing(writing_);
  if (!contents_.Lock()->records.contains(key)) return false;
  auto done =
      Commit("drop a record", [&](Transaction& txn) { txn.Delete(records_db_, AsBytes(key)); });
  if (!done) return done.error();
  contents_.Lock()->records.erase(key);
  return true;
}

}  // namespace ckptfs
