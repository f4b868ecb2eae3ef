#include "agent/store/trust.h"

#include <fcntl.h>

#include <algorithm>

#include "agent/store/names.h"

namespace ckptfs {
namespace {

constexpr size_t kMaxKeyFileBytes = 4096;
constexpr std::string_view kSuffix = ".pub";

Result<NodeKeys> MakeKeys(int dir_fd, const StoreOptions& options) {
  auto keys = NodeKeys::Generate(options.node);
  if (!keys) return keys.error();
  std::optional<SecretBytes> passphrase;
  if (options.seal_new_keys) {
    if (!options.ask_passphrase)
      return Fail(Errc::kInvalid,
                  "new keys are to be sealed, but nobody can be asked for a passphrase");
    auto asked = options.ask_passphrase();
    if (!asked) return asked.error();
    passphrase = std::move(*asked);
  }
  if (auto saved = keys->Save(dir_fd, passphrase); !saved) return saved.error();
  return keys;
}

}  // namespace

Result<std::unique_ptr<Trust>> Trust::Open(const Disk& disk, Fd dir, const StoreOptions& options,
                                           const Log& log) {
  auto ask = options.ask_passphrase;
  if (!ask)
    ask = [] {
      return Result<SecretBytes>(Fail(
          Errc::kAccess, "keys/self.key is sealed and nobody can be asked for its passphrase"));
    };
  auto own = NodeKeys::Load(dir.get(), ask);
  if (!own && own.error().code() == Errc::kNotFound) own = MakeKeys(dir.get(), options);
  if (!own) return own.error().Add("keys of this node");
  if (auto made = EnsureDir(dir.get(), "trusted", 0700); !made) return made.error();
  auto trusted_dir = OpenAt(dir.get(), "trusted", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!trusted_dir) return trusted_dir.error();
  auto names = ListDir(trusted_dir->get());
  if (!names) return names.error();
  std::sort(names->begin(), names->end());

  std::unique_ptr<Trust> trust(new Trust(disk, std::move(*trusted_dir), std::move(*own)));
  for (const std::string& file : *names) {
    if (!file.ends_with(kSuffix)) continue;
    std::string name = file.substr(0, file.size() - kSuffix.size());
    auto text = ReadFileAt(trust->dir_.get(), file, kMaxKeyFileBytes);
    auto key = text ? PublicKey::Parse(*text) : Result<PublicKey>(text.error());
    if (!CheckName(name, "trusted key") || !key) {
      log.Warn("keys/trusted/{} is not used: it is no key file", file);
      continue;
    }
    trust->trusted_.Lock()->emplace_back(name, std::move(*key));
  }
  return trust;
}

std::optional<PublicKey> Trust::Find(const std::array<uint8_t, 8>& key_id) const {
  if (own_.public_key().key_id == key_id) return own_.public_key();
  auto trusted = trusted_.Lock();
  for (const auto& [name, key] : *trusted)
    if (key.key_id == key_id) return key;
  return std::nullopt;
}

Result<void> Trust::Add(std::string_view name, std::string_view key_file) {
  if (auto good = CheckName(name, "trusted key"); !good) return good;
  auto key = PublicKey::Parse(key_file);
  if (!key) return key.error().Add("keys/trusted/{}.pub", name);
  std::string file = std::string(name) + std::string(kSuffix);
  if (auto go = disk_.Before(DiskStep::kRename, file); !go) return go;
  auto written = ReplaceFileAt(dir_.get(), file, AsBytes(key_file), 0600);
  if (!written) return written.error().Add("trust {}", name);
  auto trusted = trusted_.Lock();
  std::erase_if(*trusted, [&](const auto& entry) { return entry.first == name; });
  trusted->emplace_back(name, std::move(*key));
  std::sort(trusted->begin(), trusted->end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  return {};
}

Result<void> Trust::Remove(std::string_view name) {
  if (auto good = CheckName(name, "trusted key"); !good) return good;
  auto trusted_now = Trusted();
  if (std::none_of(trusted_now.begin(), trusted_now.end(),
                   [&](const auto& entry) { return entry.first == name; }))
    return Fail(Errc::kNotFound, "no key named {} is trusted", name);
  // Forgotten here at once; gone from the disk before the caller hears of it.
  auto gone = disk_.Unlink(dir_.get(), std::string(name) + std::string(kSuffix));
  if (gone) gone = disk_.Sync(dir_.get(), "keys/trusted");
  if (!gone) return gone.error().Add("distrust {}", name);
  auto trusted = trusted_.Lock();
  std::erase_if(*trusted, [&](const auto& entry) { return entry.first == name; });
  return {};
}

std::vector<PublicKey> Trust::Recipients() const {
  std::vector<PublicKey> recipients{own_.public_key()};
  for (const auto& [name, key] : Trusted())
    if (key.has_recipient && key.key_id != own_.public_key().key_id) recipients.push_back(key);
  return recipients;
}

std::optional<std::string> Trust::FormerRecipient(const Manifest& manifest) const {
  std::vector<PublicKey> recipients = Recipients();
  for (const WrappedKey& key : manifest.data_keys)
    if (std::none_of(recipients.begin(), recipients.end(),
                     [&](const PublicKey& one) { return one.IdText() == key.recipient; }))
      return key.recipient;
  return std::nullopt;
}

Result<std::vector<WrappedKey>> Trust::Wrap(const SecretBytes& data_key) const {
  std::vector<WrappedKey> wrapped_keys;
  for (const PublicKey& recipient : Recipients()) {
    auto wrapped = WrapDataKey(data_key, recipient);
    if (!wrapped) return wrapped.error();
    wrapped_keys.push_back({recipient.IdText(), std::move(*wrapped)});
  }
  return wrapped_keys;
}

Result<SecretBytes> UnwrapDataKey(const NodeKeys& keys, const Manifest& manifest) {
  std::string own = keys.public_key().IdText();
  for (const WrappedKey& key : manifest.data_keys) {
    if (key.recipient != own) continue;
    auto data_key = keys.Unwrap(key.wrapped);
    if (!data_key)
      return data_key.error().Add("job {} version {}: its data key", manifest.job,
                                  manifest.version);
    if (data_key->size_bytes() != kDataKeyBytes)
      return Fail(Errc::kCorrupt, "job {} version {}: its data key is malformed", manifest.job,
                  manifest.version);
    return data_key;
  }
  return Fail(Errc::kUntrusted, "job {} version {} is not readable by this node (key {})",
              manifest.job, manifest.version, own)
      .WithRemedy("put this node's keys/self.pub into keys/trusted/ on node " + manifest.node +
                  " and checkpoint again");
}

}  // namespace ckptfs
