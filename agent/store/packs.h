// Packs: the folder of containers, and who is using them. A container that is
// pinned is neither removed nor has frames taken out of it.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <shared_mutex>
#include <string>
#include <vector>

#include "agent/store/catalogue.h"
#include "agent/store/unit_image.h"

namespace ckptfs {

std::string ContainerName(const ContainerId& id);
// nullopt unless `name` is 32 hex digits and ".pack".
std::optional<ContainerId> ParseContainerName(std::string_view name);

// Thread-safe. Outlives its pins.
class Packs {
 public:
  // `released` is called, with no lock held, with each container whose last pin went.
  Packs(Fd dir, std::function<void(const ContainerId&)> released)
      : dir_(std::move(dir)), released_(std::move(released)) {}

  int dir_fd() const { return dir_.get(); }
  Result<std::shared_ptr<const ContainerFile>> Open(const ContainerId& id) const;
  OpenContainer opener() const {
    return [this](const ContainerId& id) { return Open(id); };
  }
  Result<std::vector<ContainerId>> List() const;

  class Pins {
   public:
    Pins(Packs& packs, std::set<ContainerId> ids) : packs_(packs), ids_(std::move(ids)) {}
    ~Pins();
    Pins(const Pins&) = delete;
    Pins& operator=(const Pins&) = delete;

   private:
    Packs& packs_;
    std::set<ContainerId> ids_;
  };
  // Pins what a version in the catalogue refers to; nullopt if there is no such version.
  // No container of it can go between the look and the pin.
  struct PinnedVersion {
    VersionRecord record;
    std::shared_ptr<const Pins> pins;
  };
  std::optional<PinnedVersion> Pin(const Catalogue& catalogue, const std::string& job,
                                   uint64_t version);

  // Holds off pins while containers change. Ordered before all other locks.
  std::unique_lock<std::shared_mutex> LockForChange() {
    return std::unique_lock<std::shared_mutex>(changing_);
  }
  bool IsPinned(const ContainerId& id) const { return pins_.Lock()->contains(id); }

 private:
  Fd dir_;
  std::function<void(const ContainerId&)> released_;
  std::shared_mutex changing_;
  Guarded<std::map<ContainerId, int>> pins_;
};

}  // namespace ckptfs
