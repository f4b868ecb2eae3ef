// The store: versions of jobs' images, sealed, signed and catalogued, in one
// folder of a local file system.
//
//   STORE/
//     lock                      held (flock) by the one daemon that uses the store
//     keys/                     self.key, self.pub, trusted/NAME.pub
//     catalogue/                LMDB; all of it about versions can be rebuilt from the rest
//     packs/PACKID.pack         frames of one unit of one version, and its head
//     images/JOB/N/             manifest, manifest.minisig (packs hold the rest)
//     incoming/JOB/N/           an image that is being copied in, file by file
//     events                    the event log
//
// docs/image_format.md has every byte. What an image looks like from outside,
// when copied out: manifest, manifest.minisig and for each unit UNIT.img, which
// is the unit's head followed by the frames it refers to, each exactly as it
// lies in some pack.
//
// Commit order: packs, fdatasync; manifest and signature, fsync, rename, fsync
// of the folder; one LMDB transaction. A crash before the last of these leaves
// files that nothing refers to; Open deletes them.
//
// Threads: Store is thread-safe. A VersionWriter and what it hands out belong to
// one operation; each UnitWriter to one thread at a time.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/log.h"
#include "base/result.h"
#include "crypto/keys.h"
#include "crypto/suite.h"
#include "kapi/checkpointer.h"
#include "kapi/image.h"

namespace ckptfs {

class DiskFaults;  // agent/store/disk.h

// 1 to 64 of [A-Za-z0-9._-], not starting with '.' or '-'. Jobs, units and nodes.
Result<void> CheckName(std::string_view name, std::string_view what);

struct StoreOptions {
  std::string dir;   // created with mode 0700 if it is not there
  std::string node;  // this node's name, for new keys and manifests
  std::function<Result<SecretBytes>()> ask_passphrase;  // may be empty: keys are not sealed
  bool seal_new_keys = false;                           // new keys get a passphrase
  std::optional<Suite> suite;                           // for new versions; unset: the fastest here
  DiskFaults* faults = nullptr;  // for tests: lets steps on the disk fail; borrowed
};

// What has been said about one version. Sizes in bytes.
struct UnitInfo {
  std::string name;
  std::string checkpointer;
  uint64_t image_bytes = 0;   // of UNIT.img
  uint64_t memory_bytes = 0;  // of the plain streams
  Needs needs;
};
struct VersionInfo {
  std::string job;
  std::string job_id;  // 32 hex digits: which job, whatever its name
  uint64_t version = 0;
  uint64_t parent = 0;  // 0: none
  std::string node;
  std::string suite;
  uint32_t owner_uid = 0, owner_gid = 0;
  std::string owner_name;
  int64_t created_unix_ms = 0;
  std::vector<UnitInfo> units;
  uint64_t written_bytes = 0;   // what it added to the store
  std::string manifest_digest;  // hex
  std::string signer;           // key id of the signer
  bool imported = false;        // copied in, not made here
};

// A version that has been begun. Destroyed without Commit: gone, space and all.
class VersionWriter {
 public:
  struct UnitOptions {
    std::string name;
    std::string checkpointer;
    uint64_t buffer_bytes = 0;     // memory that may run ahead of the disk (policy `buffer`)
    bool compress = false;         // zstd where it pays
    Progress* progress = nullptr;  // borrowed until Finish or destruction
  };
  // Where one unit's image goes. Streams carry on while frames are sealed and
  // written behind them; with buffer_bytes the streams run ahead of the disk.
  class UnitWriter : public ImageSink {
   public:
    // After the last stream has ended; gives what the manifest says about needs.
    // Waits until every frame and the head are written and fdatasync'ed.
    virtual Result<void> Finish(const Needs& needs) = 0;
    virtual uint64_t written_bytes() const = 0;
  };

  virtual ~VersionWriter() = default;
  virtual uint64_t version() const = 0;
  virtual Result<std::unique_ptr<UnitWriter>> AddUnit(const UnitOptions& options) = 0;
  // All units are finished. On success the version exists, durably, and is
  // `latest`. On failure nothing of it does.
  virtual Result<VersionInfo> Commit() = 0;
};

// A version opened for a restart: signature, trust, owner's claim, recipient,
// root hashes and sizes have been verified; frames are as they are read.
class VersionReader {
 public:
  virtual ~VersionReader() = default;
  virtual const VersionInfo& info() const = 0;
  // Streams count what they give into `progress`, which is borrowed until the source ends.
  virtual Result<std::unique_ptr<ImageSource>> OpenUnit(std::string_view unit,
                                                        Progress* progress) = 0;
};

// One file of an image as seen from outside, for copying out.
class ImageFile {
 public:
  virtual ~ImageFile() = default;
  virtual uint64_t size_bytes() const = 0;
  // A run of bytes that lies in one piece in a file of the store, at most
  // `limit_bytes` of it from `offset` on; `fd` is borrowed while this lives.
  struct Piece {
    int fd;
    uint64_t offset;
    uint64_t size_bytes;
  };
  virtual Result<Piece> At(uint64_t offset, uint64_t limit_bytes) const = 0;
};

// An image that is being copied in.
struct IncomingFile {
  std::string name;
  uint64_t size_bytes = 0;
};
enum class IncomingState { kPartial, kComplete, kBad };
struct IncomingInfo {
  std::string job;
  uint64_t version = 0;
  IncomingState state = IncomingState::kPartial;
  std::string words;  // what is missing, or what is wrong: "signer 1A2B… is not trusted"
  std::optional<Errc> refused;  // why a restart of it is refused, with kBad
  std::vector<IncomingFile> files;
};

struct StoreUse {
  uint64_t bytes = 0;       // of packs, incoming and manifests
  uint64_t dead_bytes = 0;  // in packs, referred to by no version
  uint64_t free_bytes = 0;  // of the file system
  uint64_t versions = 0;
};

class Store {
 public:
  // Takes the lock (kBusy: another daemon has it, and who), makes or loads keys,
  // deletes what a crash left behind, opens the catalogue (rebuilding it if lost).
  static Result<std::unique_ptr<Store>> Open(StoreOptions options, const Log& log);
  virtual ~Store() = default;

  virtual const PublicKey& public_key() const = 0;
  virtual Suite suite() const = 0;

  // --- trust: keys/trusted/NAME.pub
  virtual std::vector<std::pair<std::string, PublicKey>> TrustedKeys() const = 0;
  virtual Result<void> Trust(std::string_view name, std::string_view key_file) = 0;
  virtual Result<void> Distrust(std::string_view name) = 0;

  // --- versions
  struct BeginOptions {
    std::string job;
    uint32_t owner_uid = 0, owner_gid = 0;
    std::string owner_name;
    bool full = false;             // refer to no parent
    double full_above_dead = 0.5;  // full on its own when more of what it refers to is dead
  };
  // The next number is one more than the highest that this job ever had here,
  // deleted and incoming ones counted: a number is never used twice.
  virtual Result<std::unique_ptr<VersionWriter>> Begin(const BeginOptions& options) = 0;
  virtual std::vector<std::string> Jobs() const = 0;  // that have versions or incoming ones
  virtual std::vector<uint64_t> Versions(std::string_view job) const = 0;  // ascending
  virtual std::optional<uint64_t> Latest(std::string_view job) const = 0;
  virtual Result<VersionInfo> Info(std::string_view job, uint64_t version) const = 0;
  // Errors: kNotFound, kUntrusted, kCorrupt, kReplayed, each naming what and where.
  virtual Result<std::unique_ptr<VersionReader>> OpenVersion(std::string_view job,
                                                             uint64_t version) = 0;
  // Durable when it returns; packs that no version refers to any more go, dead
  // frames of the others are given back to the file system when they are many.
  virtual Result<void> Delete(std::string_view job, uint64_t version) = 0;

  // --- images as files: "manifest", "manifest.minisig", "UNIT.img"
  virtual Result<std::vector<IncomingFile>> Files(std::string_view job, uint64_t version) const = 0;
  virtual Result<std::unique_ptr<ImageFile>> OpenFile(std::string_view job, uint64_t version,
                                                      std::string_view name) const = 0;

  // --- copying in. Names and the number of files are bounded, sizes are not.
  // A version number that exists is kExists. Every call is idempotent.
  virtual Result<void> MakeIncoming(std::string_view job, uint64_t version) = 0;
  // A file to write, at any offsets and in any order. Temporary names of rsync
  // (".main.img.Ab12") are taken too.
  virtual Result<Fd> OpenIncoming(std::string_view job, uint64_t version, std::string_view name,
                                  int flags) = 0;
  virtual Result<void> RenameIncoming(std::string_view job, uint64_t version, std::string_view from,
                                      std::string_view to) = 0;
  virtual Result<void> RemoveIncomingFile(std::string_view job, uint64_t version,
                                          std::string_view name) = 0;
  virtual Result<void> RemoveIncoming(std::string_view job, uint64_t version) = 0;
  virtual Result<IncomingInfo> Incoming(std::string_view job, uint64_t version) const = 0;
  virtual std::vector<uint64_t> IncomingVersions(std::string_view job) const = 0;
  // When every byte is there: verifies all and makes it a version of this store
  // (its files become packs, nothing is copied). Blocks. kBusy while files are
  // open for writing or missing. Called when a file is closed, at a restart, and at Open.
  virtual Result<VersionInfo> Admit(std::string_view job, uint64_t version) = 0;

  // --- small durable records of the agent (jobs, policies), by key; value <= 64 KiB.
  virtual Result<void> PutRecord(std::string_view key, std::string_view value) = 0;
  // Whether there was one.
  virtual Result<bool> DeleteRecord(std::string_view key) = 0;
  virtual std::map<std::string, std::string> Records(std::string_view prefix) const = 0;

  virtual Result<StoreUse> Use() const = 0;
};

// --- without a daemon
// `ckptfs verify`: every byte of a copied image directory against its manifest,
// and the manifest against `key` (unset: the signature is not checked, only the hashes,
// and it says so). Reads no secret. `say` gets one line a finding.
Result<VersionInfo> VerifyImageDir(const std::string& dir, const std::optional<PublicKey>& key,
                                   const std::function<void(std::string)>& say);
// `ckptfs extract`: every stream of every unit into OUT/UNIT/NAME (mode 0600).
Result<void> ExtractImageDir(const std::string& dir, const NodeKeys& keys,
                             const std::vector<PublicKey>& trusted, const std::string& out);
// `ckptfs fsck`: all of a store that no daemon uses. Findings through `say`;
// false when something is wrong. With `rebuild` the catalogue is made anew.
Result<bool> CheckStore(const StoreOptions& options, bool rebuild,
                        const std::function<void(std::string)>& say);

}  // namespace ckptfs
