// How fast the data path is; not run by ctest:
//   store_test --gtest_also_run_disabled_tests --gtest_filter='*Throughput*'
// CKPTFS_BENCH_MIB (1024) and CKPTFS_BENCH_DIR (/tmp) set size and place.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>

#include "tests/store/store_fixture.h"

namespace ckptfs {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

uint64_t SizeBytes() {
  const char* mib = std::getenv("CKPTFS_BENCH_MIB");
  return (mib ? std::strtoull(mib, nullptr, 10) : 1024) << 20;
}

std::string Place() {
  const char* dir = std::getenv("CKPTFS_BENCH_DIR");
  return dir ? dir : "/tmp";
}

double CpuSeconds() {
  rusage use;
  ::getrusage(RUSAGE_SELF, &use);
  auto seconds = [](timeval t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}

// The most that was ever resident.
uint64_t PeakMib() {
  rusage use;
  ::getrusage(RUSAGE_SELF, &use);
  return static_cast<uint64_t>(use.ru_maxrss) >> 10;
}

// A child with `size` bytes of memory that it gives with vmsplice, as criu does.
class Job {
 public:
  explicit Job(uint64_t size) : size_(size) {
    memory_ = static_cast<uint8_t*>(
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    std::mt19937_64 random(1);
    auto* words = reinterpret_cast<uint64_t*>(memory_);
    for (uint64_t i = 0; i < size / 8; ++i) words[i] = random();
    ::madvise(memory_, size, MADV_DONTFORK);
    ::madvise(memory_, size, MADV_DOFORK);
  }
  ~Job() { ::munmap(memory_, size_); }
  void Change(uint64_t pages, uint64_t seed) {
    std::mt19937_64 random(seed);
    for (uint64_t i = 0; i < pages; ++i) {
      uint64_t word = random();
      std::memcpy(memory_ + random() % (size_ / 4096) * 4096, &word, 8);
    }
  }
  // Calls `read(fd)` until it says false.
  template <typename Read>
  void Dump(Read read) {
    auto pipe = MakePipe();
    ::fcntl(pipe->second.get(), F_SETPIPE_SZ, 1 << 20);
    pid_t child = ::fork();
    if (child == 0) {
      for (uint64_t at = 0; at < size_;) {
        iovec piece{memory_ + at, std::min<uint64_t>(size_ - at, 1 << 20)};
        ssize_t n = ::vmsplice(pipe->second.get(), &piece, 1, 0);
        if (n <= 0) ::_exit(1);
        at += static_cast<uint64_t>(n);
      }
      ::_exit(0);
    }
    pipe->second.Reset();
    ::fcntl(pipe->first.get(), F_SETFL, O_NONBLOCK);
    for (;;) {
      pollfd ready{pipe->first.get(), POLLIN, 0};
      ::poll(&ready, 1, -1);
      if (!read(pipe->first.get())) break;
    }
    ::waitpid(child, nullptr, 0);
  }

 private:
  uint64_t size_;
  uint8_t* memory_;
};

struct Figures {
  double parent = 0, read = 0, all = 0, cpu = 0;
  uint64_t written = 0;
};

Figures Checkpoint(Store& store, Job& job, bool full, uint64_t buffer) {
  Figures figures;
  double cpu = CpuSeconds();
  auto start = Clock::now();
  auto version = store.Begin({.job = "sim", .owner_name = "ada", .full = full});
  EXPECT_TRUE(version);
  auto unit = (*version)->AddUnit({.name = "main", .checkpointer = "criu", .buffer_bytes = buffer});
  EXPECT_TRUE(unit);
  figures.parent = SecondsSince(start);
  auto stream = (*unit)->Open("pages-1.img");
  start = Clock::now();
  job.Dump([&](int fd) {
    auto read = (*stream)->ReadFrom(fd);
    EXPECT_TRUE(read);
    return read && *read != ImageSink::Read::kEnd;
  });
  EXPECT_TRUE((*stream)->End());
  figures.read = SecondsSince(start);
  EXPECT_TRUE((*unit)->Finish({}));
  auto info = (*version)->Commit();
  EXPECT_TRUE(info);
  figures.all = SecondsSince(start);
  figures.cpu = CpuSeconds() - cpu;
  figures.written = info ? info->written_bytes : 0;
  return figures;
}

TEST(DISABLED_Throughput, OfCheckpointAndRestart) {
  const uint64_t size = SizeBytes();
  TempDir dir(Place());
  Job job(size);

  // What the machine gives: reading and dropping, and a plain O_DIRECT write.
  std::vector<uint8_t> drop(1 << 20);
  for (int i = 0; i < 2; ++i) {
    auto start = Clock::now();
    job.Dump([&](int fd) { return ::read(fd, drop.data(), drop.size()) != 0; });
    std::printf("read and drop                 %.3f s\n", SecondsSince(start));
  }
  for (int i = 0; i < 3; ++i) {
    auto fd = Open(dir.path() + "/plain", O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT, 0600);
    void* buffer = ::mmap(nullptr, 4 << 20, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    std::memset(buffer, 7, 4 << 20);
    auto start = Clock::now();
    for (uint64_t at = 0; at < size; at += 4 << 20)
      EXPECT_EQ(::pwrite(fd->get(), buffer, 4 << 20, static_cast<off_t>(at)), 4 << 20);
    ::fdatasync(fd->get());
    std::printf("plain O_DIRECT write          %.3f s\n", SecondsSince(start));
    ::munmap(buffer, 4 << 20);
    ::unlink((dir.path() + "/plain").c_str());
  }

  auto store = OpenStore(dir.path() + "/store");
  uint64_t peak_before = PeakMib();
  auto show = [&](const char* what, const Figures& f) {
    std::printf("%-29s %.3f s, read %.3f, parent %.3f, cpu %.3f, written %.2f%%\n", what, f.all,
                f.read, f.parent, f.cpu,
                100.0 * static_cast<double>(f.written) / static_cast<double>(size));
  };
  for (int i = 0; i < 4; ++i) show("durable, full", Checkpoint(*store, job, true, 0));
  std::printf("the store took at most %lu MiB\n", PeakMib() - peak_before);
  for (uint64_t i = 0; i < 3; ++i) {
    job.Change(size / 4096 / 100, i + 2);
    show("durable, 1% changed", Checkpoint(*store, job, false, 0));
  }
  std::printf("the store took at most %lu MiB\n", PeakMib() - peak_before);
  for (int i = 0; i < 3; ++i)
    show("fast, full", Checkpoint(*store, job, true, size + size / 4096 + (2 << 20)));
  job.Change(size / 4096 / 100, 9);
  show("fast, 1% changed", Checkpoint(*store, job, false, size + size / 4096 + (2 << 20)));

  auto restore = [&](uint64_t number, const char* what) {
    double cpu = CpuSeconds();
    auto start = Clock::now();
    auto version = store->OpenVersion("sim", number);
    ASSERT_TRUE(version) << version.error().Text();
    auto source = (*version)->OpenUnit("main");
    ASSERT_TRUE(source);
    auto stream = (*source)->Open("pages-1.img");
    auto pipe = MakePipe(O_NONBLOCK);
    ::fcntl(pipe->second.get(), F_SETPIPE_SZ, 1 << 20);
    pid_t child = ::fork();
    if (child == 0) {
      ::close(pipe->second.Release());
      ::fcntl(pipe->first.get(), F_SETFL, 0);
      while (::read(pipe->first.get(), drop.data(), drop.size()) > 0) continue;
      ::_exit(0);
    }
    pipe->first.Reset();
    for (;;) {
      auto fed = (*stream)->WriteTo(pipe->second.get());
      ASSERT_TRUE(fed) << fed.error().Text();
      if (*fed == ImageSource::Fed::kEnd) break;
      pollfd ready{pipe->second.get(), POLLOUT, 0};
      ::poll(&ready, 1, -1);
    }
    pipe->second.Reset();
    ::waitpid(child, nullptr, 0);
    double streamed = SecondsSince(start);
    ASSERT_TRUE((*source)->VerifyRest());
    std::printf("%-29s %.3f s, with the rest %.3f s, cpu %.3f\n", what, streamed,
                SecondsSince(start), CpuSeconds() - cpu);
  };
  restore(4, "restart of a full one");
  restore(4, "restart of a full one");
  restore(7, "restart of the third change");
}

}  // namespace
}  // namespace ckptfs
