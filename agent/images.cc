// The store's images, with the owner's check in front.
#include <algorithm>
#include <charconv>

#include "agent/node_agent.h"

namespace ckptfs {
namespace {

std::string IncomingKey(std::string_view job, uint64_t version) {
  return fmt::format("incoming/{}/{}", job, version);
}

Error NoImage(std::string_view job, std::optional<uint64_t> version) {
  if (version) return Fail(Errc::kNotFound, "there is no version {} of job {}", *version, job);
  return Fail(Errc::kNotFound, "there are no images of job {}", job);
}

}  // namespace

std::optional<uid_t> NodeAgent::IncomingOwner(std::string_view job, uint64_t version) const {
  std::string key = IncomingKey(job, version);
  auto records = options_.store->Records(key);
  auto it = records.find(key);
  uid_t uid = 0;
  if (it == records.end()) return std::nullopt;
  const std::string& text = it->second;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), uid);
  if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return uid;
}

Result<void> NodeAgent::CheckImageAccess(std::string_view job, std::optional<uint64_t> version,
                                         const Caller& caller) const {
  const Store& store = *options_.store;
  auto owns = [&](uint64_t number) {
    if (auto info = store.Info(job, number)) return info->owner_uid == caller.uid;
    return IncomingOwner(job, number) == std::optional<uid_t>(caller.uid);
  };
  if (caller.uid == 0) return {};
  if (version) return owns(*version) ? Result<void>() : NoImage(job, version);
  // The folder of a job is its owner's, and of everyone who has an image in it.
  if (JobPtr own = table_.Get(job); own && own->VisibleTo(caller)) return {};
  auto versions = store.Versions(job);
  auto incoming = store.IncomingVersions(job);
  versions.insert(versions.end(), incoming.begin(), incoming.end());
  if (std::any_of(versions.begin(), versions.end(), owns)) return {};
  return NoImage(job, version);
}

Result<void> NodeAgent::CheckImageName(std::string_view job, const Caller& caller) const {
  if (auto good = CheckName(job, "job"); !good) return good.error();
  if (caller.uid == 0) return {};
  Error taken = Fail(Errc::kNotYours, "the name {} is taken by another user", job)
                    .WithRemedy("take another name");
  if (JobPtr own = table_.Get(job); own && !own->VisibleTo(caller)) return taken;
  for (uint64_t version : options_.store->Versions(job))
    if (auto info = options_.store->Info(job, version); info && info->owner_uid != caller.uid)
      return taken;
  for (uint64_t version : options_.store->IncomingVersions(job))
    if (IncomingOwner(job, version) != std::optional<uid_t>(caller.uid)) return taken;
  return {};
}

Result<void> NodeAgent::DeleteVersion(std::string_view job, uint64_t version, const Caller& c) {
  if (auto may = CheckImageAccess(job, version, c); !may) return may.error();
  if (auto deleted = options_.store->Delete(job, version); !deleted) return deleted.error();
  Event(job, fmt::format("version deleted version={}", version));
  if (JobPtr own = table_.Get(job)) {
    own->Lock()->last_version = options_.store->Latest(job);
    Keep(own);
  }
  return {};
}

Result<void> NodeAgent::MakeIncoming(std::string_view job, uint64_t version, const Caller& c) {
  if (auto free = CheckImageName(job, c); !free) return free.error();
  // Whose it is first: an image without an owner is nobody's but root's.
  auto before = IncomingOwner(job, version);
  if (before && *before != c.uid && c.uid != 0)
    return Fail(Errc::kExists, "version {} of {} is being copied in already", version, job);
  if (!before) {
    auto noted = options_.store->PutRecord(IncomingKey(job, version), std::to_string(c.uid));
    if (!noted) return noted.error();
  }
  auto made = options_.store->MakeIncoming(job, version);
  if (!made && !before) (void)options_.store->DeleteRecord(IncomingKey(job, version));
  return made;
}

Result<VersionInfo> NodeAgent::AdmitImage(std::string_view job, uint64_t version, const Caller& c) {
  if (auto may = CheckImageAccess(job, version, c); !may) return may.error();
  auto info = options_.store->Admit(job, version);
  if (!info) {
    // Files that are still missing are no event.
    if (info.error().code() != Errc::kBusy)
      Event(job, fmt::format("image refused version={} result={}: {}", version,
                             ErrcName(info.error().code()), info.error().message()));
    return info;
  }
  // Several may have waited for the same admission: one of them says so.
  auto noted = options_.store->DeleteRecord(IncomingKey(job, version));
  if (noted && !*noted) return info;
  Event(job, fmt::format("image admitted version={} owner={} signer={}", version, info->owner_uid,
                         info->signer));
  if (JobPtr own = table_.Get(job)) {
    own->Lock()->last_version = options_.store->Latest(job);
    Keep(own);
  }
  return info;
}

Result<void> NodeAgent::RemoveIncoming(std::string_view job, uint64_t version, const Caller& c) {
  if (auto may = CheckImageAccess(job, version, c); !may) return may.error();
  if (auto removed = options_.store->RemoveIncoming(job, version); !removed) return removed.error();
  auto forgotten = options_.store->DeleteRecord(IncomingKey(job, version));
  return forgotten ? Result<void>() : forgotten.error();
}

}  // namespace ckptfs
