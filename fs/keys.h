// keys/: this node's public key, and those it trusts.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fs/key_drafts.h"
#include "fs/text_node.h"

namespace ckptfs {

class KeysFolder : public FolderNode {
 public:
  KeysFolder(const View* view, std::string key)
      : FolderNode(view, std::move(key)), drafts_(std::make_shared<KeyDrafts>()) {}

 protected:
  Result<std::vector<DirEntry>> Children(const Caller& caller) const override;

 private:
  std::shared_ptr<KeyDrafts> drafts_;
};

// keys/trusted/: NAME.pub is trusted from the moment in which it holds a key.
// Other names are drafts, which count once they are renamed to NAME.pub.
class TrustedFolder : public FolderNode {
 public:
  TrustedFolder(const View* view, std::string key, std::shared_ptr<KeyDrafts> drafts)
      : FolderNode(view, std::move(key)), drafts_(std::move(drafts)) {}
  Result<NodePtr> Lookup(std::string_view name, const Caller& caller) const override;
  Result<Created> Create(std::string_view name, const OpenMode& mode,
                         const Caller& caller) const override;
  Result<void> RemoveFile(std::string_view name, const Caller& caller) const override;
  Result<void> Rename(std::string_view from, const Node& to_folder, std::string_view to,
                      bool replace, const Caller& caller) const override;
  Result<void> ChangeAttr(const Caller& caller) const override;

 protected:
  Result<std::vector<DirEntry>> Children(const Caller& caller) const override;

 private:
  NodePtr NodeOf(std::string_view name) const;
  std::shared_ptr<KeyDrafts> drafts_;
};

}  // namespace ckptfs
