#include "fs/tree.h"

#include <unistd.h>

namespace ckptfs {
namespace {

constexpr size_t kNameBytes = 255;

Result<void> CheckLength(std::string_view name) {
  if (name.size() > kNameBytes) return Fail(Errc::kNameTooLong, "the name is too long");
  return {};
}

}  // namespace

Tree::Tree(NodePtr root, Workers* workers) : inodes_(std::move(root)), workers_(workers) {}

Result<NodePtr> Tree::Find(Ino ino) const {
  NodePtr node = inodes_.Find(ino);
  if (!node) return Fail(Errc::kNotFound, "no inode {}", ino);
  return node;
}

Result<std::shared_ptr<OpenedFile>> Tree::FileOf(Handle handle) const {
  auto files = files_.Lock();
  auto at = files->find(handle);
  if (at == files->end()) return Fail(Errc::kInternal, "no open file {}", handle);
  return at->second;
}

Result<Entry> Tree::EntryOf(const NodePtr& node, const Caller& caller) {
  auto attr = node->GetAttr(caller);
  if (!attr) return attr.error();
  return Entry{inodes_.Ref(node), *attr, node->cache_time()};
}

Opened Tree::Keep(std::shared_ptr<OpenedFile> file) {
  Opened opened{next_handle_++, file->immutable()};
  files_.Lock()->emplace(opened.handle, std::move(file));
  return opened;
}

template <typename T, typename Task>
void Tree::Later(Ino ino, const Reply<T>& reply, Task task) {
  auto node = Find(ino);
  if (!node) return reply(node.error());
  workers_->Post([node = *node, reply, task = std::move(task)] { reply(task(node)); });
}

template <typename T, typename Task>
void Tree::ChangeFile(Ino ino, const Reply<T>& reply, Task task) {
  auto node = Find(ino);
  if (!node) return reply(node.error());
  if ((*node)->may_block()) return Later(ino, reply, std::move(task));
  reply(task(*node));
}

void Tree::Lookup(const Caller& caller, Ino parent, std::string_view name,
                  const Reply<Entry>& reply) {
  auto node = Find(parent);
  if (!node) return reply(node.error());
  if (auto fits = CheckLength(name); !fits) return reply(fits.error());
  auto child = (*node)->Lookup(name, caller);
  if (!child) return reply(child.error());
  reply(EntryOf(*child, caller));
}

void Tree::Forget(Ino ino, uint64_t lookups) { inodes_.Forget(ino, lookups); }

void Tree::GetAttr(const Caller& caller, Ino ino, const Reply<Entry>& reply) {
  auto node = Find(ino);
  if (!node) return reply(node.error());
  auto attr = (*node)->GetAttr(caller);
  if (!attr) return reply(attr.error());
  reply(Entry{ino, *attr, (*node)->cache_time()});
}

void Tree::SetAttr(const Caller& caller, Ino ino, const AttrChange& change,
                   const Reply<Entry>& reply) {
  std::shared_ptr<OpenedFile> file;
  if (change.handle) {
    auto found = FileOf(*change.handle);
    if (!found) return reply(found.error());
    file = *found;
  }
  ChangeFile(ino, reply, [=](const NodePtr& node) -> Result<Entry> {
    if (change.size_bytes) {
      auto done =
          file ? file->Truncate(*change.size_bytes) : node->Truncate(*change.size_bytes, caller);
      if (!done) return done.error();
    }
    if (change.other)
      if (auto done = node->ChangeAttr(caller); !done) return done.error();
    auto attr = node->GetAttr(caller);
    if (!attr) return attr.error();
    return Entry{ino, *attr, node->cache_time()};
  });
}

void Tree::ReadLink(const Caller& caller, Ino ino, const Reply<std::string>& reply) {
  auto node = Find(ino);
  if (!node) return reply(node.error());
  reply((*node)->ReadLink(caller));
}

void Tree::MakeDir(const Caller& caller, Ino parent, std::string_view name,
                   const Reply<Entry>& reply) {
  if (auto fits = CheckLength(name); !fits) return reply(fits.error());
  Later(parent, reply,
        [this, caller, name = std::string(name)](const NodePtr& node) -> Result<Entry> {
          auto made = node->MakeDir(name, caller);
          if (!made) return made.error();
          return EntryOf(*made, caller);
        });
}

void Tree::MakeLink(const Caller& caller, Ino parent, std::string_view name,
                    std::string_view target, const Reply<Entry>& reply) {
  Later(parent, reply,
        [this, caller, name = std::string(name),
         target = std::string(target)](const NodePtr& node) -> Result<Entry> {
          auto made = node->MakeLink(name, target, caller);
          if (!made) return made.error();
          return EntryOf(*made, caller);
        });
}

void Tree::RemoveDir(const Caller& caller, Ino parent, std::string_view name,
                     const Reply<void>& reply) {
  Later(parent, reply, [caller, name = std::string(name)](const NodePtr& node) {
    return node->RemoveDir(name, caller);
  });
}

void Tree::RemoveFile(const Caller& caller, Ino parent, std::string_view name,
                      const Reply<void>& reply) {
  Later(parent, reply, [caller, name = std::string(name)](const NodePtr& node) {
    return node->RemoveFile(name, caller);
  });
}

void Tree::Rename(const Caller& caller, Ino parent, std::string_view name, Ino new_parent,
                  std::string_view new_name, bool replace, const Reply<void>& reply) {
  auto target = Find(new_parent);
  if (!target) return reply(target.error());
  if (auto fits = CheckLength(new_name); !fits) return reply(fits.error());
  Later(parent, reply,
        [caller, target = *target, name = std::string(name), new_name = std::string(new_name),
         replace](const NodePtr& node) {
          return node->Rename(name, *target, new_name, replace, caller);
        });
}

void Tree::Create(const Caller& caller, Ino parent, std::string_view name, const OpenMode& mode,
                  const Reply<CreatedFile>& reply) {
  if (auto fits = CheckLength(name); !fits) return reply(fits.error());
  Later(parent, reply,
        [this, caller, mode, name = std::string(name)](const NodePtr& node) -> Result<CreatedFile> {
          auto created = node->Create(name, mode, caller);
          if (!created) return created.error();
          auto entry = EntryOf(created->node, caller);
          if (!entry) {
            created->file->Release();
            return entry.error();
          }
          return CreatedFile{*entry, Keep(std::move(created->file))};
        });
}

void Tree::Open(const Caller& caller, Ino ino, const OpenMode& mode, const Reply<Opened>& reply) {
  auto open = [this, caller, mode](const NodePtr& node) -> Result<Opened> {
    auto file = node->Open(mode, caller);
    if (!file) return file.error();
    return Keep(std::move(*file));
  };
  if (mode.write) return ChangeFile(ino, reply, std::move(open));
  auto node = Find(ino);
  if (!node) return reply(node.error());
  reply(open(*node));
}

void Tree::Read(const Caller& caller, Handle handle, uint64_t offset, size_t limit_bytes,
                const Reply<ReadData>& reply) {
  auto file = FileOf(handle);
  if (!file) return reply(file.error());
  (*file)->Read(offset, limit_bytes, caller, reply);
}

void Tree::Write(const Caller& caller, Handle handle, uint64_t offset, Bytes bytes,
                 const Reply<size_t>& reply) {
  auto file = FileOf(handle);
  if (!file) return reply(file.error());
  (*file)->Write(offset, bytes, caller, reply);
}

void Tree::Flush(Handle handle, const Reply<void>& reply) {
  auto file = FileOf(handle);
  if (!file) return reply(file.error());
  reply((*file)->Flush());
}

Result<short> Tree::Poll(Handle handle, const std::function<void()>& wake) {
  auto file = FileOf(handle);
  if (!file) return file.error();
  return (*file)->Poll(wake);
}

void Tree::Release(Handle handle, const Reply<void>& reply) {
  std::shared_ptr<OpenedFile> file;
  {
    auto files = files_.Lock();
    auto at = files->find(handle);
    if (at != files->end()) {
      file = std::move(at->second);
      files->erase(at);
    }
  }
  if (file) file->Release();
  reply({});
}

void Tree::OpenDir(const Caller& caller, Ino ino, const Reply<Handle>& reply) {
  auto node = Find(ino);
  if (!node) return reply(node.error());
  auto entries = (*node)->List(caller);
  if (!entries) return reply(entries.error());
  auto folder = std::make_shared<OpenDirState>();
  folder->node = *node;
  *folder->entries.Lock() = std::move(*entries);
  Handle handle = next_handle_++;
  folders_.Lock()->emplace(handle, std::move(folder));
  reply(handle);
}

Result<void> Tree::ReadDir(const Caller& caller, Handle handle, uint64_t offset, bool with_attr,
                           const AddEntry& add) {
  std::shared_ptr<OpenDirState> folder;
  {
    auto folders = folders_.Lock();
    auto at = folders->find(handle);
    if (at == folders->end()) return Fail(Errc::kInternal, "no open folder {}", handle);
    folder = at->second;
  }
  auto entries = folder->entries.Lock();
  for (; offset < entries->size(); ++offset) {
    const DirEntry& child = (*entries)[offset];
    Entry entry;
    entry.cache_time = child.node->cache_time();
    entry.attr.mode = child.node->type();
    if (with_attr) {
      auto attr = child.node->GetAttr(caller);
      if (!attr) continue;  // gone since the folder was opened
      entry.attr = *attr;
      entry.ino = inodes_.Ref(child.node);
    } else {
      entry.ino = inodes_.NumberOf(*child.node);
    }
    if (!add(child.name, entry, offset + 1)) {
      if (with_attr) inodes_.Forget(entry.ino, 1);
      break;
    }
  }
  return {};
}

void Tree::ReleaseDir(Handle handle) { folders_.Lock()->erase(handle); }

void Tree::Access(const Caller& caller, Ino ino, int mask, const Reply<void>& reply) {
  auto node = Find(ino);
  if (!node) return reply(node.error());
  auto attr = (*node)->GetAttr(caller);
  if (!attr) return reply(attr.error());
  if (caller.uid == 0) return reply({});
  mode_t shift = caller.uid == attr->uid ? 6 : caller.gid == attr->gid ? 3 : 0;
  mode_t allowed = (attr->mode >> shift) & 7;
  if ((allowed & static_cast<mode_t>(mask)) != static_cast<mode_t>(mask))
    return reply(Fail(Errc::kAccess, "not allowed"));
  reply({});
}

}  // namespace ckptfs
