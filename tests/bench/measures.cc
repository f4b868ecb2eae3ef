#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/store/store.h"
#include "base/fd.h"
#include "tests/bench/bench.h"

namespace ckptfs::bench {
namespace {

// Pairs of ours and the peer's, in turn.
struct Pairs {
  std::vector<double> ours, peer;
  void Add(double our, double other) {
    ours.push_back(our);
    peer.push_back(other);
  }
  Figure Ratio(std::string name, std::string unit, double reach) const {
    std::vector<double> ratios;
    for (size_t i = 0; i < ours.size(); ++i) ratios.push_back(ours[i] / peer[i]);
    return Make(std::move(name), std::move(unit), Median(ratios), reach, "ratio");
  }
  Figure Difference(std::string name, std::string unit, double reach) const {
    std::vector<double> differences;
    for (size_t i = 0; i < ours.size(); ++i) differences.push_back(ours[i] - peer[i]);
    return Make(std::move(name), std::move(unit), Median(differences), reach, "difference");
  }

 private:
  Figure Make(std::string name, std::string unit, double figure, double reach,
              std::string kind) const {
    return {std::move(name), std::move(unit), Median(ours),    Median(peer),
            figure,          reach,           std::move(kind), static_cast<int>(ours.size())};
  }
};

void Forget(const Mount& mount, uint64_t version) {
  std::string dir = mount.path() + "/images/job/" + std::to_string(version);
  for (const char* file : {"manifest", "manifest.minisig", "main.img"})
    ::unlink((dir + "/" + file).c_str());
  ::rmdir(dir.c_str());
}

std::vector<Figure> Durable(const Options& options) {
  Job job(options.size_mib, options.dir + "/job");
  Mount mount(options, "durable");
  mount.Attach("job", job.pid());
  Pairs plain, direct, standstill;
  std::string images = options.dir + "/plain", raw = options.dir + "/raw";
  for (int run = 0; run <= options.runs; ++run) {  // the first one warms up
    uint64_t before = DiskBytes(mount.store());
    (void)job.LongestGap();
    double ours = mount.Command("job", "checkpoint full");
    double gap = job.LongestGap();
    uint64_t written = DiskBytes(mount.store()) - before;
    double dumped = Seconds([&] { PlainDump(options, job.pid(), images, false, true); });
    RemoveDir(images);
    double wrote = Seconds([&] { DirectWrite(raw, written); });
    ::unlink(raw.c_str());
    (void)job.LongestGap();
    DroppedDump(options, job.pid(), images);
    double dropped = job.LongestGap();
    RemoveDir(images);
    Forget(mount, static_cast<uint64_t>(run) + 1);
    if (run == 0) continue;
    plain.Add(ours, dumped);
    direct.Add(ours, wrote);
    standstill.Add(gap, dropped);
  }
  return {plain.Ratio("checkpoint durable : criu dump + sync", "s", 0.6),
          direct.Ratio("checkpoint durable : O_DIRECT write", "s", 1.25),
          standstill.Ratio("standstill durable : criu stream dropped", "s", 3)};
}

std::vector<Figure> Fast(const Options& options) {
  Job job(options.size_mib, options.dir + "/job");
  Mount mount(options, "fast");
  mount.Attach("job", job.pid());
  mount.Policy("job", fmt::format("commit fast\nbuffer {}", (options.size_mib + 64) << 20));
  Pairs standstill;
  std::string work = options.dir + "/dropped";
  for (int run = 0; run <= options.runs; ++run) {
    (void)job.LongestGap();
    mount.Command("job", "checkpoint full");
    double gap = job.LongestGap();
    DroppedDump(options, job.pid(), work);
    double dropped = job.LongestGap();
    RemoveDir(work);
    Forget(mount, static_cast<uint64_t>(run) + 1);
    if (run > 0) standstill.Add(gap, dropped);
  }
  return {standstill.Ratio("standstill fast : criu stream dropped", "s", 2)};
}

std::vector<Figure> Incremental(const Options& options) {
  Job job(options.size_mib, options.dir + "/job");
  Mount mount(options, "incremental");
  mount.Attach("job", job.pid());
  Pairs bytes, time;
  for (int run = 0; run <= options.runs; ++run) {
    double first = mount.Command("job", "checkpoint full");
    job.ChangeOnePercent();
    uint64_t before = DiskBytes(mount.store());
    double second = mount.Command("job", "checkpoint");
    uint64_t written = DiskBytes(mount.store()) - before;
    if (run == 0) continue;
    bytes.Add(static_cast<double>(written) * 100, static_cast<double>(options.size_mib << 20));
    time.Add(second, first);
  }
  return {bytes.Ratio("1% changed: bytes written, % of the job", "B", 1.5),
          time.Ratio("1% changed: checkpoint : first checkpoint", "s", 0.7)};
}

std::vector<Figure> Restart(const Options& options) {
  Pairs pairs;
  std::string images = options.dir + "/plain";
  Job job(options.size_mib, options.dir + "/job");
  Mount mount(options, "restart");
  mount.Attach("job", job.pid());
  for (int run = 0; run <= options.runs; ++run) {
    mount.Command("job", "checkpoint full");
    PlainDump(options, job.pid(), images, false, true);
    pid_t pid = job.pid();
    auto gone = [&] {
      ::kill(pid, SIGKILL);
      while (::kill(pid, 0) == 0) ::usleep(2000);
    };
    // Both read what they restore from the disk, not from the page cache.
    if (run == 0) job.Detach();
    gone();
    DropCaches();
    double ours = mount.Command("job", "restart");
    gone();
    DropCaches();
    double plain = Seconds([&] { PlainRestore(options, images); });
    gone();
    mount.Command("job", "restart");  // for the next round: the mount's own job again
    RemoveDir(images);
    if (run > 0) pairs.Add(ours, plain);
  }
  return {pairs.Ratio("restart : criu restore", "s", 1.1)};
}

std::vector<Figure> Small(const Options& options) {
  Job job(10, options.dir + "/job");
  Mount mount(options, "small");
  mount.Attach("job", job.pid());
  Pairs pairs;
  std::string images = options.dir + "/plain";
  for (int run = 0; run <= options.runs * 3; ++run) {
    double ours = mount.Command("job", "checkpoint full") * 1000;
    double plain = Seconds([&] { PlainDump(options, job.pid(), images, false, false); }) * 1000;
    RemoveDir(images);
    if (run > 0) pairs.Add(ours, plain);
  }
  return {pairs.Difference("10 MiB: checkpoint - criu dump", "ms", 15)};
}

double Copy(const std::string& from, const std::string& to) {
  return Seconds([&] {
    ChildOptions spawn;
    spawn.argv = {"/bin/cp", from, to};
    spawn.stderr_fd = 2;
    Child child = Must(Child::Spawn(spawn));
    if (!Must(child.Wait()).Success()) Die(Fail(Errc::kIo, "cp {} failed", from));
  });
}

std::vector<Figure> CopyOut(const Options& options) {
  Job job(options.size_mib, options.dir + "/job");
  Mount mount(options, "copy");
  mount.Attach("job", job.pid());
  mount.Command("job", "checkpoint");
  std::string image = mount.path() + "/images/job/1/main.img";
  std::string peer = options.dir + "/peer.img", out = options.dir + "/out.img";
  Copy(image, peer);
  Pairs pairs;
  for (int run = 0; run <= options.runs; ++run) {
    DropCaches();
    double ours = Copy(image, out);
    ::unlink(out.c_str());
    DropCaches();
    double plain = Copy(peer, out);
    ::unlink(out.c_str());
    if (run > 0) pairs.Add(ours, plain);
  }
  ::unlink(peer.c_str());
  return {pairs.Ratio("copy out through the mount : cp", "s", 1.3)};
}

std::vector<Figure> Memory(const Options& options) {
  Job job(options.size_mib * 4, options.dir + "/job");
  Mount mount(options, "memory");
  mount.Attach("job", job.pid());
  mount.Command("job", "checkpoint");
  job.ChangeOnePercent();
  mount.Command("job", "checkpoint");
  double peak = static_cast<double>(mount.PeakBytes()) / (1 << 20);
  return {{fmt::format("daemon's peak memory, {} MiB job, durable", options.size_mib * 4), "MiB",
           peak, 0, peak, 128, "value", 1}};
}

std::vector<Figure> List(const Options& options) {
  constexpr int kVersions = 10000;
  std::string dir = options.dir + "/store-list";
  Log log(2, Log::Level::kWarning);
  Check(InitCrypto());
  {
    StoreOptions store_options;
    store_options.dir = dir;
    store_options.node = "bench";
    auto store = Must(Store::Open(store_options, log));
    for (int i = 0; i < kVersions; ++i) {
      Store::BeginOptions begin;
      begin.job = "job";
      auto version = Must(store->Begin(begin));
      auto unit = Must(version->AddUnit({.name = "main", .checkpointer = "criu"}));
      auto stream = Must(unit->Open("small"));
      Check(stream->Append(AsBytes("a version of no weight")));
      Check(stream->End());
      Check(unit->Finish({}));
      Must(version->Commit());
    }
  }
  std::vector<double> seconds;
  {
    Mount mount(options, "list");
    for (int run = 0; run <= options.runs; ++run) {
      double took = Seconds([&] {
        ChildOptions spawn;
        spawn.argv = {"/bin/ls", "-l", mount.path() + "/images/job"};
        Child child = Must(Child::Spawn(spawn));
        if (!Must(child.Wait()).Success()) Die(Fail(Errc::kIo, "ls -l failed"));
      });
      if (run > 0) seconds.push_back(took);
    }
  }
  double median = Median(seconds);
  return {{"ls -l of 10,000 versions", "s", median, 0, median, 0.5, "value",
           static_cast<int>(seconds.size())}};
}

}  // namespace

const std::vector<Measure>& Measures() {
  static const std::vector<Measure> kMeasures = {
      {"durable", Durable}, {"fast", Fast},    {"incremental", Incremental}, {"restart", Restart},
      {"small", Small},     {"copy", CopyOut}, {"memory", Memory},           {"list", List},
  };
  return kMeasures;
}

}  // namespace ckptfs::bench
