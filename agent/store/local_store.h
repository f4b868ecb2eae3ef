// LocalStore: the Store in a folder of a local file system. Its parts: trust (keys),
// catalogue (which versions), packs (their bytes), version files (manifests).
// This file is long because the interface is; each .cc has one side of it:
//   local_store.cc  opening, keys, records, what there is
//   versions.cc     begin, open, delete
//   incoming.cc     copying in
//   recovery.cc     what a crash left behind; a catalogue made anew
//   reclaim.cc      giving dead space back
#pragma once

#include "agent/store/packs.h"
#include "agent/store/store.h"
#include "agent/store/version_files.h"

namespace ckptfs {

class LocalStore : public Store {
 public:
  static Result<std::unique_ptr<LocalStore>> Open(StoreOptions options, const Log& log,
                                                  bool rebuild);
  ~LocalStore() override;

  const PublicKey& public_key() const override { return trust_->own().public_key(); }
  Suite suite() const override { return suite_; }
  std::vector<std::pair<std::string, PublicKey>> TrustedKeys() const override;
  Result<void> Trust(std::string_view name, std::string_view key_file) override;
  Result<void> Distrust(std::string_view name) override;

  Result<std::unique_ptr<VersionWriter>> Begin(const BeginOptions& options) override;
  std::vector<std::string> Jobs() const override;
  std::vector<uint64_t> Versions(std::string_view job) const override;
  std::optional<uint64_t> Latest(std::string_view job) const override;
  Result<VersionInfo> Info(std::string_view job, uint64_t version) const override;
  Result<std::unique_ptr<VersionReader>> OpenVersion(std::string_view job,
                                                     uint64_t version) override;
  Result<void> Delete(std::string_view job, uint64_t version) override;

  Result<std::vector<IncomingFile>> Files(std::string_view job, uint64_t version) const override;
  Result<std::unique_ptr<ImageFile>> OpenFile(std::string_view job, uint64_t version,
                                              std::string_view name) const override;

  Result<void> MakeIncoming(std::string_view job, uint64_t version) override;
  Result<Fd> OpenIncoming(std::string_view job, uint64_t version, std::string_view name,
                          int flags) override;
  Result<void> RenameIncoming(std::string_view job, uint64_t version, std::string_view from,
                              std::string_view to) override;
  Result<void> RemoveIncomingFile(std::string_view job, uint64_t version,
                                  std::string_view name) override;
  Result<void> RemoveIncoming(std::string_view job, uint64_t version) override;
  Result<IncomingInfo> Incoming(std::string_view job, uint64_t version) const override;
  std::vector<uint64_t> IncomingVersions(std::string_view job) const override;
  Result<VersionInfo> Admit(std::string_view job, uint64_t version) override;

  Result<void> PutRecord(std::string_view key, std::string_view value) override;
  Result<bool> DeleteRecord(std::string_view key) override;
  std::map<std::string, std::string> Records(std::string_view prefix) const override;

  Result<StoreUse> Use() const override;

  // Verifies every byte of every version; one line a finding. False: something is wrong.
  bool VerifyAll(const std::function<void(std::string)>& say);
  // "job sim version 3" for each folder in images/ that could not be taken in.
  const std::vector<std::string>& UnlistedVersions() const { return unlisted_; }

 private:
  friend class VersionWriterImpl;
  using VersionId = std::pair<std::string, uint64_t>;

  // What changes in memory only.
  struct Changing {
    std::multimap<std::string, uint64_t> begun;  // numbers of versions being written
    // Images that are being verified. Changing one is allowed, and makes the
    // verification void; only the moment in which it is taken over is exclusive.
    struct Admission {
      bool disturbed = false;
      bool taking = false;
    };
    std::map<VersionId, Admission> admitting;
    std::map<VersionId, Error> refused;  // why the last Admit failed
  };

  LocalStore(StoreOptions options, const Log& log);
  Result<void> OpenFolders();
  Result<void> TakeLock();
  Result<void> OpenCatalogue(bool rebuild);

  // --- recovery.cc
  class Adopter;
  Result<void> Recover();
  // Folders of versions that the catalogue does not know: adopted or removed.
  // False: some could be neither.
  Result<bool> AdoptVersions();
  Result<void> RemoveUnknownPacks();
  void AdmitComplete();

  // --- reclaim.cc
  // Removes the container, or takes out of it what no version refers to; later, if
  // it is pinned. Failures are logged: the space is found again at the next Open.
  void Reclaim(const ContainerId& id);
  Result<void> ReclaimLocked(const ContainerId& id);
  // The parts of the container that versions refer to; nullopt: none does.
  using Ranges = std::vector<std::pair<uint64_t, uint64_t>>;
  Result<std::optional<Ranges>> LiveRanges(const ContainerId& id);
  Result<void> CopySparse(int from_fd, const std::string& name, const Ranges& live);

  // --- versions.cc
  Result<SignedManifest> ReadVersionFiles(const std::string& job, uint64_t version,
                                          const VersionRecord& record) const;
  FindKey find_key() const {
    return [this](const auto& key_id) { return trust_->Find(key_id); };
  }

  // --- incoming.cc
  // The folder, for whoever is about to change it: voids an Admit that runs. kBusy while
  // it becomes a version, kNotFound without the folder.
  Result<Fd> IncomingDir(std::string_view job, uint64_t version) const;
  Result<void> BeginTaking(const VersionId& id, int dir_fd);
  // The folder of an incoming image, whether it is being admitted or not.
  Result<void> RemoveAdmitted(std::string_view job, uint64_t version);
  Result<VersionInfo> AdmitVerified(const VersionId& id, int dir_fd);

  const StoreOptions options_;
  const Log log_;
  const Disk disk_;
  Suite suite_;
  mutable BufferPool pool_;
  Fd dir_, lock_, images_, incoming_;
  std::unique_ptr<ckptfs::Trust> trust_;
  std::unique_ptr<Catalogue> catalogue_;
  std::unique_ptr<Packs> packs_;
  std::vector<std::string> unlisted_;  // since Open
  // Locks, in order: the packs' change lock, this one, the catalogue's.
  Guarded<Changing> changing_;
  std::condition_variable admission_ended_;  // with changing_
};

}  // namespace ckptfs
