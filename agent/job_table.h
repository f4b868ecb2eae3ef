// JobTable: the jobs of this node by name, and whose they are.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/job.h"

namespace ckptfs {

// Thread-safe. Lock order: the table, then one Job.
class JobTable {
 public:
  // With the jobs of the store's records. A record that cannot be read is left
  // where it is and said in the log.
  JobTable(Store* store, const Log* log);

  // kNotFound also for a job that is not the caller's.
  Result<std::shared_ptr<Job>> Find(std::string_view job, const Caller& caller) const;
  std::shared_ptr<Job> Get(std::string_view job) const;  // null: none
  std::vector<std::shared_ptr<Job>> All() const;         // by name
  // kExists, kInvalid for the name; durable when it returns.
  Result<std::shared_ptr<Job>> Make(std::string_view job, JobData data);
  Result<void> Remove(const std::shared_ptr<Job>& job);

 private:
  Store* const store_;
  const std::string boot_ = BootId();
  Guarded<std::map<std::string, std::shared_ptr<Job>, std::less<>>> jobs_;
};

}  // namespace ckptfs
