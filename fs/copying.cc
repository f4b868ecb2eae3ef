#include "fs/copying.h"

namespace ckptfs {
namespace {

constexpr size_t kMostFacts = 100'000;
constexpr size_t kMostFolders = 1024;
constexpr auto kHiddenFor = std::chrono::seconds(60);
constexpr auto kClaimedFor = std::chrono::seconds(60);

}  // namespace

Result<VersionFacts> Copying::CachedFacts(std::string_view job, uint64_t version) {
  {
    auto state = state_.Lock();
    auto at = state->facts.find(Key(job, version));
    if (at != state->facts.end()) return at->second;
  }
  return FreshFacts(job, version);
}

Result<VersionFacts> Copying::FreshFacts(std::string_view job, uint64_t version) {
  auto info = store_->Info(job, version);
  auto state = state_.Lock();
  Key key(job, version);
  if (!info) {
    state->facts.erase(key);
    return info.error();
  }
  VersionFacts facts{info->owner_uid, info->owner_gid, info->created_unix_ms,
                     info->manifest_digest};
  if (state->facts.size() >= kMostFacts) state->facts.clear();
  state->facts[key] = facts;
  return facts;
}

Result<void> Copying::AddFolder(std::string_view job, Folder folder) {
  auto state = state_.Lock();
  if (state->folders.size() >= kMostFolders)
    return Fail(Errc::kQuota, "{} empty folders under images are the most", kMostFolders)
        .WithRemedy("rmdir those that are not needed");
  state->folders.emplace(std::string(job), folder);
  return {};
}

bool Copying::RemoveFolder(std::string_view job) {
  auto state = state_.Lock();
  auto at = state->folders.find(job);
  if (at == state->folders.end()) return false;
  state->folders.erase(at);
  return true;
}

std::optional<Copying::Folder> Copying::FindFolder(std::string_view job) const {
  auto state = state_.Lock();
  auto at = state->folders.find(job);
  if (at == state->folders.end()) return std::nullopt;
  return at->second;
}

std::vector<std::string> Copying::Folders(uid_t uid) const {
  auto state = state_.Lock();
  std::vector<std::string> names;
  for (const auto& [job, folder] : state->folders)
    if (uid == 0 || uid == folder.uid) names.push_back(job);
  return names;
}

void Copying::ClaimLatest(std::string_view job, std::string_view target) {
  auto state = state_.Lock();
  auto now = Clock::now();
  std::erase_if(state->claims, [&](const auto& claim) { return claim.second.until < now; });
  state->claims[std::string(job)] = {std::string(target), now + kClaimedFor};
}

std::optional<std::string> Copying::ClaimedLatest(std::string_view job) const {
  auto state = state_.Lock();
  auto at = state->claims.find(job);
  if (at == state->claims.end() || at->second.until < Clock::now()) return std::nullopt;
  return at->second.target;
}

void Copying::Hide(std::string_view job, uint64_t version, std::string_view file) {
  auto state = state_.Lock();
  auto now = Clock::now();
  std::erase_if(state->hidden, [&](const auto& one) { return one.second.until < now; });
  Hidden& hidden = state->hidden[Key(job, version)];
  hidden.files.emplace(file);
  hidden.until = now + kHiddenFor;
}

bool Copying::IsHidden(std::string_view job, uint64_t version, std::string_view file) const {
  auto state = state_.Lock();
  if (state->hidden.empty()) return false;
  auto at = state->hidden.find(Key(job, version));
  return at != state->hidden.end() && at->second.until >= Clock::now() &&
         at->second.files.contains(file);
}

void Copying::ForgetHidden(std::string_view job, uint64_t version) {
  auto state = state_.Lock();
  state->hidden.erase(Key(job, version));
  state->facts.erase(Key(job, version));
}

void Copying::WriterCame(std::string_view job, uint64_t version) {
  ++state_.Lock()->writers[Key(job, version)].count;
}

bool Copying::WriterWent(std::string_view job, uint64_t version) {
  auto state = state_.Lock();
  auto at = state->writers.find(Key(job, version));
  if (at == state->writers.end()) return false;
  if (at->second.count > 0) --at->second.count;
  if (at->second.count > 0 || at->second.check_queued) return false;
  at->second.check_queued = true;
  return true;
}

bool Copying::CheckBegins(std::string_view job, uint64_t version) {
  auto state = state_.Lock();
  auto at = state->writers.find(Key(job, version));
  if (at == state->writers.end()) return true;
  at->second.check_queued = false;
  if (at->second.count > 0) return false;
  state->writers.erase(at);
  return true;
}

}  // namespace ckptfs
