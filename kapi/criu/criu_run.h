// CriuRun: one criu at work, with the two sockets that it talks to us on: image
// files come and go on one, its action script is held on the other.
//
// criu is never killed: it may have a tree seized. It is made to fail by hanging
// up on it, and then ends by itself.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/child.h"
#include "base/fd.h"
#include "base/result.h"
#include "kapi/criu/criu_command.h"
#include "kapi/criu/image_stream.h"

namespace ckptfs {

class CriuRun {
 public:
  enum class For { kDump, kRestore };

  // `start.work_dir_fd` is filled in here.
  static Result<CriuRun> Start(const CriuProgram& criu, For what, CriuStart start);
  CriuRun(CriuRun&&) = default;
  // Hangs up, then waits for criu, a minute at most.
  ~CriuRun();

  int exited_fd() const { return child_->pidfd(); }
  pid_t pid() const { return child_->pid(); }
  bool running() const { return child_->running(); }

  int stream_listener() const { return stream_listener_.get(); }  // -1 once criu has connected
  int hook_listener() const { return hook_listener_.get(); }      // -1 once it has
  int hook_fd() const { return hook_.get(); }
  // Set once criu has connected.
  std::optional<StreamRequests>& requests() { return requests_; }

  // Take what waits on the listeners and on the hook.
  Result<void> AcceptStream();
  Result<void> AcceptHook();
  Result<void> ReadHook();
  // criu is held in its action script, until AnswerHook.
  bool held() const { return held_; }
  // The root of the tree, as criu's pid namespace numbers it; 0 if criu did not say.
  pid_t hook_root() const { return hook_root_; }
  void AnswerHook(bool go_on);

  // When criu first connected: just before it freezes the tree.
  std::chrono::steady_clock::time_point connected_at() const { return connected_at_; }

  // Closes all that criu talks to, so that it fails and lets the job go on.
  void HangUp();
  // Waits for criu's end. Errors: kTimedOut, and criu is left alone.
  Result<ExitStatus> Finish(std::chrono::seconds limit);
  // The last 256 KiB of criu's log.
  std::string LogTail() const;

 private:
  // The job's owner, as whom criu and its action script run, may have stopped them; only
  // when they run can they notice how it ends, and let go of the job.
  void Wake();
  CriuRun() = default;

  Fd work_dir_;
  Fd stream_listener_, hook_listener_, hook_;
  std::optional<StreamRequests> requests_;
  std::optional<Child> child_;
  std::string hook_text_;
  bool held_ = false;
  pid_t hook_root_ = 0;
  std::chrono::steady_clock::time_point connected_at_;
};

}  // namespace ckptfs
