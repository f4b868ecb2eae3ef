// The common kernel checkpointer API (XtreemGCP, RR-6772 §4): what the agent
// asks of any checkpointer, in the paper's phases. One folder under kapi/ maps
// it to one real checkpointer (the translation library).
//
//   saving:     Prepare → Stop → Checkpoint → [held: commit, other units] → Resume
//   restoring:  PrepareRebuild → Check → [files put back] → Rebuild → [held: checks,
//               other units] → Resume
//
// Between Checkpoint and Resume the unit stands still and its image is whole in
// the sink; the agent commits and waits for other units then. Every phase may
// fail, and whatever fails, the unit's processes go on as if nothing had been
// asked: destroying a Saving that was not resumed lets them go on, destroying a
// Rebuilding that was not resumed ends what it had built.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/process.h"
#include "base/result.h"
#include "kapi/image.h"

namespace ckptfs {

// What a checkpointer can do; shown in checkpointers/NAME.
struct Capabilities {
  bool attach = false;         // to processes that it did not start
  bool leave_running = false;  // the job goes on after a checkpoint
  bool incremental = false;
  bool stream = false;        // no image file outside memory
  bool hold = false;          // between Checkpoint and Resume
  bool clone = false;         // a second live instance
  bool tcp = false;           // established connections
  bool unprivileged = false;  // for users who are not root
  bool needs_launch = false;  // the program must be started under it
};

struct Availability {
  bool available = false;
  std::string version;  // "4.2.1", empty if unknown
  std::string why_not;  // a sentence
  std::string remedy;   // what to do about it
};

// Set from any thread; long phases look at it and at `fd()` in their poll loops.
// Cancelling is a wish: a phase that is past it may still succeed.
class CancelToken {
 public:
  static Result<std::shared_ptr<CancelToken>> Make();
  void Cancel();
  bool cancelled() const { return cancelled_; }
  // Readable once cancelled.
  int fd() const { return event_.get(); }

 private:
  explicit CancelToken(Fd event) : event_(std::move(event)) {}
  std::atomic<bool> cancelled_{false};
  Fd event_;
};

// Progress of a phase, read by anyone. Bytes are of the job's image before
// sealing: the checkpointer estimates the total, the sink or source counts what
// has passed.
struct Progress {
  std::atomic<uint64_t> bytes_done{0};
  std::atomic<uint64_t> bytes_total{0};  // an estimate; 0: unknown
};

// What becomes of established TCP connections. kKeep needs a checkpointer with
// the capability `tcp` and both ends saved together; with kClose the program
// finds its connections reset after a restart. Listening sockets are always kept.
enum class Tcp { kClose, kKeep };

// One unit's processes, as the agent knows them.
struct UnitProcesses {
  ProcessId root;     // in the daemon's pid namespace
  Credentials owner;  // of the job: what it may never exceed
  // Set when the tree lives in a pid namespace of our making (restarted with new
  // pids): its init, a child-reaper of ours outside the saved tree.
  std::optional<ProcessId> namespace_init;
};

struct SaveRequest {
  std::string job, unit;  // for messages only
  UnitProcesses processes;
  bool leave_running = true;  // false: the tree ends at Resume(kEnd)
  Tcp tcp = Tcp::kClose;
  std::string work_dir;  // private folder in memory (tmpfs), exists, owned by the job's owner
  std::shared_ptr<CancelToken> cancel;
  Progress* progress = nullptr;  // borrowed until the Saving ends
};

// What a restart needs from a node; the public part goes into the manifest.
struct Needs {
  std::string arch;                       // "x86_64"
  std::string kernel;                     // "6.18.0", of the saving node
  std::vector<std::string> cpu_features;  // sorted
  std::vector<std::string> build_ids;     // sorted hex, of the mapped programs and libraries
};

// A file that the unit has open for writing (or mapped shared and writable) and
// that must be put back as it was: the agent saves its content while the unit stands.
struct OpenFile {
  std::string path;  // as the job sees it
  Fd content;        // read-only, of the very file, also if it was renamed since
};

enum class AfterCheckpoint { kGoOn, kEnd };

class Saving {
 public:
  // Lets the unit go on if it was not resumed.
  virtual ~Saving() = default;
  // Brings the processes to a standstill. A checkpointer that stops and saves in
  // one go does nothing here.
  virtual Result<void> Stop() = 0;
  // Saves into `sink`; on success the unit stands still and the sink has every
  // byte. Blocks; looks at the cancel token. On failure the unit already goes on.
  virtual Result<void> Checkpoint(ImageSink& sink) = 0;
  // While the unit stands still after Checkpoint: what it has open for writing.
  virtual Result<std::vector<OpenFile>> FilesOpenForWriting() = 0;
  virtual Result<Needs> Describe() = 0;
  // Lets it go on or, for a request with leave_running false, ends it with kEnd
  // (kGoOn is how such a request is undone after a commit that failed). Waits
  // until that has happened.
  virtual Result<void> Resume(AfterCheckpoint after) = 0;
  // How long the unit has stood still so far, by the best knowledge there is:
  // measured from outside, from just before the freeze, so it errs upwards.
  virtual std::chrono::nanoseconds standstill() const = 0;
};

enum class Pids { kSame, kNewNamespace };

struct RebuildRequest {
  std::string job, unit;
  Credentials owner;  // of the requester: what is restored never exceeds it
  Pids pids = Pids::kSame;
  bool second_instance = false;  // beside the unit that was saved, on purpose
  Tcp tcp = Tcp::kClose;
  std::string work_dir;  // as in SaveRequest
  std::shared_ptr<CancelToken> cancel;
  Progress* progress = nullptr;
};

class Rebuilding {
 public:
  // Ends what was built if it was not resumed.
  virtual ~Rebuilding() = default;
  // Looks for what forbids the restart, and changes nothing: kWouldRunTwice while the
  // unit that was saved, or what an earlier restart made of it, lives on this machine,
  // whoever looks after it, unless the request is for a second instance. May wait for
  // processes that are dying.
  virtual Result<void> Check(ImageSource& source) = 0;
  // Builds the processes; on success they all exist and none has run an
  // instruction of its own yet. Blocks. Has checked, with the processes' real
  // credentials, that none exceeds the request's owner.
  virtual Result<UnitProcesses> Rebuild(ImageSource& source) = 0;
  // Lets them run. On success they are no longer ours to end; else none of them is left.
  virtual Result<void> Resume() = 0;
};

class Checkpointer {
 public:
  virtual ~Checkpointer() = default;
  virtual std::string_view name() const = 0;
  virtual Capabilities capabilities() const = 0;
  // May run the real checkpointer's own check; may block for a second.
  virtual Availability Probe() const = 0;

  // Checks what can be known before anything is touched (processes there, whose
  // they are, what cannot be saved), and says it with a remedy.
  virtual Result<std::unique_ptr<Saving>> Prepare(SaveRequest request) = 0;
  virtual Result<std::unique_ptr<Rebuilding>> PrepareRebuild(RebuildRequest request) = 0;
  // Brings a unit to a standstill outside of any checkpoint, and lets it go on
  // (the commands `suspend` and `resume`). Idempotent. Processes that were stopped
  // before Suspend stay so, as long as this object lives in between.
  virtual Result<void> Suspend(const UnitProcesses& unit) = 0;
  virtual Result<void> Unsuspend(const UnitProcesses& unit) = 0;
  // The unit's processes, all of them, end now. Waits until they are gone.
  virtual Result<void> Kill(const UnitProcesses& unit) = 0;
  // The last log of the real checkpointer for this unit, for units/U/log; "" if none.
  virtual std::string LastLog(std::string_view job, std::string_view unit) const = 0;
};

}  // namespace ckptfs
