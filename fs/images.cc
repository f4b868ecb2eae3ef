#include "fs/images.h"

#include <algorithm>

#include "fs/control_grammar.h"
#include "fs/version_folder.h"

namespace ckptfs {
namespace {

constexpr std::string_view kLatest = "latest";
constexpr uint64_t kNoVersion = 0;  // what is hidden in images/JOB itself

bool HasImages(const Store& store, std::string_view job) {
  return store.Latest(job).has_value() || !store.IncomingVersions(job).empty();
}

// images/JOB/latest
class LatestLink : public Node {
 public:
  LatestLink(const View* view, std::string key, std::string job)
      : view_(view), key_(std::move(key)), job_(std::move(job)) {}
  const std::string& key() const override { return key_; }
  mode_t type() const override { return S_IFLNK; }

  Result<Attr> GetAttr(const Caller& caller) const override {
    auto target = ReadLink(caller);
    if (!target) return target.error();
    Owner owner = view_->own(0777);
    Attr attr{S_IFLNK | 0777, owner.uid, owner.gid, target->size(), view_->started_unix_ms()};
    if (auto latest = view_->store().Latest(job_))
      if (auto facts = view_->copying().CachedFacts(job_, *latest)) {
        attr.uid = facts->uid;
        attr.gid = facts->gid;
        attr.mtime_unix_ms = facts->created_unix_ms;
      }
    return attr;
  }

  Result<std::string> ReadLink(const Caller& caller) const override {
    if (auto whose = OwnerOfImages(*view_, job_, caller); !whose) return whose.error();
    if (auto latest = view_->store().Latest(job_)) return std::to_string(*latest);
    if (auto claimed = view_->copying().ClaimedLatest(job_)) return *claimed;
    return Fail(Errc::kNotFound, "{} has no version", job_);
  }

  Result<void> ChangeAttr(const Caller&) const override { return {}; }

 private:
  const View* view_;
  std::string key_;
  std::string job_;
};

}  // namespace

Result<Owner> OwnerOfImages(const View& view, std::string_view job, const Caller& caller) {
  if (auto folder = view.copying().FindFolder(job))
    if (caller.uid == 0 || caller.uid == folder->uid) return Owner{folder->uid, folder->gid, 0700};
  if (!HasImages(view.store(), job) || !view.agent().CheckImageAccess(job, std::nullopt, caller))
    return Fail(Errc::kNotFound, "no images of {}", Quoted(job));
  if (caller.uid != 0) return Owner{caller.uid, caller.gid, 0700};
  if (auto latest = view.store().Latest(job))
    if (auto facts = view.copying().CachedFacts(job, *latest))
      return Owner{facts->uid, facts->gid, 0700};
  return view.own(0700);
}

Result<std::vector<DirEntry>> ImagesFolder::Children(const Caller& caller) const {
  std::vector<std::string> names = view().copying().Folders(caller.uid);
  for (std::string& job : view().store().Jobs())
    if (OwnerOfImages(view(), job, caller)) names.push_back(std::move(job));
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  std::vector<DirEntry> out;
  out.reserve(names.size());
  for (const std::string& job : names)
    out.push_back({job, std::make_shared<JobImagesFolder>(&view(), KeyOf(job), job)});
  return out;
}

Result<NodePtr> ImagesFolder::Lookup(std::string_view name, const Caller& caller) const {
  if (auto whose = OwnerOfImages(view(), name, caller); !whose) return whose.error();
  return NodePtr(std::make_shared<JobImagesFolder>(&view(), KeyOf(name), std::string(name)));
}

Result<NodePtr> ImagesFolder::MakeDir(std::string_view name, const Caller& caller) const {
  if (auto named = CheckName(name, "job"); !named)
    return view().Noted("", "mkdir images/" + std::string(name), named.error());
  if (OwnerOfImages(view(), name, caller)) return Fail(Errc::kExists, "images/{} exists", name);
  if (HasImages(view().store(), name) || view().copying().FindFolder(name))
    return Fail(Errc::kNotYours, "the name {} is taken", name);
  if (auto made = view().copying().AddFolder(name, {caller.uid, caller.gid}); !made)
    return made.error();
  return Lookup(name, caller);
}

Result<void> ImagesFolder::RemoveDir(std::string_view name, const Caller& caller) const {
  if (auto whose = OwnerOfImages(view(), name, caller); !whose) return whose.error();
  if (HasImages(view().store(), name))
    return Fail(Errc::kNotEmpty, "images/{} has versions", name)
        .WithRemedy("'rm -r' deletes them too");
  view().copying().RemoveFolder(name);
  return {};
}

Result<Owner> JobImagesFolder::owner(const Caller& caller) const {
  return OwnerOfImages(view(), job_, caller);
}

NodePtr JobImagesFolder::VersionNode(uint64_t version) const {
  std::string name = std::to_string(version);
  return std::make_shared<VersionFolder>(&view(), KeyOf(name), job_, version);
}

NodePtr JobImagesFolder::LatestNode() const {
  return std::make_shared<LatestLink>(&view(), KeyOf(kLatest), job_);
}

Result<std::vector<DirEntry>> JobImagesFolder::Children(const Caller& caller) const {
  if (auto whose = owner(caller); !whose) return whose.error();
  std::vector<DirEntry> out;
  std::vector<uint64_t> versions = view().store().Versions(job_);
  // First, so that `rm -r` removes it while there still are versions.
  if (!versions.empty() && !view().copying().IsHidden(job_, kNoVersion, kLatest))
    out.push_back({std::string(kLatest), LatestNode()});
  for (uint64_t version : versions) {
    if (caller.uid != 0) {
      auto facts = view().copying().CachedFacts(job_, version);
      if (!facts || facts->uid != caller.uid) continue;
    }
    out.push_back({std::to_string(version), VersionNode(version)});
  }
  for (uint64_t version : view().store().IncomingVersions(job_))
    if (view().agent().CheckImageAccess(job_, version, caller))
      out.push_back({std::to_string(version), VersionNode(version)});
  return out;
}

Result<NodePtr> JobImagesFolder::Lookup(std::string_view name, const Caller& caller) const {
  NodePtr node;
  if (name == kLatest) {
    if (view().copying().IsHidden(job_, kNoVersion, kLatest))
      return Fail(Errc::kNotFound, "{} was removed", name);
    node = LatestNode();
  } else if (auto version = ParseVersion(name)) {
    // Afresh: what is kept may be of a version that is gone.
    (void)view().copying().FreshFacts(job_, *version);
    node = VersionNode(*version);
  } else {
    return Fail(Errc::kNotFound, "no version {}", Quoted(name));
  }
  if (auto attr = node->GetAttr(caller); !attr) return attr.error();
  return node;
}

Result<NodePtr> JobImagesFolder::MakeDir(std::string_view name, const Caller& caller) const {
  auto make = [&]() -> Result<NodePtr> {
    if (auto whose = owner(caller); !whose) return whose.error();
    auto version = ParseVersion(name);
    if (!version)
      return Fail(Errc::kInvalid, "'{}' is no version number", Quoted(name))
          .WithRemedy("copy an image in under the number it had: images/JOB/N");
    if (view().store().Info(job_, *version) || view().store().Incoming(job_, *version))
      return Fail(Errc::kExists, "images/{}/{} exists", job_, *version);
    if (auto made = view().agent().MakeIncoming(job_, *version, caller); !made) return made.error();
    return VersionNode(*version);
  }();
  if (!make) return view().Noted("", fmt::format("mkdir images/{}/{}", job_, name), make.error());
  return make;
}

Result<NodePtr> JobImagesFolder::MakeLink(std::string_view name, std::string_view target,
                                          const Caller& caller) const {
  if (auto whose = owner(caller); !whose) return whose.error();
  // `latest` follows from what is there: cp -a may copy it, without effect.
  if (name != kLatest || !ParseVersion(target))
    return Fail(Errc::kNotYours, "links other than latest -> N are not kept here");
  view().copying().ForgetHidden(job_, kNoVersion);
  view().copying().ClaimLatest(job_, target);
  return LatestNode();
}

Result<void> JobImagesFolder::RemoveFile(std::string_view name, const Caller& caller) const {
  if (auto whose = owner(caller); !whose) return whose.error();
  // It follows from what is there and cannot go; cp -a removes it to make it anew,
  // and rm -r removes it on its way.
  if (name == kLatest) {
    view().copying().Hide(job_, kNoVersion, kLatest);
    return {};
  }
  return Fail(Errc::kNotFound, "no file {}", Quoted(name));
}

Result<void> JobImagesFolder::RemoveDir(std::string_view name, const Caller& caller) const {
  auto version = ParseVersion(name);
  if (!version) return Fail(Errc::kNotFound, "no version {}", Quoted(name));
  auto removed = RemoveVersion(*version, caller);
  if (!removed)
    return view().Noted("", fmt::format("rmdir images/{}/{}", job_, name), removed.error());
  return removed;
}

Result<void> JobImagesFolder::RemoveVersion(uint64_t version, const Caller& caller) const {
  auto whose = owner(caller);
  if (!whose) return whose.error();
  VersionFolder folder(&view(), KeyOf(std::to_string(version)), job_, version);
  auto empty = folder.IsEmpty(caller);
  if (!empty) return empty.error();
  if (!*empty)
    return Fail(Errc::kNotEmpty, "images/{}/{} has files", job_, version)
        .WithRemedy(fmt::format("'rm -r images/{}/{}' deletes the version", job_, version));
  bool committed = view().store().Info(job_, version).ok();
  auto gone = committed ? view().agent().DeleteVersion(job_, version, caller)
                        : view().agent().RemoveIncoming(job_, version, caller);
  if (!gone) return gone.error();
  view().copying().ForgetHidden(job_, version);
  // images/JOB itself stays until someone removes it, as folders do.
  if (!HasImages(view().store(), job_))
    (void)view().copying().AddFolder(job_, {whose->uid, whose->gid});
  return {};
}

}  // namespace ckptfs
