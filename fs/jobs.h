// jobs/ and checkpointers/: folders of the tree that show the agent's tables.
#pragma once

#include <string>
#include <vector>

#include "fs/text_node.h"

namespace ckptfs {

// jobs/: mkdir makes a job with the unit main, rmdir forgets it.
class JobsFolder : public FolderNode {
 public:
  JobsFolder(const View* view, std::string key) : FolderNode(view, std::move(key)) {}
  // Always there: a path through it need not ask for it again at every step.
  std::chrono::milliseconds cache_time() const override { return std::chrono::seconds(1); }
  Result<NodePtr> Lookup(std::string_view name, const Caller& caller) const override;
  Result<NodePtr> MakeDir(std::string_view name, const Caller& caller) const override;
  Result<void> RemoveDir(std::string_view name, const Caller& caller) const override;

 protected:
  // As in /tmp: anyone may make a job, and only its owner sees it.
  Result<Owner> owner(const Caller&) const override { return view().own(01777); }
  Result<std::vector<DirEntry>> Children(const Caller& caller) const override;
};

// checkpointers/: one file each.
class CheckpointersFolder : public FolderNode {
 public:
  CheckpointersFolder(const View* view, std::string key) : FolderNode(view, std::move(key)) {}

 protected:
  Result<std::vector<DirEntry>> Children(const Caller& caller) const override;
};

// The images of `job` that are on their way in and not versions yet, and visible
// to `caller`. `job` empty: of all jobs.
std::vector<IncomingInfo> IncomingOf(const View& view, std::string_view job, const Caller& caller);

}  // namespace ckptfs
