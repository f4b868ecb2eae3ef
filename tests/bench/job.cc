#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <thread>

#include "base/fd.h"
#include "base/process.h"
#include "tests/bench/bench.h"

namespace ckptfs::bench {
namespace {

uint64_t Random(uint64_t* state) {  // xorshift64*: fast, and nothing compresses it
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * 2685821657736338717ull;
}

double Now() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

void Answer(const std::string& path, double value) {
  std::string temporary = path + ".tmp";
  if (FILE* file = ::fopen(temporary.c_str(), "we")) {
    ::fprintf(file, "%.6f\n", value);
    ::fclose(file);
    ::rename(temporary.c_str(), path.c_str());
  }
}

}  // namespace

int RunJob(uint64_t size_mib, const std::string& dir) {
  sigset_t asked;
  ::sigemptyset(&asked);
  ::sigaddset(&asked, SIGUSR1);
  ::sigaddset(&asked, SIGUSR2);
  ::pthread_sigmask(SIG_BLOCK, &asked, nullptr);
  size_t size_bytes = size_mib << 20;
  void* mapped =
      ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return 1;
  auto* words = static_cast<uint64_t*>(mapped);
  uint64_t state = 88172645463325252ull ^ static_cast<uint64_t>(::getpid());
  for (size_t i = 0; i < size_bytes / 8; ++i) words[i] = Random(&state);
  std::atomic<double> longest{0};
  std::atomic<uint64_t> beats{0};
  // The heartbeat: a gap in it is a standstill of the job.
  std::thread([&longest, &beats, &dir] {
    for (double last = Now();;) {
      timespec pause{0, 200000};
      ::nanosleep(&pause, nullptr);
      double now = Now();
      if (now - last > longest) longest = now - last;
      last = now;
      ++beats;
      // The bench has died and somebody has cleaned up after it.
      if (::access(dir.c_str(), F_OK) != 0) ::_exit(1);
    }
  }).detach();
  Answer(dir + "/ready", 1);
  for (;;) {
    int signal_number = 0;
    if (::sigwait(&asked, &signal_number) != 0) continue;
    if (signal_number == SIGUSR2) {
      // The gap that we were asked about is known with the next beat.
      for (uint64_t seen = beats; beats < seen + 2;) ::usleep(200);
      Answer(dir + "/gap", longest.exchange(0));
      continue;
    }
    size_t pages = size_bytes / kPageBytes;
    for (size_t i = 0; i < pages / 100; ++i)
      words[Random(&state) % pages * (kPageBytes / 8) + Random(&state) % 512] = Random(&state);
    Answer(dir + "/changed", 1);
  }
}

Job::Job(uint64_t size_mib, const std::string& dir) : dir_(dir) {
  ::mkdir(dir.c_str(), 0700);
  ::unlink((dir + "/ready").c_str());
  ChildOptions options;
  options.argv = {"/proc/self/exe", "job", std::to_string(size_mib), dir};
  child_ = Must(Child::Spawn(options));
  pid_ = child_->pid();
  Ask(0, "ready");
}

Job::~Job() { Kill(); }

void Job::Kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  if (child_) {
    (void)child_->Wait();
    child_.reset();
  }
  // Restarted elsewhere in the family tree: wait until its pid is free again.
  while (::kill(pid_, 0) == 0) ::usleep(2000);
  pid_ = 0;
}

void Job::Detach() {
  ::kill(pid_, SIGKILL);
  (void)child_->Wait();
  child_.reset();
}

void Job::Ask(int signal_number, const std::string& answer) {
  std::string path = dir_ + "/" + answer;
  if (signal_number != 0) {
    ::unlink(path.c_str());
    ::kill(pid_, signal_number);
  }
  while (::access(path.c_str(), F_OK) != 0) {
    if (::kill(pid_, 0) != 0) Die(Fail(Errc::kGone, "the bench's job has died"));
    ::usleep(1000);
  }
}

void Job::ChangeOnePercent() { Ask(SIGUSR1, "changed"); }

double Job::LongestGap() {
  Ask(SIGUSR2, "gap");
  return std::stod(Must(ReadFile(dir_ + "/gap", 64)));
}

}  // namespace ckptfs::bench
