// The root of the tree, and the files in it that are of the whole node.
#pragma once

#include <string>
#include <vector>

#include "fs/text_node.h"

namespace ckptfs {

class RootFolder : public FolderNode {
 public:
  explicit RootFolder(const View* view);

 protected:
  Result<std::vector<DirEntry>> Children(const Caller& caller) const override;

 private:
  std::vector<DirEntry> children_;  // nodes are views: one set serves everyone
};

// /README: the tree explained, with examples that can be pasted.
std::string_view ReadmeText();

}  // namespace ckptfs
