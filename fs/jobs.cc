#include "fs/jobs.h"

#include "fs/control_grammar.h"
#include "fs/job_files.h"
#include "fs/render.h"
#include "fs/units.h"

namespace ckptfs {
namespace {

// jobs/JOB
class JobFolder : public FolderNode {
 public:
  JobFolder(const View* view, std::string key, std::string job)
      : FolderNode(view, std::move(key)), job_(std::move(job)) {}

 protected:
  Result<Owner> owner(const Caller& caller) const override { return view().OwnerOf(job_, caller); }

  Result<std::vector<DirEntry>> Children(const Caller& caller) const override {
    if (!view().agent().HasJob(job_, caller)) return Fail(Errc::kNotFound, "no job {}", job_);
    std::vector<DirEntry> out;
    auto whose = [v = &view(), job = job_](const Caller& c) { return v->OwnerOf(job, c); };
    AddControl(&out, whose);
    AddTexts(&out, whose);
    out.push_back({"units", std::make_shared<UnitsFolder>(&view(), KeyOf("units"), job_)});
    return out;
  }

 private:
  using Whose = std::function<Result<Owner>(const Caller&)>;

  void AddControl(std::vector<DirEntry>* out, const Whose& whose) const {
    FileSpec ctl;
    ctl.permissions = 0600;
    ctl.inode_per_lookup = true;
    ctl.owner = whose;
    ctl.size_bytes = [] { return CommandHelp().size(); };
    ctl.open = [v = &view(), job = job_](const OpenMode&,
                                         const Caller& c) -> Result<std::shared_ptr<OpenedFile>> {
      return OpenControl(v, job, c);
    };
    out->push_back({"ctl", std::make_shared<FileNode>(&view(), KeyOf("ctl"), std::move(ctl))});

    FileSpec wait;
    wait.permissions = 0400;
    wait.owner = whose;
    wait.open = [v = &view(), job = job_](const OpenMode&,
                                          const Caller& c) -> Result<std::shared_ptr<OpenedFile>> {
      return OpenWait(v, job, c);
    };
    out->push_back({"wait", std::make_shared<FileNode>(&view(), KeyOf("wait"), std::move(wait))});
  }

  void AddTexts(std::vector<DirEntry>* out, const Whose& whose) const {
    const View* v = &view();
    std::string job = job_;
    auto read_only = [&](std::string_view name, bool true_size, auto read) {
      TextSpec spec;
      spec.permissions = 0400;
      spec.owner = whose;
      spec.true_size = true_size;
      spec.read = std::move(read);
      AddText(out, name, std::move(spec));
    };
    read_only("status", false, [v, job](const Caller& c) -> Result<std::string> {
      auto status = v->agent().Status(job, c);
      if (!status) return status.error();
      return RenderJob(*status, IncomingOf(*v, job, c));
    });
    read_only("progress", false, [v, job](const Caller& c) -> Result<std::string> {
      auto progress = v->agent().ProgressOf(job, c);
      if (!progress) return progress.error();
      return RenderProgress(*progress);
    });
    read_only("error_log", true,
              [v, job](const Caller& c) { return v->agent().JobErrors(job, c); });

    TextSpec policy;
    policy.permissions = 0600;
    policy.owner = whose;
    policy.true_size = true;
    policy.read = [v, job](const Caller& c) -> Result<std::string> {
      auto current = v->agent().GetPolicy(job, c);
      if (!current) return current.error();
      return current->Format();
    };
    policy.write = [v, job](std::string_view written, const Caller& c) {
      return WritePolicy(*v, job, written, c);
    };
    AddText(out, "policy", std::move(policy));
  }

  // Only the keys that were written change, whether or not the file was truncated.
  static Result<void> WritePolicy(const View& view, const std::string& job,
                                  std::string_view written, const Caller& caller) {
    auto set = [&]() -> Result<void> {
      if (written.size() > kControlBytes)
        return Fail(Errc::kTooBig, "{} bytes in one write, {} are the most", written.size(),
                    kControlBytes);
      auto current = view.agent().GetPolicy(job, caller);
      if (!current) return current.error();
      auto changed = current->With(written);
      if (!changed) return changed.error();
      return view.agent().SetPolicy(job, *changed, caller);
    }();
    if (!set) return view.Noted(job, "policy: " + std::string(written.substr(0, 256)), set.error());
    return set;
  }

  std::string job_;
};

}  // namespace

std::vector<IncomingInfo> IncomingOf(const View& view, std::string_view job, const Caller& caller) {
  std::vector<IncomingInfo> out;
  std::vector<std::string> jobs;
  if (job.empty())
    jobs = view.store().Jobs();
  else
    jobs.emplace_back(job);
  for (const std::string& one : jobs)
    for (uint64_t version : view.store().IncomingVersions(one)) {
      if (!view.agent().CheckImageAccess(one, version, caller)) continue;
      auto info = view.store().Incoming(one, version);
      if (info) out.push_back(std::move(*info));
    }
  return out;
}

Result<std::vector<DirEntry>> JobsFolder::Children(const Caller& caller) const {
  std::vector<DirEntry> out;
  for (const std::string& job : view().agent().Jobs(caller))
    out.push_back({job, std::make_shared<JobFolder>(&view(), KeyOf(job), job)});
  return out;
}

Result<NodePtr> JobsFolder::Lookup(std::string_view name, const Caller& caller) const {
  if (!view().agent().HasJob(name, caller))
    return Fail(Errc::kNotFound, "no job named {}", Quoted(name));
  return NodePtr(std::make_shared<JobFolder>(&view(), KeyOf(name), std::string(name)));
}

Result<NodePtr> JobsFolder::MakeDir(std::string_view name, const Caller& caller) const {
  auto made = view().agent().MakeJob(name, caller);
  if (!made) return view().Noted("", "mkdir jobs/" + std::string(name), made.error());
  return Lookup(name, caller);
}

Result<void> JobsFolder::RemoveDir(std::string_view name, const Caller& caller) const {
  auto forgotten = view().agent().ForgetJob(name, caller);
  if (!forgotten) return view().Noted(name, "rmdir jobs/" + std::string(name), forgotten.error());
  return forgotten;
}

Result<std::vector<DirEntry>> CheckpointersFolder::Children(const Caller&) const {
  std::vector<DirEntry> out;
  for (const CheckpointerStatus& one : view().agent().Checkpointers()) {
    TextSpec spec;
    spec.true_size = true;
    spec.read = [v = &view(), name = one.name](const Caller&) -> Result<std::string> {
      for (const CheckpointerStatus& now : v->agent().Checkpointers())
        if (now.name == name) return RenderCheckpointer(now);
      return Fail(Errc::kNotFound, "no checkpointer {}", name);
    };
    AddText(&out, one.name, std::move(spec));
  }
  return out;
}

}  // namespace ckptfs
