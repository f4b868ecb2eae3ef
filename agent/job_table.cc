#include "agent/job_table.h"

namespace ckptfs {

JobTable::JobTable(Store* store, const Log* log) : store_(store) {
  constexpr std::string_view kPrefix = "job/";
  auto jobs = jobs_.Lock();
  for (const auto& [key, text] : store_->Records(kPrefix)) {
    std::string name = key.substr(kPrefix.size());
    auto data = CheckName(name, "job") ? ParseRecord(text, boot_)
                                       : Result<JobData>(Fail(Errc::kCorrupt, "its name is bad"));
    if (data)
      jobs->emplace(name, std::make_shared<Job>(name, std::move(*data), boot_));
    else if (log != nullptr)
      log->Err("job {} is left out: {}", name, data.error().Text());
  }
}

Result<std::shared_ptr<Job>> JobTable::Find(std::string_view job, const Caller& caller) const {
  auto found = Get(job);
  if (!found || !found->VisibleTo(caller))
    return Fail(Errc::kNotFound, "there is no job {}", job).WithRemedy("mkdir makes one");
  return found;
}

std::shared_ptr<Job> JobTable::Get(std::string_view job) const {
  auto jobs = jobs_.Lock();
  auto it = jobs->find(job);
  return it == jobs->end() ? nullptr : it->second;
}

std::vector<std::shared_ptr<Job>> JobTable::All() const {
  std::vector<std::shared_ptr<Job>> all;
  auto jobs = jobs_.Lock();
  for (const auto& [name, job] : *jobs) all.push_back(job);
  return all;
}

Result<std::shared_ptr<Job>> JobTable::Make(std::string_view name, JobData data) {
  if (auto good = CheckName(name, "job"); !good) return good.error();
  auto job = std::make_shared<Job>(std::string(name), std::move(data), boot_);
  {
    auto jobs = jobs_.Lock();
    if (!jobs->emplace(name, job).second)
      return Fail(Errc::kExists, "there is a job {} already", name)
          .WithRemedy("take another name; it may be another user's");
  }
  if (auto saved = job->Save(*store_); !saved) {
    jobs_.Lock()->erase(std::string(name));
    return saved.error();
  }
  return job;
}

Result<void> JobTable::Remove(const std::shared_ptr<Job>& job) {
  // The record first: a name is not free again while a late write could come.
  if (auto gone = job->Forget(*store_); !gone)
    return gone.error().Add("forget job {}", job->name());
  auto jobs = jobs_.Lock();
  auto it = jobs->find(job->name());
  if (it != jobs->end() && it->second == job) jobs->erase(it);
  return {};
}

}  // namespace ckptfs
