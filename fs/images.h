// images/: the versions of every job's image, and images on their way in.
#pragma once

#include <string>
#include <vector>

#include "fs/text_node.h"

namespace ckptfs {

// images/: one folder for each job that has versions, or that someone made to
// copy some into.
class ImagesFolder : public FolderNode {
 public:
  ImagesFolder(const View* view, std::string key) : FolderNode(view, std::move(key)) {}
  // Always there: a path through it need not ask for it again at every step.
  std::chrono::milliseconds cache_time() const override { return std::chrono::seconds(1); }
  Result<NodePtr> Lookup(std::string_view name, const Caller& caller) const override;
  Result<NodePtr> MakeDir(std::string_view name, const Caller& caller) const override;
  Result<void> RemoveDir(std::string_view name, const Caller& caller) const override;
  Result<void> ChangeAttr(const Caller&) const override { return {}; }

 protected:
  Result<Owner> owner(const Caller&) const override { return view().own(01777); }
  Result<std::vector<DirEntry>> Children(const Caller& caller) const override;
};

// images/JOB/: versions, incoming images, and `latest`.
class JobImagesFolder : public FolderNode {
 public:
  JobImagesFolder(const View* view, std::string key, std::string job)
      : FolderNode(view, std::move(key)), job_(std::move(job)) {}
  Result<NodePtr> Lookup(std::string_view name, const Caller& caller) const override;
  Result<NodePtr> MakeDir(std::string_view name, const Caller& caller) const override;
  Result<NodePtr> MakeLink(std::string_view name, std::string_view target,
                           const Caller& caller) const override;
  Result<void> RemoveDir(std::string_view name, const Caller& caller) const override;
  Result<void> RemoveFile(std::string_view name, const Caller& caller) const override;
  // cp -a gives the folder the times of the one it copies.
  Result<void> ChangeAttr(const Caller&) const override { return {}; }

 protected:
  Result<Owner> owner(const Caller& caller) const override;
  Result<std::vector<DirEntry>> Children(const Caller& caller) const override;

 private:
  NodePtr VersionNode(uint64_t version) const;
  NodePtr LatestNode() const;
  Result<void> RemoveVersion(uint64_t version, const Caller& caller) const;
  std::string job_;
};

// Whether `caller` sees images/JOB, and whose it is.
Result<Owner> OwnerOfImages(const View& view, std::string_view job, const Caller& caller);

}  // namespace ckptfs
