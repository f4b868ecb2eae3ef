#include "fs/version_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "fs/control_grammar.h"

namespace ckptfs {
namespace {

// A file of a committed version, read where it lies in the store.
class VersionFile : public OpenedFile {
 public:
  explicit VersionFile(std::shared_ptr<const ImageFile> file) : file_(std::move(file)) {}
  bool immutable() const override { return true; }

  void Read(uint64_t offset, size_t limit_bytes, const Caller&,
            const Reply<ReadData>& reply) override {
    ReadData data;
    data.holder = file_;
    size_t left = limit_bytes;
    while (left > 0 && offset < file_->size_bytes()) {
      auto piece = file_->At(offset, left);
      if (!piece) return reply(piece.error());
      if (piece->size_bytes == 0) break;
      offset += piece->size_bytes;
      left -= std::min<uint64_t>(left, piece->size_bytes);
      if (!data.pieces.empty() && data.pieces.back().fd == piece->fd &&
          data.pieces.back().offset + data.pieces.back().size_bytes == piece->offset)
        data.pieces.back().size_bytes += piece->size_bytes;
      else
        data.pieces.push_back(*piece);
    }
    reply(std::move(data));
  }

 private:
  std::shared_ptr<const ImageFile> file_;
};

void Check(const View* view, const std::string& job, uint64_t version, const Caller& caller) {
  view->admissions().Post([view, job, version, caller] {
    if (!view->copying().CheckBegins(job, version)) return;
    auto admitted = view->agent().AdmitImage(job, version, caller);
    // kBusy: not every byte is there yet. Anything else the user should know of.
    if (!admitted && admitted.error().code() != Errc::kBusy)
      (void)view->Noted(job, fmt::format("copying in images/{}/{}", job, version),
                        admitted.error());
  });
}

// A file of an image that is being copied in.
class IncomingOpenFile : public OpenedFile {
 public:
  IncomingOpenFile(const View* view, std::string job, uint64_t version, Fd fd, bool writes,
                   const Caller& opener)
      : view_(view),
        job_(std::move(job)),
        version_(version),
        fd_(std::move(fd)),
        writes_(writes),
        opener_(opener) {
    if (writes_) view_->copying().WriterCame(job_, version_);
  }
  ~IncomingOpenFile() override { IncomingOpenFile::Release(); }
  IncomingOpenFile(const IncomingOpenFile&) = delete;
  IncomingOpenFile& operator=(const IncomingOpenFile&) = delete;

  void Read(uint64_t offset, size_t limit_bytes, const Caller&,
            const Reply<ReadData>& reply) override {
    std::string text(limit_bytes, '\0');
    ssize_t n = ::pread(fd_.get(), text.data(), text.size(), static_cast<off_t>(offset));
    if (n < 0) return reply(Error::FromErrno(errno, "read"));
    text.resize(static_cast<size_t>(n));
    reply(ReadData{std::move(text), {}, nullptr});
  }

  void Write(uint64_t offset, Bytes bytes, const Caller&, const Reply<size_t>& reply) override {
    auto written = WriteAll(fd_.get(), bytes, static_cast<off_t>(offset));
    if (!written)
      return reply(view_->Noted(job_, fmt::format("copying in images/{}/{}", job_, version_),
                                written.error()));
    reply(bytes.size());
  }

  Result<void> Truncate(uint64_t size_bytes) override {
    if (::ftruncate(fd_.get(), static_cast<off_t>(size_bytes)) != 0)
      return Error::FromErrno(errno, "truncate");
    return {};
  }

  void Release() override {
    if (!fd_.valid()) return;
    fd_.Reset();
    if (writes_ && view_->copying().WriterWent(job_, version_))
      Check(view_, job_, version_, opener_);
  }

 private:
  const View* view_;
  std::string job_;
  uint64_t version_;
  Fd fd_;
  bool writes_;
  Caller opener_;
};

int OpenFlags(const OpenMode& mode) {
  int flags = mode.write ? mode.read ? O_RDWR : O_WRONLY : O_RDONLY;
  if (mode.truncate) flags |= O_TRUNC;
  return flags;
}

Result<std::shared_ptr<OpenedFile>> OpenIncoming(const View* view, const std::string& job,
                                                 uint64_t version, std::string_view name,
                                                 int extra_flags, const OpenMode& mode,
                                                 const Caller& caller) {
  auto fd = view->store().OpenIncoming(job, version, name, OpenFlags(mode) | extra_flags);
  if (!fd) return view->Noted(job, fmt::format("images/{}/{}/{}", job, version, name), fd.error());
  return std::shared_ptr<OpenedFile>(
      std::make_shared<IncomingOpenFile>(view, job, version, std::move(*fd), mode.write, caller));
}

// A file of images/JOB/N, committed (`digest` of its version) or incoming.
class ImageFileNode : public Node {
 public:
  ImageFileNode(const View* view, std::string key, std::string job, uint64_t version,
                std::string name, std::optional<VersionFacts> facts, uint64_t size_bytes)
      : view_(view),
        key_(std::move(key)),
        job_(std::move(job)),
        version_(version),
        name_(std::move(name)),
        facts_(std::move(facts)),
        size_bytes_(size_bytes) {}
  const std::string& key() const override { return key_; }
  std::chrono::milliseconds cache_time() const override {
    return std::chrono::milliseconds(facts_ ? 1000 : 0);
  }

  Result<Attr> GetAttr(const Caller& caller) const override {
    if (auto may = view_->agent().CheckImageAccess(job_, version_, caller); !may)
      return Fail(Errc::kNotFound, "no image {}/{}", job_, version_);
    if (facts_) {
      auto now = view_->copying().CachedFacts(job_, version_);
      if (!now || now->digest != facts_->digest)
        return Fail(Errc::kNotFound, "no image {}/{}", job_, version_);
      return Attr{S_IFREG | 0600, facts_->uid, facts_->gid, size_bytes_, facts_->created_unix_ms};
    }
    return IncomingAttr(caller);
  }

  Result<std::shared_ptr<OpenedFile>> Open(const OpenMode& mode,
                                           const Caller& caller) const override {
    if (auto may = view_->agent().CheckImageAccess(job_, version_, caller); !may)
      return may.error();
    if (!facts_ && view_->store().Incoming(job_, version_))
      return OpenIncoming(view_, job_, version_, name_, 0, mode, caller);
    if (mode.write) return Fail(Errc::kReadOnly, "a version never changes");
    auto file = view_->store().OpenFile(job_, version_, name_);
    if (!file) return file.error();
    return std::shared_ptr<OpenedFile>(std::make_shared<VersionFile>(std::move(*file)));
  }

  Result<void> Truncate(uint64_t size_bytes, const Caller& caller) const override {
    auto file = Open({.read = false, .write = true}, caller);
    if (!file) return file.error();
    auto done = (*file)->Truncate(size_bytes);
    (*file)->Release();
    return done;
  }

  // Owners, modes and times follow from the image; cp -a, rsync and tar may say them.
  Result<void> ChangeAttr(const Caller&) const override { return {}; }

 private:
  // The name stays good when the image becomes a version meanwhile: whoever
  // copied it in still sets times by it.
  Result<Attr> IncomingAttr(const Caller& caller) const {
    Attr attr{S_IFREG | 0600, caller.uid, caller.gid, 0, view_->started_unix_ms()};
    auto find = [&](const std::vector<IncomingFile>& files) {
      auto at = std::find_if(files.begin(), files.end(),
                             [&](const IncomingFile& file) { return file.name == name_; });
      if (at != files.end()) attr.size_bytes = at->size_bytes;
      return at != files.end();
    };
    if (auto incoming = view_->store().Incoming(job_, version_)) {
      if (find(incoming->files)) return attr;
    } else if (auto files = view_->store().Files(job_, version_)) {
      if (find(*files)) return attr;
    }
    return Fail(Errc::kNotFound, "no file {} in {}/{}", name_, job_, version_);
  }

  const View* view_;
  std::string key_;
  std::string job_;
  uint64_t version_;
  std::string name_;
  std::optional<VersionFacts> facts_;
  uint64_t size_bytes_;
};

}  // namespace

Result<std::optional<VersionFacts>> VersionFolder::State(const Caller& caller) const {
  Error gone = Fail(Errc::kNotFound, "no version {} of {}", version_, job_);
  auto facts = view_->copying().CachedFacts(job_, version_);
  if (facts) {
    if (caller.uid != 0 && caller.uid != facts->uid) return gone;
    return std::optional<VersionFacts>(*facts);
  }
  if (!view_->agent().CheckImageAccess(job_, version_, caller)) return gone;
  if (!view_->store().Incoming(job_, version_)) return gone;
  return std::optional<VersionFacts>();
}

Result<Attr> VersionFolder::GetAttr(const Caller& caller) const {
  auto facts = State(caller);
  if (!facts) return facts.error();
  Attr attr{S_IFDIR | 0700, caller.uid, caller.gid, 0, view_->started_unix_ms()};
  if (*facts) {
    attr.uid = (*facts)->uid;
    attr.gid = (*facts)->gid;
    attr.mtime_unix_ms = (*facts)->created_unix_ms;
  }
  return attr;
}

NodePtr VersionFolder::FileNodeOf(const std::optional<VersionFacts>& facts,
                                  const IncomingFile& file) const {
  // The digest in the key gives other bytes another inode, also under a number
  // that was deleted and copied in again: caches of contents are never stale.
  std::string key = fmt::format("{}/{}@{}", key_, file.name, facts ? facts->digest : "incoming");
  return std::make_shared<ImageFileNode>(view_, std::move(key), job_, version_, file.name, facts,
                                         file.size_bytes);
}

Result<std::vector<DirEntry>> VersionFolder::List(const Caller& caller) const {
  auto facts = State(caller);
  if (!facts) return facts.error();
  std::vector<IncomingFile> files;
  if (*facts) {
    auto committed = view_->store().Files(job_, version_);
    if (!committed) return committed.error();
    files = std::move(*committed);
  } else {
    auto incoming = view_->store().Incoming(job_, version_);
    if (!incoming) return incoming.error();
    files = std::move(incoming->files);
  }
  std::vector<DirEntry> out;
  for (const IncomingFile& file : files)
    if (!*facts || !view_->copying().IsHidden(job_, version_, file.name))
      out.push_back({file.name, FileNodeOf(*facts, file)});
  return out;
}

Result<NodePtr> VersionFolder::Lookup(std::string_view name, const Caller& caller) const {
  auto files = List(caller);
  if (!files) return files.error();
  for (DirEntry& file : *files)
    if (file.name == name) return std::move(file.node);
  return Fail(Errc::kNotFound, "no file {} in {}/{}", Quoted(name), job_, version_);
}

Result<bool> VersionFolder::IsEmpty(const Caller& caller) const {
  auto files = List(caller);
  if (!files) return files.error();
  return files->empty();
}

Result<Node::Created> VersionFolder::Create(std::string_view name, const OpenMode& mode,
                                            const Caller& caller) const {
  auto facts = State(caller);
  if (!facts) return facts.error();
  if (*facts) return Fail(Errc::kReadOnly, "a version never changes");
  if (mode.exclusive && Lookup(name, caller)) return Fail(Errc::kExists, "{} exists", Quoted(name));
  auto file = OpenIncoming(view_, job_, version_, name, O_CREAT, mode, caller);
  if (!file) return file.error();
  return Created{FileNodeOf(std::nullopt, {std::string(name), 0}), std::move(*file)};
}

Result<void> VersionFolder::RemoveFile(std::string_view name, const Caller& caller) const {
  auto facts = State(caller);
  if (!facts) return facts.error();
  if (!*facts) return view_->store().RemoveIncomingFile(job_, version_, name);
  if (auto may = view_->agent().CheckImageAccess(job_, version_, caller); !may) return may.error();
  if (auto file = Lookup(name, caller); !file) return file.error();
  view_->copying().Hide(job_, version_, name);
  return {};
}

Result<void> VersionFolder::Rename(std::string_view from, const Node& to_folder,
                                   std::string_view to, bool replace, const Caller& caller) const {
  auto facts = State(caller);
  if (!facts) return facts.error();
  if (*facts) return Fail(Errc::kReadOnly, "a version never changes");
  if (to_folder.key() != key_) return Fail(Errc::kNotYours, "files of an image stay in its folder");
  if (from == to) return {};
  if (!replace && Lookup(to, caller)) return Fail(Errc::kExists, "{} exists", Quoted(to));
  auto renamed = view_->store().RenameIncoming(job_, version_, from, to);
  if (!renamed)
    return view_->Noted(job_, fmt::format("images/{}/{}/{}", job_, version_, to), renamed.error());
  // rsync has closed the file before: this may be the last that was missing.
  view_->copying().WriterCame(job_, version_);
  if (view_->copying().WriterWent(job_, version_)) Check(view_, job_, version_, caller);
  return renamed;
}

}  // namespace ckptfs
