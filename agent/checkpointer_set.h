// The checkpointers of this node: which are there, which can be used, which fits.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "base/guarded.h"

namespace ckptfs {

// Thread-safe. What a probe found is kept, so that asking is cheap.
class CheckpointerSet {
 public:
  // Probes them all.
  explicit CheckpointerSet(std::vector<std::unique_ptr<Checkpointer>> checkpointers);

  std::vector<CheckpointerStatus> Statuses() const;
  // Null: no such. Also one that cannot be used now.
  Checkpointer* Get(std::string_view name) const;
  // Ready for use; one that could not be used is probed again first. kUnsupported says why.
  Result<Checkpointer*> Find(std::string_view name) const;
  // For a unit: the one chosen or, with "auto", the first that can attach for such an owner.
  Result<Checkpointer*> Choose(std::string_view chosen, uid_t owner) const;

 private:
  Availability Look(const Checkpointer& checkpointer, bool again) const;

  const std::vector<std::unique_ptr<Checkpointer>> all_;
  // Lock order: none is taken under it; a probe runs without it.
  Guarded<std::map<std::string, Availability, std::less<>>> found_;
};

}  // namespace ckptfs
