#include "fs/view.h"

#include "fs/control_grammar.h"
#include "fs/node.h"

namespace ckptfs {

View::View(ViewOptions options)
    : options_(std::move(options)),
      started_unix_ms_(UnixMs(std::chrono::system_clock::now())),
      copying_(&options_.agent->store()) {}

Result<Owner> View::OwnerOf(std::string_view job, const Caller& caller) const {
  if (!agent().HasJob(job, caller)) return Fail(Errc::kNotFound, "no job named {}", job);
  // Only its owner and root see a job.
  if (caller.uid != 0) return Owner{caller.uid, caller.gid, 0700};
  auto now = std::chrono::steady_clock::now();
  {
    auto owners = owners_.Lock();
    auto at = owners->find(job);
    if (at != owners->end() && at->second.until > now) return at->second.owner;
  }
  auto status = agent().Status(job, caller);
  if (!status) return status.error();
  KnownOwner known{{status->owner_uid, status->owner_gid, status->mode},
                   now + std::chrono::seconds(1)};
  auto owners = owners_.Lock();
  std::erase_if(*owners, [&](const auto& entry) { return entry.second.until <= now; });
  owners->insert_or_assign(std::string(job), known);
  return known.owner;
}

Error View::Noted(std::string_view job, std::string_view command, const Error& error) const {
  agent().NoteError(job, Quoted(command), error);
  return error;
}

}  // namespace ckptfs
