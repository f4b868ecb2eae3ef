#include "fs/keys.h"

#include <algorithm>

#include "crypto/keys.h"
#include "fs/control_grammar.h"

namespace ckptfs {
namespace {

std::optional<std::string> TrustedText(const View& view, std::string_view file_name) {
  auto name = TrustedName(file_name);
  if (!name) return std::nullopt;
  for (const auto& [trusted, key] : view.store().TrustedKeys())
    if (trusted == *name) return key.Format();
  return std::nullopt;
}

// What the file holds: a draft hides the key that it may replace.
std::optional<std::string> TextOf(const View& view, const KeyDrafts& drafts,
                                  std::string_view file_name) {
  if (auto draft = drafts.Get(file_name)) return draft;
  return TrustedText(view, file_name);
}

Result<void> CheckAdmin(const View& view, const Caller& caller) {
  if (view.IsAdmin(caller)) return {};
  return Fail(Errc::kNotYours, "whom this node trusts is for root to say");
}

Error NoKey() {
  return Fail(Errc::kInvalid, "not a public key")
      .WithRemedy("copy the other node's keys/self.pub here, or a minisign public key");
}

// The key counts as soon as it is whole: a write that makes it a non-key is
// refused, and a file closed before it became a key is refused at close.
class KeyFile : public OpenedFile {
 public:
  KeyFile(const View* view, std::shared_ptr<KeyDrafts> drafts, std::string name, std::string text,
          bool append)
      : view_(view), drafts_(std::move(drafts)), name_(std::move(name)), append_(append) {
    state_.Lock()->text = std::move(text);
  }

  void Read(uint64_t offset, size_t limit_bytes, const Caller&,
            const Reply<ReadData>& reply) override {
    reply(ReadData{Slice(state_.Lock()->text, offset, limit_bytes), {}, nullptr});
  }

  void Write(uint64_t offset, Bytes bytes, const Caller&, const Reply<size_t>& reply) override {
    auto merged = Merge(offset, bytes);
    if (!merged) return reply(Refused(merged.error()));
    KeyText judged = JudgeKeyText(*merged);
    if (judged == KeyText::kNever) return reply(Refused(NoKey()));
    state_.Lock()->text = *merged;
    size_t written = bytes.size();
    auto name = TrustedName(name_);
    if (judged == KeyText::kMayBecome || !name) {
      auto kept = drafts_->Put(name_, *merged);
      if (!kept) return reply(Refused(kept.error()));
      return reply(written);
    }
    view_->workers().Post([view = view_, drafts = drafts_, file = name_, name = std::string(*name),
                           text = std::move(*merged), written, reply] {
      auto trusted = view->store().Trust(name, text);
      if (!trusted) return reply(view->Noted("", "keys/trusted/" + file, trusted.error()));
      drafts->Remove(file);
      reply(written);
    });
  }

  Result<void> Truncate(uint64_t size_bytes) override {
    if (size_bytes > kKeyFileBytes) return Fail(Errc::kTooBig, "a key is not as long as that");
    auto state = state_.Lock();
    if (size_bytes < state->text.size()) state->text.resize(size_bytes);
    return {};
  }

  Result<void> Flush() override {
    std::string text = state_.Lock()->text;
    auto draft = drafts_->Get(name_);
    if (!TrustedName(name_) || !draft || *draft != text) return {};
    // Of a NAME.pub nothing stays but a key. Whoever still has it open may go on:
    // a shell closes copies of the descriptor before it writes.
    drafts_->Remove(name_);
    if (text.empty()) return {};
    return Refused(NoKey().Add("what was written is only a part"));
  }

  void Release() override {
    if (TrustedName(name_)) drafts_->Remove(name_);
  }

 private:
  struct State {
    std::string text;
  };

  Result<std::string> Merge(uint64_t offset, Bytes bytes) const {
    std::string text = state_.Lock()->text;
    if (append_) offset = text.size();
    if (offset > text.size() || bytes.size() > kKeyFileBytes - std::min(offset, kKeyFileBytes))
      return Fail(Errc::kTooBig, "a key is {} bytes at most", kKeyFileBytes);
    if (offset + bytes.size() > text.size()) text.resize(offset + bytes.size());
    text.replace(offset, bytes.size(), AsText(bytes));
    return text;
  }

  Error Refused(const Error& error) const {
    return view_->Noted("", "keys/trusted/" + name_, error);
  }

  const View* view_;
  std::shared_ptr<KeyDrafts> drafts_;
  std::string name_;
  bool append_;
  Guarded<State> state_;
};

class KeyNode : public Node {
 public:
  KeyNode(const View* view, std::string key, std::shared_ptr<KeyDrafts> drafts, std::string name)
      : view_(view), key_(std::move(key)), drafts_(std::move(drafts)), name_(std::move(name)) {}
  const std::string& key() const override { return key_; }

  Result<Attr> GetAttr(const Caller&) const override {
    // Lookup says what is not there. Whoever has it open may stat it all the same,
    // as with a file that was removed.
    auto text = TextOf(*view_, *drafts_, name_);
    Owner owner = view_->own(0644);
    return Attr{S_IFREG | owner.mode, owner.uid, owner.gid, text ? text->size() : 0,
                view_->started_unix_ms()};
  }

  Result<std::shared_ptr<OpenedFile>> Open(const OpenMode& mode, const Caller& c) const override {
    if (mode.write)
      if (auto may = CheckAdmin(*view_, c); !may) return may.error();
    auto text = TextOf(*view_, *drafts_, name_);
    if (!text) return Fail(Errc::kNotFound, "no key {}", name_);
    // The old key stays trusted until a new one is whole. Without O_TRUNC a key
    // of another length would be mixed with the old one: only appending is that.
    bool keep = !mode.write || mode.append || (mode.read && !mode.truncate);
    return std::shared_ptr<OpenedFile>(std::make_shared<KeyFile>(
        view_, drafts_, name_, keep ? *text : std::string(), mode.append));
  }

  Result<void> Truncate(uint64_t, const Caller& caller) const override {
    return CheckAdmin(*view_, caller);
  }
  Result<void> ChangeAttr(const Caller& caller) const override {
    return CheckAdmin(*view_, caller);
  }

 private:
  const View* view_;
  std::string key_;
  std::shared_ptr<KeyDrafts> drafts_;
  std::string name_;
};

}  // namespace

Result<std::vector<DirEntry>> KeysFolder::Children(const Caller&) const {
  std::vector<DirEntry> out;
  TextSpec self;
  self.true_size = true;
  self.read = [v = &view()](const Caller&) -> Result<std::string> {
    return v->store().public_key().Format();
  };
  AddText(&out, "self.pub", std::move(self));
  out.push_back({"trusted", std::make_shared<TrustedFolder>(&view(), KeyOf("trusted"), drafts_)});
  return out;
}

NodePtr TrustedFolder::NodeOf(std::string_view name) const {
  return std::make_shared<KeyNode>(&view(), KeyOf(name), drafts_, std::string(name));
}

Result<std::vector<DirEntry>> TrustedFolder::Children(const Caller&) const {
  std::vector<std::string> names = drafts_->Names();
  for (const auto& [name, key] : view().store().TrustedKeys()) names.push_back(name + ".pub");
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  std::vector<DirEntry> out;
  for (std::string& name : names) {
    NodePtr node = NodeOf(name);
    out.push_back({std::move(name), std::move(node)});
  }
  return out;
}

Result<NodePtr> TrustedFolder::Lookup(std::string_view name, const Caller&) const {
  if (!TextOf(view(), *drafts_, name)) return Fail(Errc::kNotFound, "no key {}", Quoted(name));
  return NodeOf(name);
}

Result<Node::Created> TrustedFolder::Create(std::string_view name, const OpenMode& mode,
                                            const Caller& caller) const {
  auto make = [&]() -> Result<Created> {
    if (auto may = CheckAdmin(view(), caller); !may) return may.error();
    if (auto trusted = TrustedName(name))
      if (auto named = CheckName(*trusted, "name of a key"); !named) return named.error();
    auto there = TextOf(view(), *drafts_, name);
    if (there && mode.exclusive) return Fail(Errc::kExists, "{} is there already", Quoted(name));
    if (there) {
      NodePtr node = NodeOf(name);
      auto file = node->Open(mode, caller);
      if (!file) return file.error();
      return Created{std::move(node), std::move(*file)};
    }
    if (auto kept = drafts_->Put(name, ""); !kept) return kept.error();
    return Created{NodeOf(name),
                   std::make_shared<KeyFile>(&view(), drafts_, std::string(name), "", mode.append)};
  }();
  if (!make) return view().Noted("", "keys/trusted/" + std::string(name), make.error());
  return make;
}

Result<void> TrustedFolder::RemoveFile(std::string_view name, const Caller& caller) const {
  if (auto may = CheckAdmin(view(), caller); !may) return may.error();
  if (drafts_->Remove(name)) return {};
  if (!TrustedText(view(), name)) return Fail(Errc::kNotFound, "no key {}", Quoted(name));
  return view().store().Distrust(*TrustedName(name));
}

Result<void> TrustedFolder::Rename(std::string_view from, const Node& to_folder,
                                   std::string_view to, bool replace, const Caller& caller) const {
  auto rename = [&]() -> Result<void> {
    if (auto may = CheckAdmin(view(), caller); !may) return may.error();
    if (to_folder.key() != key()) return Fail(Errc::kNotYours, "keys are not moved elsewhere");
    auto text = TextOf(view(), *drafts_, from);
    if (!text) return Fail(Errc::kNotFound, "no key {}", Quoted(from));
    if (from == to) return {};
    if (!replace && TextOf(view(), *drafts_, to))
      return Fail(Errc::kExists, "{} is there already", Quoted(to));
    if (auto trusted = TrustedName(to)) {
      if (auto named = CheckName(*trusted, "name of a key"); !named) return named.error();
      if (JudgeKeyText(*text) != KeyText::kKey) return NoKey();
      if (auto done = view().store().Trust(*trusted, *text); !done) return done.error();
      drafts_->Remove(to);
    } else if (auto kept = drafts_->Put(to, *text); !kept) {
      return kept.error();
    }
    return RemoveFile(from, caller);
  }();
  if (!rename) return view().Noted("", "keys/trusted/" + std::string(to), rename.error());
  return rename;
}

Result<void> TrustedFolder::ChangeAttr(const Caller& caller) const {
  return CheckAdmin(view(), caller);
}

}  // namespace ckptfs
