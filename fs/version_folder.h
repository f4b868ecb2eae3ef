// images/JOB/N/: the files of one version. While the image is being copied in
// they can be written; from the moment in which it is a version they never change.
#pragma once

#include <string>
#include <vector>

#include "fs/text_node.h"

namespace ckptfs {

class VersionFolder : public Node {
 public:
  VersionFolder(const View* view, std::string key, std::string job, uint64_t version)
      : view_(view), key_(std::move(key)), job_(std::move(job)), version_(version) {}
  const std::string& key() const override { return key_; }
  mode_t type() const override { return S_IFDIR; }
  // A listing is followed by a stat of each entry: these need not ask again.
  std::chrono::milliseconds cache_time() const override { return std::chrono::seconds(1); }
  bool sorts_last() const override { return true; }
  Result<Attr> GetAttr(const Caller& caller) const override;
  Result<NodePtr> Lookup(std::string_view name, const Caller& caller) const override;
  Result<std::vector<DirEntry>> List(const Caller& caller) const override;
  Result<Created> Create(std::string_view name, const OpenMode& mode,
                         const Caller& caller) const override;
  Result<void> RemoveFile(std::string_view name, const Caller& caller) const override;
  Result<void> Rename(std::string_view from, const Node& to_folder, std::string_view to,
                      bool replace, const Caller& caller) const override;
  // cp -a gives the folder the times of the one it copies.
  Result<void> ChangeAttr(const Caller&) const override { return {}; }

  // Whether no file of the folder is to be seen any more, so that rmdir may go on.
  Result<bool> IsEmpty(const Caller& caller) const;

 private:
  // The version if it is one; nullopt while it is being copied in; kNotFound, and
  // for strangers too.
  Result<std::optional<VersionFacts>> State(const Caller& caller) const;
  NodePtr FileNodeOf(const std::optional<VersionFacts>& facts, const IncomingFile& file) const;

  const View* view_;
  std::string key_;
  std::string job_;
  uint64_t version_;
};

}  // namespace ckptfs
