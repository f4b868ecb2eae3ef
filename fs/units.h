// jobs/JOB/units/: the units of a job. mkdir makes one, rmdir forgets it.
#pragma once

#include <string>
#include <vector>

#include "fs/text_node.h"

namespace ckptfs {

class UnitsFolder : public FolderNode {
 public:
  UnitsFolder(const View* view, std::string key, std::string job)
      : FolderNode(view, std::move(key)), job_(std::move(job)) {}
  Result<NodePtr> Lookup(std::string_view name, const Caller& caller) const override;
  Result<NodePtr> MakeDir(std::string_view name, const Caller& caller) const override;
  Result<void> RemoveDir(std::string_view name, const Caller& caller) const override;

 protected:
  Result<Owner> owner(const Caller& caller) const override { return view().OwnerOf(job_, caller); }
  Result<std::vector<DirEntry>> Children(const Caller& caller) const override;

 private:
  std::string job_;
};

}  // namespace ckptfs
