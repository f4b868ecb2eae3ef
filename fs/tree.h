// Tree: the virtual tree as a file system asks for it, by inode numbers and file
// handles, and knowing nothing of FUSE. Every request carries who asks and a
// Reply, which is answered exactly once: at once, or late and from another
// thread where something blocks (a command, `wait`, an fsync). Nothing here waits
// for a job.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/guarded.h"
#include "fs/inodes.h"
#include "fs/node.h"
#include "fs/reply.h"
#include "fs/workers.h"

namespace ckptfs {

using Handle = uint64_t;

// What a lookup gives. The kernel now knows `ino` once more: Forget it.
struct Entry {
  Ino ino = 0;
  Attr attr;
  std::chrono::milliseconds cache_time{0};
};
struct Opened {
  Handle handle = 0;
  bool immutable = false;  // may be cached, and the cache kept
};
struct CreatedFile {
  Entry entry;
  Opened opened;
};
struct AttrChange {
  std::optional<uint64_t> size_bytes;
  std::optional<Handle> handle;  // of ftruncate
  bool other = false;            // mode, owner or times
};

// Thread-safe.
class Tree {
 public:
  // Borrows `workers`, which must outlive every Reply.
  Tree(NodePtr root, Workers* workers);

  void Lookup(const Caller& caller, Ino parent, std::string_view name, const Reply<Entry>& reply);
  void Forget(Ino ino, uint64_t lookups);
  void GetAttr(const Caller& caller, Ino ino, const Reply<Entry>& reply);
  void SetAttr(const Caller& caller, Ino ino, const AttrChange& change, const Reply<Entry>& reply);
  void ReadLink(const Caller& caller, Ino ino, const Reply<std::string>& reply);
  void MakeDir(const Caller& caller, Ino parent, std::string_view name, const Reply<Entry>& reply);
  void MakeLink(const Caller& caller, Ino parent, std::string_view name, std::string_view target,
                const Reply<Entry>& reply);
  void RemoveDir(const Caller& caller, Ino parent, std::string_view name, const Reply<void>& reply);
  void RemoveFile(const Caller& caller, Ino parent, std::string_view name,
                  const Reply<void>& reply);
  void Rename(const Caller& caller, Ino parent, std::string_view name, Ino new_parent,
              std::string_view new_name, bool replace, const Reply<void>& reply);

  void Create(const Caller& caller, Ino parent, std::string_view name, const OpenMode& mode,
              const Reply<CreatedFile>& reply);
  void Open(const Caller& caller, Ino ino, const OpenMode& mode, const Reply<Opened>& reply);
  void Read(const Caller& caller, Handle handle, uint64_t offset, size_t limit_bytes,
            const Reply<ReadData>& reply);
  // `bytes` is borrowed for the call only.
  void Write(const Caller& caller, Handle handle, uint64_t offset, Bytes bytes,
             const Reply<size_t>& reply);
  void Flush(Handle handle, const Reply<void>& reply);
  Result<short> Poll(Handle handle, const std::function<void()>& wake);
  void Release(Handle handle, const Reply<void>& reply);

  // A folder as it was when it was opened (or rewound): removing while reading
  // skips nothing.
  void OpenDir(const Caller& caller, Ino ino, const Reply<Handle>& reply);
  // `add` is given each entry from `offset` on, the offset of the next, and with
  // `with_attr` what Lookup would give; it returns false when there is no more
  // room, and that entry then does not count as looked up.
  using AddEntry =
      std::function<bool(const std::string& name, const Entry& entry, uint64_t next_offset)>;
  Result<void> ReadDir(const Caller& caller, Handle handle, uint64_t offset, bool with_attr,
                       const AddEntry& add);
  void ReleaseDir(Handle handle);

  // Who may: 4 read, 2 write, 1 search, as access(2).
  void Access(const Caller& caller, Ino ino, int mask, const Reply<void>& reply);

  size_t known_inodes() const { return inodes_.size(); }
  size_t open_files() const { return files_.Lock()->size() + folders_.Lock()->size(); }

 private:
  struct OpenDirState {
    NodePtr node;
    Guarded<std::vector<DirEntry>> entries;
  };
  Result<NodePtr> Find(Ino ino) const;
  Result<std::shared_ptr<OpenedFile>> FileOf(Handle handle) const;
  Result<Entry> EntryOf(const NodePtr& node, const Caller& caller);
  Opened Keep(std::shared_ptr<OpenedFile> file);
  // Runs `task` with the node in a worker and answers with what it returns.
  template <typename T, typename Task>
  void Later(Ino ino, const Reply<T>& reply, Task task);
  // The same, at once where the node does not block.
  template <typename T, typename Task>
  void ChangeFile(Ino ino, const Reply<T>& reply, Task task);

  Inodes inodes_;
  Workers* workers_;
  std::atomic<Handle> next_handle_{1};
  Guarded<std::unordered_map<Handle, std::shared_ptr<OpenedFile>>> files_;
  Guarded<std::unordered_map<Handle, std::shared_ptr<OpenDirState>>> folders_;
};

}  // namespace ckptfs
