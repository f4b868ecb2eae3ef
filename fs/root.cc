#include "fs/root.h"

#include "fs/events_file.h"
#include "fs/images.h"
#include "fs/jobs.h"
#include "fs/keys.h"
#include "fs/render.h"

namespace ckptfs {
namespace {

std::string Status(const View& view, const Caller& caller) {
  NodeFacts facts;
  facts.node = view.node();
  facts.key_id = view.store().public_key().IdText();
  facts.suite = SuiteName(view.store().suite());
  facts.jobs = view.agent().Jobs(caller).size();
  for (const auto& [name, key] : view.store().TrustedKeys()) facts.trusted.push_back(name);
  facts.use = view.store().Use();
  facts.checkpointers = view.agent().Checkpointers();
  facts.incoming = IncomingOf(view, "", caller);
  return RenderNode(facts);
}

FileSpec EventsSpec(const View* view) {
  FileSpec events;
  // It names the jobs of all users.
  events.permissions = 0400;
  events.owner = [view](const Caller&) { return view->own(0); };
  events.size_bytes = [view] { return view->events().size_bytes(); };
  events.open = [view](const OpenMode&, const Caller& c) -> Result<std::shared_ptr<OpenedFile>> {
    if (!view->IsAdmin(c))
      return Fail(Errc::kAccess, "events names the jobs of all users: it is root's to read");
    return OpenEvents(view);
  };
  return events;
}

}  // namespace

RootFolder::RootFolder(const View* view) : FolderNode(view, "") {
  auto add = [&](std::string_view name, bool true_size, auto read) {
    TextSpec spec;
    spec.true_size = true_size;
    spec.read = std::move(read);
    AddText(&children_, name, std::move(spec));
  };
  add("README", true,
      [](const Caller&) -> Result<std::string> { return std::string(ReadmeText()); });
  add("status", false, [view](const Caller& c) -> Result<std::string> { return Status(*view, c); });
  children_.push_back(
      {"events", std::make_shared<FileNode>(view, KeyOf("events"), EventsSpec(view))});
  add("error_log", true,
      [view](const Caller& c) -> Result<std::string> { return view->agent().NodeErrors(c); });
  add("metrics", false,
      [view](const Caller& c) -> Result<std::string> { return view->agent().Metrics(c); });
  children_.push_back(
      {"checkpointers", std::make_shared<CheckpointersFolder>(view, KeyOf("checkpointers"))});
  children_.push_back({"keys", std::make_shared<KeysFolder>(view, KeyOf("keys"))});
  children_.push_back({"jobs", std::make_shared<JobsFolder>(view, KeyOf("jobs"))});
  children_.push_back({"images", std::make_shared<ImagesFolder>(view, KeyOf("images"))});
}

Result<std::vector<DirEntry>> RootFolder::Children(const Caller&) const { return children_; }

}  // namespace ckptfs
