#include "fs/text_node.h"

#include "fs/control_grammar.h"

namespace ckptfs {
namespace {

class TextFile : public OpenedFile {
 public:
  TextFile(const View* view, std::string text, const TextSpec& spec, const Caller& opener)
      : view_(view), text_(std::move(text)), spec_(spec), opener_(opener) {}

  void Read(uint64_t offset, size_t limit_bytes, const Caller&,
            const Reply<ReadData>& reply) override {
    reply(ReadData{Slice(text_, offset, limit_bytes), {}, nullptr});
  }

  void Write(uint64_t, Bytes bytes, const Caller& caller, const Reply<size_t>& reply) override {
    if (!spec_.write) return OpenedFile::Write(0, bytes, caller, reply);
    // Who opened it decides what may be done: a descriptor that was handed to a
    // program of more rights lends none of them.
    Caller who{caller.pid, opener_.uid, opener_.gid};
    view_->workers().Post([write = spec_.write, text = std::string(AsText(bytes)), who, reply] {
      auto done = write(text, who);
      if (!done) return reply(done.error());
      reply(text.size());
    });
  }

 private:
  const View* view_;
  std::string text_;
  TextSpec spec_;
  Caller opener_;
};

Attr AttrOf(const View& view, mode_t mode, const Owner& owner) {
  return {mode, owner.uid, owner.gid, 0, view.started_unix_ms()};
}

}  // namespace

std::string Slice(std::string_view text, uint64_t offset, size_t limit_bytes) {
  if (offset >= text.size()) return {};
  return std::string(text.substr(offset, limit_bytes));
}

Result<void> CheckMode(mode_t permissions, const OpenMode& mode) {
  if (mode.read && (permissions & 0444) == 0)
    return Fail(Errc::kAccess, "this file is written, not read");
  if (mode.write && (permissions & 0222) == 0)
    return Fail(Errc::kAccess, "this file is read, not written");
  return {};
}

Result<Attr> TextNode::GetAttr(const Caller& caller) const {
  auto owner = spec_.owner(caller);
  if (!owner) return owner.error();
  Attr attr = AttrOf(*view_, S_IFREG | spec_.permissions, *owner);
  if (spec_.true_size) {
    auto text = spec_.read(caller);
    if (!text) return text.error();
    attr.size_bytes = text->size();
  }
  return attr;
}

Result<std::shared_ptr<OpenedFile>> TextNode::Open(const OpenMode& mode,
                                                   const Caller& caller) const {
  if (auto may = CheckMode(spec_.permissions, mode); !may) return may.error();
  if (auto owner = spec_.owner(caller); !owner) return owner.error();
  std::string text;
  if (mode.read) {
    auto made = spec_.read(caller);
    if (!made) return made.error();
    text = std::move(*made);
  }
  return std::shared_ptr<OpenedFile>(
      std::make_shared<TextFile>(view_, std::move(text), spec_, caller));
}

Result<Attr> FileNode::GetAttr(const Caller& caller) const {
  auto owner = spec_.owner(caller);
  if (!owner) return owner.error();
  Attr attr = AttrOf(*view_, S_IFREG | spec_.permissions, *owner);
  if (spec_.size_bytes) attr.size_bytes = spec_.size_bytes();
  return attr;
}

Result<std::shared_ptr<OpenedFile>> FileNode::Open(const OpenMode& mode,
                                                   const Caller& caller) const {
  if (auto may = CheckMode(spec_.permissions, mode); !may) return may.error();
  if (auto owner = spec_.owner(caller); !owner) return owner.error();
  return spec_.open(mode, caller);
}

Result<Attr> FolderNode::GetAttr(const Caller& caller) const {
  auto whose = owner(caller);
  if (!whose) return whose.error();
  return AttrOf(*view_, S_IFDIR | whose->mode, *whose);
}

Result<NodePtr> FolderNode::Lookup(std::string_view name, const Caller& caller) const {
  auto children = Children(caller);
  if (!children) return children.error();
  for (DirEntry& child : *children)
    if (child.name == name) return std::move(child.node);
  return Fail(Errc::kNotFound, "no {} here", Quoted(name));
}

Result<std::vector<DirEntry>> FolderNode::List(const Caller& caller) const {
  return Children(caller);
}

std::string FolderNode::KeyOf(std::string_view child) const {
  return key_ + "/" + std::string(child);
}

void FolderNode::AddText(std::vector<DirEntry>* out, std::string_view name, TextSpec spec) const {
  if (!spec.owner) spec.owner = [view = view_](const Caller&) { return view->own(0); };
  out->push_back(
      {std::string(name), std::make_shared<TextNode>(view_, KeyOf(name), std::move(spec))});
}

}  // namespace ckptfs
