// View: what the nodes show and act on, handed to each of them, and the little
// that the tree itself must remember (nothing of it outlives the mount).
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>

#include "agent/agent.h"
#include "base/guarded.h"
#include "fs/copying.h"
#include "fs/workers.h"

namespace ckptfs {

struct Owner {
  uid_t uid = 0;
  gid_t gid = 0;
  mode_t mode = 0700;
};

struct ViewOptions {
  Agent* agent = nullptr;         // borrowed, as are all of these
  Workers* workers = nullptr;     // for what takes an fsync
  Workers* admissions = nullptr;  // for checking what was copied in: one thread
  std::string node;               // this node's name
  uid_t uid = 0;                  // of what belongs to nobody: the daemon's
  gid_t gid = 0;
};

// Thread-safe. Borrows what the options name.
class View {
 public:
  explicit View(ViewOptions options);

  Agent& agent() const { return *options_.agent; }
  Store& store() const { return options_.agent->store(); }
  EventLog& events() const { return options_.agent->events(); }
  Workers& workers() const { return *options_.workers; }
  Workers& admissions() const { return *options_.admissions; }
  const std::string& node() const { return options_.node; }
  Owner own(mode_t mode) const { return {options_.uid, options_.gid, mode}; }
  int64_t started_unix_ms() const { return started_unix_ms_; }
  Copying& copying() const { return copying_; }

  // Root and the daemon's own user run the node: its keys and what is nobody's.
  bool IsAdmin(const Caller& caller) const { return caller.uid == 0 || caller.uid == options_.uid; }
  // Whose job it is; kNotFound for those whose it is not.
  Result<Owner> OwnerOf(std::string_view job, const Caller& caller) const;
  // Puts `error` where the user looks for words, and gives it back.
  Error Noted(std::string_view job, std::string_view command, const Error& error) const;

 private:
  struct KnownOwner {
    Owner owner;
    std::chrono::steady_clock::time_point until;
  };
  ViewOptions options_;
  int64_t started_unix_ms_;
  mutable Copying copying_;
  // For root alone, who sees every job: asking the agent reads the job's processes.
  Guarded<std::map<std::string, KnownOwner, std::less<>>> owners_;
};

}  // namespace ckptfs
