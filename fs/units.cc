#include "fs/units.h"

#include "fs/control_grammar.h"
#include "fs/render.h"

namespace ckptfs {
namespace {

// jobs/JOB/units/UNIT
class UnitFolder : public FolderNode {
 public:
  UnitFolder(const View* view, std::string key, std::string job, std::string unit)
      : FolderNode(view, std::move(key)), job_(std::move(job)), unit_(std::move(unit)) {}

 protected:
  Result<Owner> owner(const Caller& caller) const override {
    return OwnerOfUnit(view(), job_, unit_, caller);
  }

  Result<std::vector<DirEntry>> Children(const Caller& caller) const override {
    if (auto whose = owner(caller); !whose) return whose.error();
    std::vector<DirEntry> out;
    const View* v = &view();
    std::string job = job_;
    std::string unit = unit_;

    TextSpec procs = Spec(0600);
    procs.read = [v, job, unit](const Caller& c) -> Result<std::string> {
      auto status = StatusOf(*v, job, unit, c);
      if (!status) return status.error();
      std::string text;
      for (pid_t pid : status->processes) text += fmt::format("{}\n", pid);
      return text;
    };
    procs.write = [v, job, unit](std::string_view written, const Caller& c) -> Result<void> {
      auto pid = ParsePid(written);
      auto done = pid ? v->agent().Attach(job, unit, *pid, c) : Result<void>(pid.error());
      if (!done) return Refused(*v, job, unit, "procs", written, done.error());
      return done;
    };
    AddText(&out, "procs", std::move(procs));

    TextSpec checkpointer = Spec(0600);
    checkpointer.read = [v, job, unit](const Caller& c) -> Result<std::string> {
      auto status = StatusOf(*v, job, unit, c);
      if (!status) return status.error();
      return status->checkpointer + "\n";
    };
    checkpointer.write = [v, job, unit](std::string_view written, const Caller& c) -> Result<void> {
      auto name = ParseWord(written);
      auto done =
          name ? v->agent().SetCheckpointer(job, unit, *name, c) : Result<void>(name.error());
      if (!done) return Refused(*v, job, unit, "checkpointer", written, done.error());
      return done;
    };
    AddText(&out, "checkpointer", std::move(checkpointer));

    TextSpec status = Spec(0400);
    status.read = [v, job, unit](const Caller& c) -> Result<std::string> {
      auto now = StatusOf(*v, job, unit, c);
      if (!now) return now.error();
      return RenderUnit(*now);
    };
    AddText(&out, "status", std::move(status));

    TextSpec log = Spec(0400);
    log.read = [v, job, unit](const Caller& c) { return v->agent().UnitLog(job, unit, c); };
    AddText(&out, "log", std::move(log));
    return out;
  }

 private:
  static Result<Owner> OwnerOfUnit(const View& view, const std::string& job,
                                   const std::string& unit, const Caller& caller) {
    if (!view.agent().HasUnit(job, unit, caller))
      return Fail(Errc::kNotFound, "no unit {} in job {}", unit, job);
    return view.OwnerOf(job, caller);
  }

  TextSpec Spec(mode_t permissions) const {
    TextSpec spec;
    spec.permissions = permissions;
    spec.owner = [v = &view(), job = job_, unit = unit_](const Caller& c) {
      return OwnerOfUnit(*v, job, unit, c);
    };
    return spec;
  }

  static Result<UnitStatus> StatusOf(const View& view, const std::string& job,
                                     const std::string& unit, const Caller& caller) {
    auto status = view.agent().Status(job, caller);
    if (!status) return status.error();
    for (UnitStatus& one : status->units)
      if (one.name == unit) return std::move(one);
    return Fail(Errc::kNotFound, "no unit {} in job {}", unit, job);
  }

  static Error Refused(const View& view, const std::string& job, const std::string& unit,
                       std::string_view file, std::string_view written, const Error& error) {
    return view.Noted(job, fmt::format("units/{}/{}: {}", unit, file, written.substr(0, 256)),
                      error);
  }

  std::string job_;
  std::string unit_;
};

}  // namespace

Result<std::vector<DirEntry>> UnitsFolder::Children(const Caller& caller) const {
  auto status = view().agent().Status(job_, caller);
  if (!status) return status.error();
  std::vector<DirEntry> out;
  for (const UnitStatus& unit : status->units)
    out.push_back(
        {unit.name, std::make_shared<UnitFolder>(&view(), KeyOf(unit.name), job_, unit.name)});
  return out;
}

Result<NodePtr> UnitsFolder::Lookup(std::string_view name, const Caller& caller) const {
  if (!view().agent().HasUnit(job_, name, caller))
    return Fail(Errc::kNotFound, "no unit {} in job {}", Quoted(name), job_);
  return NodePtr(std::make_shared<UnitFolder>(&view(), KeyOf(name), job_, std::string(name)));
}

Result<NodePtr> UnitsFolder::MakeDir(std::string_view name, const Caller& caller) const {
  auto made = view().agent().MakeUnit(job_, name, caller);
  if (!made) return view().Noted(job_, "mkdir units/" + std::string(name), made.error());
  return Lookup(name, caller);
}

Result<void> UnitsFolder::RemoveDir(std::string_view name, const Caller& caller) const {
  auto gone = view().agent().ForgetUnit(job_, name, caller);
  if (!gone) return view().Noted(job_, "rmdir units/" + std::string(name), gone.error());
  return gone;
}

}  // namespace ckptfs
