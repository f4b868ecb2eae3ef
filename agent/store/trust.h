// Trust: whose signature this node accepts, and who may read what it makes:
// itself and the keys in keys/trusted/NAME.pub.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/store/disk.h"
#include "agent/store/manifest.h"
#include "base/guarded.h"
#include "crypto/keys.h"

namespace ckptfs {

// A key by the id that a signature names; nullopt: not trusted.
using FindKey = std::function<std::optional<PublicKey>(const std::array<uint8_t, 8>& key_id)>;

// Thread-safe.
class Trust {
 public:
  // Makes or loads this node's keys in the folder `dir`, and loads the trusted
  // ones. Files in trusted/ that are no keys are named in `log` and left alone.
  static Result<std::unique_ptr<Trust>> Open(const Disk& disk, Fd dir, const StoreOptions& options,
                                             const Log& log);

  const NodeKeys& own() const { return own_; }
  std::vector<std::pair<std::string, PublicKey>> Trusted() const { return *trusted_.Lock(); }
  std::optional<PublicKey> Find(const std::array<uint8_t, 8>& key_id) const;
  Result<void> Add(std::string_view name, std::string_view key_file);
  Result<void> Remove(std::string_view name);

  // One that the manifest's data key is wrapped for and that no new one would be
  // wrapped for: it was trusted then.
  std::optional<std::string> FormerRecipient(const Manifest& manifest) const;

  // A data key wrapped for this node and for every trusted key that can be a recipient.
  Result<std::vector<WrappedKey>> Wrap(const SecretBytes& data_key) const;

 private:
  Trust(const Disk& disk, Fd dir, NodeKeys own)
      : disk_(disk), dir_(std::move(dir)), own_(std::move(own)) {}
  // Of what is made from now on: this node's first.
  std::vector<PublicKey> Recipients() const;

  const Disk& disk_;
  Fd dir_;
  NodeKeys own_;
  Guarded<std::vector<std::pair<std::string, PublicKey>>> trusted_;
};

// The job's data key out of a manifest. kUntrusted, with what to do, if it is not
// wrapped for `keys`.
Result<SecretBytes> UnwrapDataKey(const NodeKeys& keys, const Manifest& manifest);

}  // namespace ckptfs
