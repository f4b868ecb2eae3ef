// The plain kinds of nodes: a folder with a fixed set of children, and a file
// whose text is made when it is opened.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fs/node.h"
#include "fs/view.h"

namespace ckptfs {

// A file's text at one open(2): reads at any offset see the same text, whatever
// happens meanwhile. A write is one command, whatever its offset.
struct TextSpec {
  mode_t permissions = 0444;
  // Whose file; an error (kNotFound) when what it shows is gone.
  std::function<Result<Owner>(const Caller&)> owner;
  // Answers at once. Empty: cannot be read.
  std::function<Result<std::string>(const Caller&)> read;
  // The text is cheap to make: st_size is its true size, else 0.
  bool true_size = false;
  // One write(2). May block: run by a worker. Empty: cannot be written.
  std::function<Result<void>(std::string_view, const Caller&)> write;
};

class TextNode : public Node {
 public:
  TextNode(const View* view, std::string key, TextSpec spec)
      : view_(view), key_(std::move(key)), spec_(std::move(spec)) {}
  const std::string& key() const override { return key_; }
  bool may_block() const override { return false; }
  Result<Attr> GetAttr(const Caller& caller) const override;
  Result<std::shared_ptr<OpenedFile>> Open(const OpenMode& mode, const Caller& c) const override;

 private:
  const View* view_;
  std::string key_;
  TextSpec spec_;
};

// A file with an OpenedFile of its own kind.
struct FileSpec {
  mode_t permissions = 0444;
  std::function<Result<Owner>(const Caller&)> owner;
  std::function<uint64_t()> size_bytes;  // empty: 0
  bool inode_per_lookup = false;         // see Node
  std::function<Result<std::shared_ptr<OpenedFile>>(const OpenMode&, const Caller&)> open;
};

class FileNode : public Node {
 public:
  FileNode(const View* view, std::string key, FileSpec spec)
      : view_(view), key_(std::move(key)), spec_(std::move(spec)) {}
  const std::string& key() const override { return key_; }
  bool inode_per_lookup() const override { return spec_.inode_per_lookup; }
  bool may_block() const override { return false; }
  Result<Attr> GetAttr(const Caller& caller) const override;
  Result<std::shared_ptr<OpenedFile>> Open(const OpenMode& mode, const Caller& c) const override;

 private:
  const View* view_;
  std::string key_;
  FileSpec spec_;
};

// A folder whose children are few: a lookup makes them all.
class FolderNode : public Node {
 public:
  FolderNode(const View* view, std::string key) : view_(view), key_(std::move(key)) {}
  const std::string& key() const override { return key_; }
  mode_t type() const override { return S_IFDIR; }
  Result<Attr> GetAttr(const Caller& caller) const override;
  Result<NodePtr> Lookup(std::string_view name, const Caller& caller) const override;
  Result<std::vector<DirEntry>> List(const Caller& caller) const override;

 protected:
  const View& view() const { return *view_; }
  std::string KeyOf(std::string_view child) const;
  void AddText(std::vector<DirEntry>* out, std::string_view name, TextSpec spec) const;
  virtual Result<Owner> owner(const Caller&) const { return view_->own(0755); }
  virtual Result<std::vector<DirEntry>> Children(const Caller& caller) const = 0;

 private:
  const View* view_;
  std::string key_;
};

// What opening with `mode` may not do with a file of these permissions, whoever asks.
Result<void> CheckMode(mode_t permissions, const OpenMode& mode);

// The part of `text` that a read asks for.
std::string Slice(std::string_view text, uint64_t offset, size_t limit_bytes);

}  // namespace ckptfs
