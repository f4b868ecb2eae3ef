// ckptfs-bench: what ckptfs costs, each figure beside a peer measured in the same
// run, in turn with it: median of the pairwise ratios, so that a machine that
// changes its speed meanwhile changes both.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/child.h"
#include "base/result.h"

namespace ckptfs::bench {

struct Options {
  std::string dir;     // on the disk to be measured
  std::string ckptfs;  // the program
  std::string criu;    // the peer
  std::string json;    // file for the results; empty: none
  std::vector<std::string> only;
  int runs = 5;
  uint64_t size_mib = 1024;
};

// One line of the table: `ours` and `peer` are medians in `unit`.
struct Figure {
  std::string name;
  std::string unit;
  double ours = 0;
  double peer = 0;
  double figure = 0;  // what is compared with `reach`: the ratio, or the difference
  double reach = 0;   // the most that is asked for
  std::string kind;   // "ratio", "difference", "value"
  int runs = 0;
};

double Median(std::vector<double> values);
double Seconds(const std::function<void()>& what);
// Ends the program with words: a bench that cannot measure has no figure.
[[noreturn]] void Die(const Error& error);
void Check(const Result<void>& result);
template <typename T>
T Must(Result<T> result) {
  if (!result) Die(result.error());
  return std::move(*result);
}

// --- job.cc: the program that is checkpointed
// `ckptfs-bench job SIZE_MIB DIR`: holds that much incompressible memory.
int RunJob(uint64_t size_mib, const std::string& dir);

class Job {
 public:
  Job(uint64_t size_mib, const std::string& dir);
  ~Job();  // killed and gone
  pid_t pid() const { return pid_; }
  // Changes 1% of the pages, at random; returns when they are.
  void ChangeOnePercent();
  // The longest standstill that the job itself has seen since it was last asked.
  double LongestGap();
  // From now on its pid may name what a restart made, which is not our child: the
  // old one is killed and reaped, and the destructor kills whatever has the pid.
  void Detach();
  void Kill();

 private:
  void Ask(int signal_number, const std::string& answer);
  std::string dir_;
  pid_t pid_ = 0;
  std::optional<Child> child_;
};

// --- peers.cc
// `criu dump --leave-running` (or, with `stop`, ending it) into a new folder
// `images`, then sync of it.
void PlainDump(const Options& options, pid_t pid, const std::string& images, bool stop, bool sync);
// `criu restore -d` of it.
void PlainRestore(const Options& options, const std::string& images);
// `criu dump --stream` with the pipes read and dropped.
void DroppedDump(const Options& options, pid_t pid, const std::string& work);
// As many bytes, O_DIRECT, 4 MiB at a time, then fdatasync.
void DirectWrite(const std::string& file, uint64_t size_bytes);
void DropCaches();
uint64_t DiskBytes(const std::string& dir);  // st_blocks of all below
void RemoveDir(const std::string& dir);

// --- mount.cc: a mount of ckptfs on a store of its own
class Mount {
 public:
  Mount(const Options& options, const std::string& name);
  ~Mount();  // unmounted, daemon gone, store removed
  std::string path() const { return mount_; }
  std::string store() const { return store_; }
  void Attach(const std::string& job, pid_t pid);
  void Policy(const std::string& job, const std::string& line);
  // One write to ctl; seconds until it returned.
  double Command(const std::string& job, const std::string& command);
  uint64_t PeakBytes() const;  // VmHWM of the daemon

 private:
  std::string mount_, store_;
  std::optional<Child> daemon_;
};

// --- measures.cc
struct Measure {
  std::string name;
  std::vector<Figure> (*run)(const Options&);
};
const std::vector<Measure>& Measures();

}  // namespace ckptfs::bench
