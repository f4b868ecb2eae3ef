#include "agent/job_checkpointer.h"

#include <algorithm>
#include <system_error>
#include <thread>

namespace ckptfs {
namespace {

class Run {
 public:
  Run(Store& store, CheckpointJob job) : store_(store), job_(std::move(job)) {
    for (auto& options : job_.units)
      units_.push_back(std::make_unique<UnitCheckpointer>(std::move(options)));
  }

  CheckpointOutcome Go() {
    CheckpointOutcome outcome;
    outcome.result = Phases(&outcome);
    // Units first, for they write into the version: those that were not resumed go on here.
    for (const auto& unit : units_) {
      outcome.standstill_seconds = std::max(outcome.standstill_seconds, unit->standstill_seconds());
      outcome.units.push_back({unit->unit(), unit->members(), unit->warnings()});
    }
    units_.clear();
    version_.reset();
    return outcome;
  }

 private:
  using Step = Result<void> (UnitCheckpointer::*)();

  Result<void> Phases(CheckpointOutcome* outcome) {
    if (auto prepared = Prepare(); !prepared) return prepared.error();
    bool independent =
        job_.policy.protocol == ProtocolPolicy::kIndependent && !job_.stop && units_.size() > 1;
    if (independent) {
      if (auto saved = SaveIndependently(); !saved) return saved.error();
      return Commit(outcome);
    }
    if (auto stopped = All("stop", &UnitCheckpointer::Stop); !stopped) return stopped.error();
    if (auto saved = All("checkpoint", &UnitCheckpointer::Checkpoint); !saved) return saved.error();
    if (job_.policy.commit == CommitPolicy::kFast && !job_.stop) return ResumeThenCommit(outcome);
    if (auto finished = All("commit", &UnitCheckpointer::Finish); !finished)
      return finished.error();
    if (auto committed = Commit(outcome); !committed) return committed.error();
    if (job_.stop && job_.before_end) job_.before_end();
    return ResumeAll(job_.stop ? AfterCheckpoint::kEnd : AfterCheckpoint::kGoOn);
  }

  Result<void> Prepare() {
    if (auto prepared = All("prepare", &UnitCheckpointer::Prepare); !prepared)
      return prepared.error();
    auto version = store_.Begin(job_.begin);
    if (!version) return version.error();
    version_ = std::move(*version);
    for (const auto& unit : units_)
      if (auto added = unit->AddTo(*version_); !added)
        return added.error().Add("unit {}", unit->unit());
    if (auto on = job_.operation->CheckCancelled(); !on) return on.error();
    if (job_.before_freeze) job_.before_freeze();
    return {};
  }

  Result<void> ResumeThenCommit(CheckpointOutcome* outcome) {
    auto resumed = ResumeAll(AfterCheckpoint::kGoOn);
    // What was read is whole, whether or not everything goes on: it is kept.
    if (auto finished = All("commit", &UnitCheckpointer::Finish); !finished)
      return finished.error();
    if (auto committed = Commit(outcome); !committed) return committed.error();
    return resumed;
  }

  Result<void> SaveIndependently() {
    job_.operation->Enter("checkpoint");
    bool durable = job_.policy.commit == CommitPolicy::kDurable;
    return ForEach([&](UnitCheckpointer& unit) -> Result<void> {
      if (auto stopped = unit.Stop(); !stopped) return stopped.error();
      if (auto saved = unit.Checkpoint(); !saved) return saved.error();
      if (durable)
        if (auto finished = unit.Finish(); !finished) return finished.error();
      if (auto resumed = unit.Resume(AfterCheckpoint::kGoOn); !resumed) return resumed.error();
      return durable ? Result<void>() : unit.Finish();
    });
  }

  // The last moment at which a cancel still undoes everything.
  Result<void> Commit(CheckpointOutcome* outcome) {
    job_.operation->Enter("commit");
    if (auto on = job_.operation->CheckCancelled(); !on) return on.error();
    auto info = version_->Commit();
    if (!info) return info.error().Add("commit");
    outcome->version = std::move(*info);
    return {};
  }

  Result<void> ResumeAll(AfterCheckpoint after) {
    job_.operation->Enter("resume");
    // No unit's failure cancels the others here: each must go on.
    return ForAllUnits(
        units_.size(), nullptr, [&](size_t i) { return units_[i]->unit(); },
        [&](size_t i) { return units_[i]->Resume(after); });
  }

  Result<void> All(std::string_view phase, Step step) {
    if (auto on = job_.operation->CheckCancelled(); !on) return on.error();
    job_.operation->Enter(phase);
    return ForEach([&](UnitCheckpointer& unit) { return (unit.*step)(); });
  }

  Result<void> ForEach(const std::function<Result<void>(UnitCheckpointer&)>& step) {
    return ForAllUnits(
        units_.size(), job_.operation->cancel().get(), [&](size_t i) { return units_[i]->unit(); },
        [&](size_t i) { return step(*units_[i]); });
  }

  Store& store_;
  CheckpointJob job_;
  std::unique_ptr<VersionWriter> version_;
  std::vector<std::unique_ptr<UnitCheckpointer>> units_;
};

}  // namespace

Result<void> ForAllUnits(size_t count, CancelToken* cancel,
                         const std::function<std::string(size_t)>& unit,
                         const std::function<Result<void>(size_t)>& step) {
  Guarded<std::optional<Error>> first;
  auto run = [&](size_t i) {
    auto done = step(i);
    if (done) return;
    auto locked = first.Lock();
    if (*locked) return;
    *locked = done.error().Add("unit {}", unit(i));
    if (cancel != nullptr) cancel->Cancel();
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < count; ++i) {
    try {
      threads.emplace_back(run, i);
    } catch (const std::system_error&) {
      run(i);  // no more threads are to be had: phases do not wait for each other
    }
  }
  if (count > 0) run(0);
  for (std::thread& thread : threads) thread.join();
  auto locked = first.Lock();
  if (*locked) return **locked;
  return {};
}

CheckpointOutcome RunCheckpoint(Store& store, CheckpointJob job) {
  return Run(store, std::move(job)).Go();
}

}  // namespace ckptfs
