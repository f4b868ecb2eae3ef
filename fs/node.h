// Node and OpenedFile: what the tree is made of. A node is a view: it holds names,
// never state, so that it can be made anew at each lookup and be asked long after
// what it shows is gone (then it answers kNotFound).
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/agent.h"
#include "base/bytes.h"
#include "base/result.h"
#include "fs/reply.h"

namespace ckptfs {

class Node;
using NodePtr = std::shared_ptr<const Node>;

struct Attr {
  mode_t mode = 0;  // type and permissions
  uid_t uid = 0;
  gid_t gid = 0;
  uint64_t size_bytes = 0;
  int64_t mtime_unix_ms = 0;
};

struct DirEntry {
  std::string name;
  NodePtr node;
};

// What open(2) asks for.
struct OpenMode {
  bool read = true;
  bool write = false;
  bool append = false;
  bool truncate = false;
  bool exclusive = false;  // for Create
};

// Bytes that were read: a text, or pieces of files that `holder` keeps open.
struct ReadData {
  std::string text;
  std::vector<ImageFile::Piece> pieces;
  std::shared_ptr<const void> holder;
};

// One open(2) of a file. Thread-safe: the kernel sends requests in parallel.
class OpenedFile {
 public:
  virtual ~OpenedFile() = default;
  // From the page cache, which stays valid over opens: for what never changes.
  virtual bool immutable() const { return false; }
  // `caller` is whoever reads or writes now; what may be done was decided for
  // whoever opened it.
  virtual void Read(uint64_t offset, size_t limit_bytes, const Caller& caller,
                    const Reply<ReadData>& reply);
  // All or nothing: the answer is bytes.size() or an error. Copies what it keeps.
  virtual void Write(uint64_t offset, Bytes bytes, const Caller& caller,
                     const Reply<size_t>& reply);
  virtual Result<void> Truncate(uint64_t size_bytes);
  // close(2) of one descriptor; answers at once. An error here reaches close's caller.
  virtual Result<void> Flush() { return {}; }
  // Poll events that are ready now (POLLIN …); `wake`, when given, is called once
  // or more, from any thread, when that may have changed.
  virtual short Poll(const std::function<void()>& wake);
  // The last descriptor is closed and nothing of it is running.
  virtual void Release() {}
};

class Node {
 public:
  virtual ~Node() = default;
  // Names the node over the tree's whole life: equal keys, same inode.
  virtual const std::string& key() const = 0;
  virtual mode_t type() const { return S_IFREG; }
  // How long the kernel may believe a lookup and attributes of this node.
  virtual std::chrono::milliseconds cache_time() const { return std::chrono::milliseconds(0); }
  // A new inode at each lookup. The kernel locks an inode while a write to it or
  // an open with O_TRUNC is under way: `echo cancel > ctl` must not wait for the
  // command that it is to cancel.
  virtual bool inode_per_lookup() const { return false; }
  // Inode numbers of these come after all others: `rm -r` of a folder with more
  // than 10,000 entries goes by them, and `latest` is to go first.
  virtual bool sorts_last() const { return false; }
  virtual Result<Attr> GetAttr(const Caller& caller) const = 0;

  // --- folders. Lookup and List answer at once; the others may block.
  virtual Result<NodePtr> Lookup(std::string_view name, const Caller& caller) const;
  virtual Result<std::vector<DirEntry>> List(const Caller& caller) const;
  virtual Result<NodePtr> MakeDir(std::string_view name, const Caller& caller) const;
  virtual Result<NodePtr> MakeLink(std::string_view name, std::string_view target,
                                   const Caller& caller) const;
  virtual Result<void> RemoveDir(std::string_view name, const Caller& caller) const;
  virtual Result<void> RemoveFile(std::string_view name, const Caller& caller) const;
  virtual Result<void> Rename(std::string_view from, const Node& to_folder, std::string_view to,
                              bool replace, const Caller& caller) const;
  struct Created {
    NodePtr node;
    std::shared_ptr<OpenedFile> file;
  };
  virtual Result<Created> Create(std::string_view name, const OpenMode& mode,
                                 const Caller& caller) const;

  // --- files. Open for reading answers at once; what changes the file may block, but
  // not with a file of the tree's own, which `echo` opens and truncates.
  virtual bool may_block() const { return true; }
  virtual Result<std::shared_ptr<OpenedFile>> Open(const OpenMode& mode,
                                                   const Caller& caller) const;
  virtual Result<std::string> ReadLink(const Caller& caller) const;
  virtual Result<void> Truncate(uint64_t size_bytes, const Caller& caller) const;
  // chmod, chown and utimens: kNotYours, or quietly nothing where `cp -a` needs that.
  virtual Result<void> ChangeAttr(const Caller& caller) const;
};

// The kernel's modification time, or any other, in milliseconds.
inline int64_t UnixMs(std::chrono::system_clock::time_point when) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(when.time_since_epoch()).count();
}

}  // namespace ckptfs
