#include "fs/node.h"

#include <poll.h>

namespace ckptfs {
namespace {

Error NotDirectory() { return Fail(Errc::kNotDirectory, "not a folder"); }
Error Fixed() { return Fail(Errc::kNotYours, "what is in this folder is not made by hand"); }

}  // namespace

void OpenedFile::Read(uint64_t, size_t, const Caller&, const Reply<ReadData>& reply) {
  reply(Fail(Errc::kAccess, "this file is written, not read"));
}
void OpenedFile::Write(uint64_t, Bytes, const Caller&, const Reply<size_t>& reply) {
  reply(Fail(Errc::kAccess, "this file is read, not written"));
}
Result<void> OpenedFile::Truncate(uint64_t) { return {}; }
short OpenedFile::Poll(const std::function<void()>&) {
  return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
}

Result<NodePtr> Node::Lookup(std::string_view, const Caller&) const { return NotDirectory(); }
Result<std::vector<DirEntry>> Node::List(const Caller&) const { return NotDirectory(); }
Result<NodePtr> Node::MakeDir(std::string_view, const Caller&) const { return Fixed(); }
Result<NodePtr> Node::MakeLink(std::string_view, std::string_view, const Caller&) const {
  return Fixed();
}
Result<void> Node::RemoveDir(std::string_view, const Caller&) const { return Fixed(); }
Result<void> Node::RemoveFile(std::string_view, const Caller&) const { return Fixed(); }
Result<void> Node::Rename(std::string_view, const Node&, std::string_view, bool,
                          const Caller&) const {
  return Fixed();
}
Result<Node::Created> Node::Create(std::string_view, const OpenMode&, const Caller&) const {
  return Fixed();
}
Result<std::shared_ptr<OpenedFile>> Node::Open(const OpenMode&, const Caller&) const {
  return Fail(Errc::kIsDirectory, "a folder");
}
Result<std::string> Node::ReadLink(const Caller&) const {
  return Fail(Errc::kInvalid, "not a symbolic link");
}
Result<void> Node::Truncate(uint64_t, const Caller&) const { return {}; }
Result<void> Node::ChangeAttr(const Caller&) const {
  return Fail(Errc::kNotYours, "owners, modes and times here are not set by hand");
}

}  // namespace ckptfs
