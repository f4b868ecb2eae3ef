#include "mount/fuse_operations.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "mount/fuse_answers.h"

namespace ckptfs {
namespace {

double Seconds(std::chrono::milliseconds time) { return static_cast<double>(time.count()) / 1000; }

struct stat StatOf(Ino ino, const Attr& attr) {
  struct stat st {};
  st.st_ino = ino;
  st.st_mode = attr.mode;
  st.st_nlink = 1;  // for folders: "unknown", so that find looks into each
  st.st_uid = attr.uid;
  st.st_gid = attr.gid;
  st.st_size = static_cast<off_t>(attr.size_bytes);
  st.st_blocks = static_cast<blkcnt_t>((attr.size_bytes + 511) / 512);
  st.st_blksize = 4096;
  st.st_mtim = {attr.mtime_unix_ms / 1000, attr.mtime_unix_ms % 1000 * 1'000'000};
  st.st_atim = st.st_mtim;
  st.st_ctim = st.st_mtim;
  return st;
}

fuse_entry_param EntryParam(const Entry& entry) {
  fuse_entry_param param{};
  param.ino = entry.ino;
  param.attr = StatOf(entry.ino, entry.attr);
  param.attr_timeout = Seconds(entry.cache_time);
  param.entry_timeout = Seconds(entry.cache_time);
  return param;
}

OpenMode ModeOf(int flags) {
  OpenMode mode;
  mode.read = (flags & O_ACCMODE) != O_WRONLY;
  mode.write = (flags & O_ACCMODE) != O_RDONLY;
  mode.append = (flags & O_APPEND) != 0;
  mode.truncate = (flags & O_TRUNC) != 0;
  mode.exclusive = (flags & O_EXCL) != 0;
  return mode;
}

void Fill(fuse_file_info* file, const Opened& opened) {
  file->fh = opened.handle;
  file->keep_cache = opened.immutable;
  file->direct_io = !opened.immutable;
  file->noflush = opened.immutable;
}

Reply<void> Ignored() {
  return Reply<void>([](const Result<void>&) {});
}

// The kernel no longer wants what it asked for when the answer says ENOENT.
Reply<Entry> AnswerEntry(fuse_req_t request) {
  Tree* tree = &TreeOf(request);
  return Answer<Entry>(request, [tree](fuse_req_t r, const Entry& entry) {
    fuse_entry_param param = EntryParam(entry);
    if (fuse_reply_entry(r, &param) == -ENOENT) tree->Forget(entry.ino, 1);
  });
}

Reply<Entry> AnswerAttr(fuse_req_t request) {
  return Answer<Entry>(request, [](fuse_req_t r, const Entry& entry) {
    struct stat st = StatOf(entry.ino, entry.attr);
    fuse_reply_attr(r, &st, Seconds(entry.cache_time));
  });
}

void Init(void*, fuse_conn_info* connection) {
  auto want = [&](unsigned capability) {
    if ((connection->capable & capability) != 0) connection->want |= capability;
  };
  want(FUSE_CAP_SPLICE_WRITE);
  want(FUSE_CAP_SPLICE_MOVE);
  want(FUSE_CAP_ATOMIC_O_TRUNC);
  want(FUSE_CAP_READDIRPLUS);
  want(FUSE_CAP_ASYNC_READ);
  want(FUSE_CAP_PARALLEL_DIROPS);
  // A listing of thousands of versions is one pass of readdirplus, always.
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_READDIRPLUS_AUTO);
  // Requests are copied once from the kernel: splicing them would cost more.
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_SPLICE_READ);
  connection->max_write = kMaxWriteBytes;
  connection->max_read = kMaxReadBytes;
  connection->max_readahead = 2 * kMaxReadBytes;
  connection->max_background = 64;
  connection->congestion_threshold = 48;
  connection->time_gran = 1'000'000;
}

void Lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  TreeOf(req).Lookup(CallerOf(req), parent, name, AnswerEntry(req));
}

void Forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups) {
  TreeOf(req).Forget(ino, lookups);
  fuse_reply_none(req);
}

void ForgetMany(fuse_req_t req, size_t count, fuse_forget_data* forgets) {
  for (size_t i = 0; i < count; ++i) TreeOf(req).Forget(forgets[i].ino, forgets[i].nlookup);
  fuse_reply_none(req);
}

void GetAttr(fuse_req_t req, fuse_ino_t ino, fuse_file_info*) {
  TreeOf(req).GetAttr(CallerOf(req), ino, AnswerAttr(req));
}

void SetAttr(fuse_req_t req, fuse_ino_t ino, struct stat* st, int to_set, fuse_file_info* file) {
  AttrChange change;
  if ((to_set & FUSE_SET_ATTR_SIZE) != 0) {
    change.size_bytes = static_cast<uint64_t>(st->st_size);
    if (file != nullptr) change.handle = file->fh;
  }
  change.other = (to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID |
                            FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME)) != 0;
  TreeOf(req).SetAttr(CallerOf(req), ino, change, AnswerAttr(req));
}

void ReadLink(fuse_req_t req, fuse_ino_t ino) {
  TreeOf(req).ReadLink(CallerOf(req), ino,
                       Answer<std::string>(req, [](fuse_req_t r, const std::string& target) {
                         fuse_reply_readlink(r, target.c_str());
                       }));
}

void MakeDir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t) {
  TreeOf(req).MakeDir(CallerOf(req), parent, name, AnswerEntry(req));
}

void MakeLink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
  TreeOf(req).MakeLink(CallerOf(req), parent, name, target, AnswerEntry(req));
}

void RemoveFile(fuse_req_t req, fuse_ino_t parent, const char* name) {
  TreeOf(req).RemoveFile(CallerOf(req), parent, name, AnswerDone(req));
}

void RemoveDir(fuse_req_t req, fuse_ino_t parent, const char* name) {
  TreeOf(req).RemoveDir(CallerOf(req), parent, name, AnswerDone(req));
}

void Rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
            const char* new_name, unsigned flags) {
  if ((flags & ~static_cast<unsigned>(RENAME_NOREPLACE)) != 0)
    return AnswerDone(req)(Fail(Errc::kInvalid, "names are not exchanged here"));
  bool replace = (flags & RENAME_NOREPLACE) == 0;
  TreeOf(req).Rename(CallerOf(req), parent, name, new_parent, new_name, replace, AnswerDone(req));
}

void Create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t, fuse_file_info* info) {
  Tree* tree = &TreeOf(req);
  auto send = [tree, file = *info](fuse_req_t r, const CreatedFile& created) mutable {
    Fill(&file, created.opened);
    fuse_entry_param param = EntryParam(created.entry);
    if (fuse_reply_create(r, &param, &file) != -ENOENT) return;
    tree->Forget(created.entry.ino, 1);
    tree->Release(created.opened.handle, Ignored());
  };
  tree->Create(CallerOf(req), parent, name, ModeOf(info->flags),
               Answer<CreatedFile>(req, std::move(send)));
}

void Open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  Tree* tree = &TreeOf(req);
  auto send = [tree, file = *info](fuse_req_t r, const Opened& opened) mutable {
    Fill(&file, opened);
    if (fuse_reply_open(r, &file) == -ENOENT) tree->Release(opened.handle, Ignored());
  };
  tree->Open(CallerOf(req), ino, ModeOf(info->flags), Answer<Opened>(req, std::move(send)));
}

// Pieces of the store's files go to the kernel by splice, without a copy in us.
void SendPieces(fuse_req_t req, const ReadData& data) {
  size_t bytes = sizeof(fuse_bufvec) + (data.pieces.size() - 1) * sizeof(fuse_buf);
  std::vector<uint64_t> memory((bytes + 7) / 8);
  auto* buffers = reinterpret_cast<fuse_bufvec*>(memory.data());
  buffers->count = data.pieces.size();
  for (size_t i = 0; i < data.pieces.size(); ++i) {
    fuse_buf& buffer = buffers->buf[i];
    buffer.size = data.pieces[i].size_bytes;
    buffer.flags = static_cast<fuse_buf_flags>(FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK);
    buffer.fd = data.pieces[i].fd;
    buffer.pos = static_cast<off_t>(data.pieces[i].offset);
  }
  fuse_reply_data(req, buffers, FUSE_BUF_SPLICE_MOVE);
}

void Read(fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info* file) {
  auto send = [](fuse_req_t r, const ReadData& data) {
    if (data.pieces.empty())
      fuse_reply_buf(r, data.text.data(), data.text.size());
    else
      SendPieces(r, data);
  };
  // A blocked read that is interrupted says EINTR, as read(2) does.
  TreeOf(req).Read(CallerOf(req), file->fh, static_cast<uint64_t>(offset), size,
                   Answer<ReadData>(req, send, EINTR));
}

void Write(fuse_req_t req, fuse_ino_t, const char* bytes, size_t size, off_t offset,
           fuse_file_info* file) {
  TreeOf(req).Write(CallerOf(req), file->fh, static_cast<uint64_t>(offset), AsBytes({bytes, size}),
                    Answer<size_t>(req, [](fuse_req_t r, size_t n) { fuse_reply_write(r, n); }));
}

void Flush(fuse_req_t req, fuse_ino_t, fuse_file_info* file) {
  TreeOf(req).Flush(file->fh, AnswerDone(req));
}

void Release(fuse_req_t req, fuse_ino_t, fuse_file_info* file) {
  TreeOf(req).Release(file->fh, AnswerDone(req));
}

// Nothing is written that is not already where it should be, or is checked as a
// whole when it is taken over as a version.
void Sync(fuse_req_t req, fuse_ino_t, int, fuse_file_info*) { AnswerDone(req)({}); }

void Poll(fuse_req_t req, fuse_ino_t, fuse_file_info* file, fuse_pollhandle* handle) {
  std::function<void()> wake;
  if (handle != nullptr) {
    std::shared_ptr<fuse_pollhandle> held(handle, fuse_pollhandle_destroy);
    wake = [held] { fuse_lowlevel_notify_poll(held.get()); };
  }
  auto ready = TreeOf(req).Poll(file->fh, wake);
  auto reply = Answer<unsigned>(req, [](fuse_req_t r, unsigned n) { fuse_reply_poll(r, n); });
  if (!ready) return reply(ready.error());
  reply(static_cast<unsigned>(*ready) & 0xffff);
}

void OpenDir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  Tree* tree = &TreeOf(req);
  auto send = [tree, file = *info](fuse_req_t r, Handle handle) mutable {
    file.fh = handle;
    if (fuse_reply_open(r, &file) == -ENOENT) tree->ReleaseDir(handle);
  };
  tree->OpenDir(CallerOf(req), ino, Answer<Handle>(req, std::move(send)));
}

// The offset of an entry is its place among those of the folder, "." and ".." first.
void ListDir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, uint64_t handle,
             bool with_attr) {
  constexpr off_t kDots = 2;
  std::vector<char> out(size);
  size_t used = 0;
  auto add = [&](const std::string& name, const fuse_entry_param& param, off_t next) {
    size_t left = size - used;
    size_t needs = with_attr
                       ? fuse_add_direntry_plus(req, &out[used], left, name.c_str(), &param, next)
                       : fuse_add_direntry(req, &out[used], left, name.c_str(), &param.attr, next);
    if (needs > left) return false;
    used += needs;
    return true;
  };
  fuse_entry_param dot{};
  dot.attr.st_ino = ino;
  dot.attr.st_mode = S_IFDIR;
  bool room = true;
  for (; room && offset < kDots; offset += room ? 1 : 0)
    room = add(offset == 0 ? "." : "..", dot, offset + 1);
  auto reply =
      Answer<size_t>(req, [&out](fuse_req_t r, size_t n) { fuse_reply_buf(r, out.data(), n); });
  if (!room) return reply(used);
  auto read = TreeOf(req).ReadDir(
      CallerOf(req), handle, static_cast<uint64_t>(offset - kDots), with_attr,
      [&](const std::string& name, const Entry& entry, uint64_t next) {
        return used < size && add(name, EntryParam(entry), static_cast<off_t>(next) + kDots);
      });
  if (!read && used == 0) return reply(read.error());
  reply(used);
}

void ReadDir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* file) {
  ListDir(req, ino, size, offset, file->fh, false);
}

void ReadDirPlus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* file) {
  ListDir(req, ino, size, offset, file->fh, true);
}

void ReleaseDir(fuse_req_t req, fuse_ino_t, fuse_file_info* file) {
  TreeOf(req).ReleaseDir(file->fh);
  AnswerDone(req)({});
}

void Access(fuse_req_t req, fuse_ino_t ino, int mask) {
  TreeOf(req).Access(CallerOf(req), ino, mask, AnswerDone(req));
}

void StatFs(fuse_req_t req, fuse_ino_t) {
  auto reply = Answer<struct statvfs>(
      req, [](fuse_req_t r, const struct statvfs& st) { fuse_reply_statfs(r, &st); });
  struct statvfs st {};
  st.f_bsize = 4096;
  st.f_frsize = 4096;
  st.f_namemax = 255;
  reply(st);
}

// cp -a and rsync ask: there are none, and none are kept.
void NoXattr(fuse_req_t req) {
  AnswerDone(req)(Fail(Errc::kUnsupported, "no extended attributes"));
}

fuse_lowlevel_ops MakeOperations() {
  fuse_lowlevel_ops ops{};
  ops.init = Init;
  ops.lookup = Lookup;
  ops.forget = Forget;
  ops.forget_multi = ForgetMany;
  ops.getattr = GetAttr;
  ops.setattr = SetAttr;
  ops.readlink = ReadLink;
  ops.mkdir = MakeDir;
  ops.symlink = MakeLink;
  ops.unlink = RemoveFile;
  ops.rmdir = RemoveDir;
  ops.rename = Rename;
  ops.create = Create;
  ops.open = Open;
  ops.read = Read;
  ops.write = Write;
  ops.flush = Flush;
  ops.release = Release;
  ops.fsync = Sync;
  ops.fsyncdir = Sync;
  ops.poll = Poll;
  ops.opendir = OpenDir;
  ops.readdir = ReadDir;
  ops.readdirplus = ReadDirPlus;
  ops.releasedir = ReleaseDir;
  ops.access = Access;
  ops.statfs = StatFs;
  ops.setxattr = [](fuse_req_t r, fuse_ino_t, const char*, const char*, size_t, int) {
    NoXattr(r);
  };
  ops.getxattr = [](fuse_req_t r, fuse_ino_t, const char*, size_t) { NoXattr(r); };
  ops.listxattr = [](fuse_req_t r, fuse_ino_t, size_t) { NoXattr(r); };
  ops.removexattr = [](fuse_req_t r, fuse_ino_t, const char*) { NoXattr(r); };
  return ops;
}

}  // namespace

const fuse_lowlevel_ops& FuseOperations() {
  static const fuse_lowlevel_ops kOperations = MakeOperations();
  return kOperations;
}

}  // namespace ckptfs
