#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/fd.h"
#include "tests/bench/bench.h"

namespace ckptfs::bench {

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double Seconds(const std::function<void()>& what) {
  auto start = std::chrono::steady_clock::now();
  what();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void Die(const Error& error) {
  fmt::print(stderr, "ckptfs-bench: {}\n", error.Text());
  std::_Exit(1);
}

void Check(const Result<void>& result) {
  if (!result) Die(result.error());
}

namespace {

constexpr char kUsage[] =
    "usage: ckptfs-bench [--dir DIR] [--ckptfs PROGRAM] [--criu PROGRAM] [--runs N]\n"
    "                    [--size-mib N] [--json FILE] [--list] [MEASURE...]\n";

// Children are started in another folder: every path is made absolute.
std::string Beside() {
  return std::filesystem::read_symlink("/proc/self/exe").replace_filename("ckptfs");
}

bool ParseArguments(int argc, char** argv, Options* options) {
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    if (!word.starts_with("--")) {
      options->only.push_back(word);
      continue;
    }
    if (word == "--list") {
      for (const Measure& measure : Measures()) fmt::print("{}\n", measure.name);
      std::exit(0);
    }
    if (i + 1 >= argc) return false;
    std::string value = argv[++i];
    if (word == "--dir") {
      options->dir = value;
    } else if (word == "--ckptfs") {
      options->ckptfs = std::filesystem::absolute(value);
    } else if (word == "--criu") {
      options->criu = std::filesystem::absolute(value);
    } else if (word == "--json") {
      options->json = value;
    } else if (word == "--runs") {
      options->runs = std::atoi(value.c_str());
    } else if (word == "--size-mib") {
      options->size_mib = std::strtoull(value.c_str(), nullptr, 10);
    } else {
      return false;
    }
  }
  return options->runs > 0 && options->size_mib > 0;
}

void PrintRow(const Figure& figure) {
  const char* verdict = figure.figure <= figure.reach ? "reached" : "missed";
  fmt::print("{:<46} {:>10.4g} {:>10.4g} {:<4} {:>8.3f} {:>8.3g}  {} ({}, n={})\n", figure.name,
             figure.ours, figure.peer, figure.unit, figure.figure, figure.reach, verdict,
             figure.kind, figure.runs);
  std::fflush(stdout);
}

std::string Json(const std::vector<Figure>& figures) {
  std::string text = "[\n";
  for (size_t i = 0; i < figures.size(); ++i) {
    const Figure& figure = figures[i];
    text += fmt::format(
        "  {{\"name\": \"{}\", \"kind\": \"{}\", \"unit\": \"{}\", \"ours\": {:.6g}, \"peer\": "
        "{:.6g}, \"figure\": {:.6g}, \"reach\": {:.6g}, \"runs\": {}}}{}\n",
        figure.name, figure.kind, figure.unit, figure.ours, figure.peer, figure.figure,
        figure.reach, figure.runs, i + 1 < figures.size() ? "," : "");
  }
  return text + "]\n";
}

int Run(Options options) {
  // A folder of our own below the given one, so that all of it can be removed.
  std::string pattern = options.dir + "/ckptfs-bench-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr)
    Die(Error::FromErrno(errno, "make a folder in {}", options.dir));
  options.dir = std::filesystem::absolute(pattern);  // the job runs in another folder
  fmt::print("{:<46} {:>10} {:>10} {:<4} {:>8} {:>8}\n", "what", "ours", "peer", "", "figure",
             "reach");
  std::vector<Figure> figures;
  for (const Measure& measure : Measures()) {
    if (!options.only.empty() &&
        std::find(options.only.begin(), options.only.end(), measure.name) == options.only.end())
      continue;
    for (Figure& figure : measure.run(options)) {
      PrintRow(figure);
      figures.push_back(std::move(figure));
    }
  }
  RemoveDir(options.dir);
  if (!options.json.empty()) Check(ReplaceFileAt(kCwd, options.json, AsBytes(Json(figures)), 0644));
  return 0;
}

}  // namespace
}  // namespace ckptfs::bench

int main(int argc, char** argv) {
  using namespace ckptfs::bench;
  if (argc == 4 && std::strcmp(argv[1], "job") == 0)
    return RunJob(std::strtoull(argv[2], nullptr, 10), argv[3]);
  Options options;
  options.dir = "/var/tmp";
  options.ckptfs = Beside();
  const char* criu = std::getenv("CKPTFS_CRIU");
  options.criu = criu != nullptr ? criu : "/opt/ckptfs/bin/criu";
  if (!ParseArguments(argc, argv, &options)) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  return Run(options);
}
