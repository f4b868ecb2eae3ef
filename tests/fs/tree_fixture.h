// The tree over the fakes, asked as the kernel asks it: by lookups from the root.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <condition_variable>

#include "tests/base/eventually.h"
#include "tests/fs/fake_tree.h"

namespace ckptfs {

// A Reply whose answer can be looked at and waited for.
template <typename T>
class Waiting {
 public:
  Reply<T> reply() {
    return Reply<T>(
        [state = state_](Result<T> result) {
          auto locked = state->result.Lock();
          EXPECT_FALSE(locked->has_value()) << "answered twice";
          locked->emplace(std::move(result));
          state->changed.notify_all();
        },
        [state = state_](std::weak_ptr<Interruption> what) { *state->what.Lock() = what; });
  }
  bool answered() const { return state_->result.Lock()->has_value(); }
  Result<T> Get() {
    auto locked = state_->result.Lock();
    if (!locked.WaitFor(state_->changed, std::chrono::seconds(60),
                        [&] { return locked->has_value(); }))
      return Fail(Errc::kTimedOut, "no answer");
    return **locked;
  }
  bool can_interrupt() const { return state_->what.Lock()->lock() != nullptr; }
  void Interrupt() {
    if (auto what = state_->what.Lock()->lock()) what->Interrupt();
  }

 private:
  struct State {
    Guarded<std::optional<Result<T>>> result;
    Guarded<std::weak_ptr<Interruption>> what;
    std::condition_variable changed;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

class TreeTest : public testing::Test, protected FakeTree {
 protected:
  ~TreeTest() override {
    EndWorkers();
    EXPECT_EQ(tree_->open_files(), 0u) << "a handle leaked";
  }

  // Looks `path` up from the root and forgets it again but for the last inode.
  Result<Entry> Walk(const std::string& path, const Caller& caller) {
    Entry at{kRootIno, {}, {}};
    for (size_t start = 0; start < path.size();) {
      size_t end = std::min(path.find('/', start), path.size());
      Waiting<Entry> next;
      tree_->Lookup(caller, at.ino, path.substr(start, end - start), next.reply());
      auto found = next.Get();
      tree_->Forget(at.ino, 1);
      if (!found) return found.error();
      at = *found;
      start = end + 1;
    }
    return at;
  }
  static std::pair<std::string, std::string> Split(const std::string& path) {
    size_t slash = path.rfind('/');
    if (slash == std::string::npos) return {"", path};
    return {path.substr(0, slash), path.substr(slash + 1)};
  }

  Result<Attr> Stat(const std::string& path, const Caller& caller = fake::Alice()) {
    auto at = Walk(path, caller);
    if (!at) return at.error();
    tree_->Forget(at->ino, 1);
    return at->attr;
  }
  Result<Handle> Open(const std::string& path, OpenMode mode, const Caller& caller) {
    auto at = Walk(path, caller);
    if (!at) return at.error();
    Waiting<Opened> opened;
    tree_->Open(caller, at->ino, mode, opened.reply());
    auto result = opened.Get();
    tree_->Forget(at->ino, 1);
    if (!result) return result.error();
    return result->handle;
  }
  Result<void> Close(Handle handle) {
    Waiting<void> flushed, released;
    tree_->Flush(handle, flushed.reply());
    auto result = flushed.Get();
    tree_->Release(handle, released.reply());
    EXPECT_TRUE(released.Get().ok());
    return result;
  }
  static std::string TextOf(const ReadData& data) {
    std::string text = data.text;
    for (const ImageFile::Piece& piece : data.pieces) {
      std::string part(piece.size_bytes, '\0');
      EXPECT_EQ(::pread(piece.fd, part.data(), part.size(), static_cast<off_t>(piece.offset)),
                static_cast<ssize_t>(part.size()));
      text += part;
    }
    return text;
  }
  Result<std::string> ReadAt(Handle handle, uint64_t offset, size_t limit_bytes = 1 << 20) {
    Waiting<ReadData> data;
    tree_->Read(fake::Alice(), handle, offset, limit_bytes, data.reply());
    auto result = data.Get();
    if (!result) return result.error();
    return TextOf(*result);
  }
  Result<std::string> Cat(const std::string& path, const Caller& caller = fake::Alice()) {
    auto handle = Open(path, {}, caller);
    if (!handle) return handle.error();
    std::string text;
    for (;;) {
      auto part = ReadAt(*handle, text.size());
      if (!part) {
        (void)Close(*handle);
        return part.error();
      }
      if (part->empty()) break;
      text += *part;
    }
    (void)Close(*handle);
    return text;
  }
  static OpenMode ForWriting() { return {.read = false, .write = true, .truncate = true}; }
  Result<void> WriteAt(Handle handle, uint64_t offset, std::string_view text,
                       const Caller& caller = fake::Alice()) {
    Waiting<size_t> written;
    tree_->Write(caller, handle, offset, AsBytes(text), written.reply());
    auto result = written.Get();
    if (!result) return result.error();
    EXPECT_EQ(*result, text.size());
    return {};
  }
  // `echo TEXT > PATH`
  Result<void> Echo(const std::string& path, std::string_view text,
                    const Caller& caller = fake::Alice()) {
    auto handle = Open(path, ForWriting(), caller);
    if (!handle) return handle.error();
    auto written = WriteAt(*handle, 0, text, caller);
    auto closed = Close(*handle);
    return written ? closed : written;
  }
  // open(O_CREAT|O_EXCL), write, close: as cp does for what is not there.
  Result<void> CreateWith(const std::string& path, std::string_view text,
                          const Caller& caller = fake::Alice()) {
    auto [folder, name] = Split(path);
    auto at = Walk(folder, caller);
    if (!at) return at.error();
    Waiting<CreatedFile> created;
    OpenMode mode = ForWriting();
    mode.exclusive = true;
    tree_->Create(caller, at->ino, name, mode, created.reply());
    auto file = created.Get();
    tree_->Forget(at->ino, 1);
    if (!file) return file.error();
    auto written = text.empty() ? Result<void>() : WriteAt(file->opened.handle, 0, text, caller);
    auto closed = Close(file->opened.handle);
    tree_->Forget(file->entry.ino, 1);
    return written ? closed : written;
  }
  template <typename Call>
  Result<void> InFolder(const std::string& path, const Caller& caller, Call call) {
    auto [folder, name] = Split(path);
    auto at = Walk(folder, caller);
    if (!at) return at.error();
    Waiting<void> done;
    call(at->ino, name, done.reply());
    auto result = done.Get();
    tree_->Forget(at->ino, 1);
    return result;
  }
  Result<void> Rmdir(const std::string& path, const Caller& caller = fake::Alice()) {
    return InFolder(path, caller, [&](Ino ino, const std::string& name, Reply<void> reply) {
      tree_->RemoveDir(caller, ino, name, reply);
    });
  }
  Result<void> Unlink(const std::string& path, const Caller& caller = fake::Alice()) {
    return InFolder(path, caller, [&](Ino ino, const std::string& name, Reply<void> reply) {
      tree_->RemoveFile(caller, ino, name, reply);
    });
  }
  Result<void> Rename(const std::string& path, const std::string& to,
                      const Caller& caller = fake::Alice()) {
    return InFolder(path, caller, [&](Ino ino, const std::string& name, Reply<void> reply) {
      tree_->Rename(caller, ino, name, ino, to, true, reply);
    });
  }
  Result<void> Mkdir(const std::string& path, const Caller& caller = fake::Alice()) {
    return InFolder(path, caller, [&](Ino ino, const std::string& name, Reply<void> reply) {
      Waiting<Entry> made;
      tree_->MakeDir(caller, ino, name, made.reply());
      auto entry = made.Get();
      if (entry) tree_->Forget(entry->ino, 1);
      reply(entry ? Result<void>() : Result<void>(entry.error()));
    });
  }
  Result<std::vector<std::string>> Ls(const std::string& path,
                                      const Caller& caller = fake::Alice()) {
    auto at = Walk(path, caller);
    if (!at) return at.error();
    Waiting<Handle> opened;
    tree_->OpenDir(caller, at->ino, opened.reply());
    auto handle = opened.Get();
    tree_->Forget(at->ino, 1);
    if (!handle) return handle.error();
    std::vector<std::string> names;
    std::vector<Ino> known;
    EXPECT_TRUE(tree_
                    ->ReadDir(caller, *handle, 0, true,
                              [&](const std::string& name, const Entry& entry, uint64_t) {
                                names.push_back(name);
                                known.push_back(entry.ino);
                                return true;
                              })
                    .ok());
    for (Ino ino : known) tree_->Forget(ino, 1);
    tree_->ReleaseDir(*handle);
    return names;
  }
  static Errc CodeOf(const Result<void>& result) {
    return result ? Errc::kInternal : result.error().code();
  }
  template <typename T>
  static Errc CodeOf(const Result<T>& result) {
    return result ? Errc::kInternal : result.error().code();
  }
};

}  // namespace ckptfs
