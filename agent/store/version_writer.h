// VersionWriterImpl: one version from Begin to Commit.
#pragma once

#include "agent/store/local_store.h"
#include "agent/store/unit_writer.h"

namespace ckptfs {

// The version that a new one refers to.
struct ParentVersion {
  Manifest manifest;
  VersionRecord record;
  std::shared_ptr<const Packs::Pins> pins;
};

class VersionWriterImpl : public VersionWriter {
 public:
  struct Start {
    Store::BeginOptions options;
    uint64_t version = 0;
    JobId job_id{};
    std::shared_ptr<const JobKeys> keys;
    std::vector<WrappedKey> data_keys;
    std::optional<ParentVersion> parent;
  };
  VersionWriterImpl(LocalStore& store, Start start)
      : store_(store), start_(std::move(start)), written_(std::make_shared<Written>()) {}
  ~VersionWriterImpl() override;

  uint64_t version() const override { return start_.version; }
  Result<std::unique_ptr<UnitWriter>> AddUnit(const UnitOptions& options) override;
  Result<VersionInfo> Commit() override;

 private:
  // Shared with the unit writers, which may be on other threads and outlive this.
  using Written = Guarded<std::vector<WrittenUnit>>;

  // nullopt: the unit refers to no parent, for one good reason or another.
  std::optional<ParentUnit> LoadParent(const std::string& unit);
  Manifest MakeManifest(const std::vector<WrittenUnit>& units) const;
  VersionRecord MakeRecord(const std::vector<WrittenUnit>& units, const Digest& digest) const;

  LocalStore& store_;
  Start start_;
  const std::shared_ptr<Written> written_;
  std::map<std::string, std::vector<PackId>> parent_packs_;  // by unit, as in its parent's head
  std::set<std::string> units_;
  bool committed_ = false;
};

}  // namespace ckptfs
