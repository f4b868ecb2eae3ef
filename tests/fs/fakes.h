// A store and an agent in memory, stricter than the real ones: they fail the test
// when they are asked what the tree must not ask. Header-only, for tests/mount too.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <atomic>
#include <map>
#include <memory>
#include <set>

#include "agent/agent.h"
#include "tests/base/temp_dir.h"

namespace ckptfs::fake {

inline constexpr uid_t kAlice = 1000;
inline constexpr uid_t kBob = 1001;
inline Caller Root() { return {1, 0, 0}; }
inline Caller Alice() { return {100, kAlice, kAlice}; }
inline Caller Bob() { return {200, kBob, kBob}; }

class MemoryFile : public ImageFile {
 public:
  // Pieces of at most `piece_bytes`, as frames in a pack are.
  MemoryFile(int fd, uint64_t size_bytes, uint64_t piece_bytes)
      : fd_(fd), size_bytes_(size_bytes), piece_bytes_(piece_bytes) {}
  uint64_t size_bytes() const override { return size_bytes_; }
  Result<Piece> At(uint64_t offset, uint64_t limit_bytes) const override {
    if (offset >= size_bytes_) return Fail(Errc::kInvalid, "past the end");
    uint64_t in_piece = piece_bytes_ - offset % piece_bytes_;
    return Piece{fd_, offset, std::min({limit_bytes, in_piece, size_bytes_ - offset})};
  }

 private:
  int fd_;
  uint64_t size_bytes_;
  uint64_t piece_bytes_;
};

class FakeStore : public Store {
 public:
  FakeStore() {
    auto keys = NodeKeys::Generate("here");
    EXPECT_TRUE(keys.ok());
    if (keys) key_ = keys->public_key();
  }

  // --- for tests
  void AddVersion(const std::string& job, uint64_t version, uid_t owner,
                  const std::map<std::string, std::string>& files) {
    auto state = state_.Lock();
    Version& made = state->versions[job][version];
    made.info.job = job;
    made.info.version = version;
    made.info.owner_uid = made.info.owner_gid = owner;
    made.info.created_unix_ms = 1'700'000'000'000 + static_cast<int64_t>(version);
    made.info.manifest_digest = fmt::format("{}-{}-{}", job, version, ++digests_);
    for (const auto& [name, text] : files) {
      Fd fd(::memfd_create(name.c_str(), MFD_CLOEXEC));
      EXPECT_TRUE(WriteAll(fd.get(), AsBytes(text)).ok());
      made.files[name] = {std::make_shared<Fd>(std::move(fd)), text.size()};
    }
  }
  // What Admit says of complete images from now on; unset: they are good.
  void RefuseImages(std::optional<Error> why) { state_.Lock()->refuse = std::move(why); }
  void FailTrust(std::optional<Error> why) { state_.Lock()->fail_trust = std::move(why); }
  uint64_t infos() const { return infos_; }

  // --- Store
  const PublicKey& public_key() const override { return key_; }
  Suite suite() const override { return Suite::kXChaCha20Blake2b; }
  std::vector<std::pair<std::string, PublicKey>> TrustedKeys() const override {
    auto state = state_.Lock();
    return {state->trusted.begin(), state->trusted.end()};
  }
  Result<void> Trust(std::string_view name, std::string_view key_file) override {
    EXPECT_TRUE(CheckName(name, "key").ok()) << name;
    auto key = PublicKey::Parse(key_file);
    if (!key) return key.error();
    auto state = state_.Lock();
    if (state->fail_trust) return *state->fail_trust;
    state->trusted.insert_or_assign(std::string(name), *key);
    return {};
  }
  Result<void> Distrust(std::string_view name) override {
    auto state = state_.Lock();
    EXPECT_EQ(state->trusted.erase(std::string(name)), 1u) << "distrusts what is not trusted";
    return {};
  }
  Result<std::unique_ptr<VersionWriter>> Begin(const BeginOptions&) override { return Never(); }
  std::vector<std::string> Jobs() const override {
    auto state = state_.Lock();
    std::set<std::string> names;
    for (const auto& [job, versions] : state->versions)
      if (!versions.empty()) names.insert(job);
    for (const auto& [key, incoming] : state->incoming) names.insert(key.first);
    return {names.begin(), names.end()};
  }
  std::vector<uint64_t> Versions(std::string_view job) const override {
    auto state = state_.Lock();
    std::vector<uint64_t> all;
    auto at = state->versions.find(job);
    if (at != state->versions.end())
      for (const auto& [version, rest] : at->second) all.push_back(version);
    return all;
  }
  std::optional<uint64_t> Latest(std::string_view job) const override {
    auto all = Versions(job);
    if (all.empty()) return std::nullopt;
    return all.back();
  }
  Result<VersionInfo> Info(std::string_view job, uint64_t version) const override {
    ++infos_;
    auto state = state_.Lock();
    const Version* found = Find(*state, job, version);
    if (found == nullptr) return Fail(Errc::kNotFound, "no version {}", version);
    return found->info;
  }
  Result<std::unique_ptr<VersionReader>> OpenVersion(std::string_view, uint64_t) override {
    return Never();
  }
  Result<void> Delete(std::string_view job, uint64_t version) override {
    auto state = state_.Lock();
    if (Find(*state, job, version) == nullptr) return Fail(Errc::kNotFound, "no version");
    state->versions.find(job)->second.erase(version);
    return {};
  }
  Result<std::vector<IncomingFile>> Files(std::string_view job, uint64_t version) const override {
    auto state = state_.Lock();
    const Version* found = Find(*state, job, version);
    if (found == nullptr) return Fail(Errc::kNotFound, "no version");
    std::vector<IncomingFile> files;
    for (const auto& [name, file] : found->files) files.push_back({name, file.size_bytes});
    return files;
  }
  Result<std::unique_ptr<ImageFile>> OpenFile(std::string_view job, uint64_t version,
                                              std::string_view name) const override {
    auto state = state_.Lock();
    const Version* found = Find(*state, job, version);
    if (found == nullptr) return Fail(Errc::kNotFound, "no version");
    auto at = found->files.find(std::string(name));
    if (at == found->files.end()) return Fail(Errc::kNotFound, "no file");
    return std::unique_ptr<ImageFile>(
        std::make_unique<MemoryFile>(at->second.fd->get(), at->second.size_bytes, 262176));
  }

  Result<void> MakeIncoming(std::string_view job, uint64_t version) override {
    auto state = state_.Lock();
    if (Find(*state, job, version) != nullptr) return Fail(Errc::kExists, "it is a version");
    state->incoming[{std::string(job), version}];
    EXPECT_TRUE(EnsureDir(dir_.fd(), Folder(job, version), 0700).ok());
    return {};
  }
  Result<Fd> OpenIncoming(std::string_view job, uint64_t version, std::string_view name,
                          int flags) override {
    if (!HasIncoming(job, version)) return Fail(Errc::kNotFound, "no incoming image");
    EXPECT_EQ(name.find('/'), std::string_view::npos);
    return ckptfs::Open(dir_ / (Folder(job, version) + "/" + std::string(name)), flags, 0600);
  }
  Result<void> RenameIncoming(std::string_view job, uint64_t version, std::string_view from,
                              std::string_view to) override {
    std::string folder = dir_ / Folder(job, version) + "/";
    if (::rename((folder + std::string(from)).c_str(), (folder + std::string(to)).c_str()) != 0)
      return Error::FromErrno(errno, "rename");
    return {};
  }
  Result<void> RemoveIncomingFile(std::string_view job, uint64_t version,
                                  std::string_view name) override {
    std::string path = dir_ / (Folder(job, version) + "/" + std::string(name));
    if (::unlink(path.c_str()) != 0) return Error::FromErrno(errno, "unlink");
    return {};
  }
  Result<void> RemoveIncoming(std::string_view job, uint64_t version) override {
    if (state_.Lock()->incoming.erase({std::string(job), version}) == 0)
      return Fail(Errc::kNotFound, "no incoming image");
    return RemoveTree(dir_.fd(), Folder(job, version));
  }
  Result<IncomingInfo> Incoming(std::string_view job, uint64_t version) const override {
    if (!HasIncoming(job, version)) return Fail(Errc::kNotFound, "no incoming image");
    IncomingInfo info;
    info.job = job;
    info.version = version;
    auto refuse = state_.Lock()->refuse;
    auto folder = OpenAt(dir_.fd(), Folder(job, version), O_RDONLY | O_DIRECTORY);
    auto names = folder ? ListDir(folder->get()) : Result<std::vector<std::string>>(folder.error());
    if (!names) return names.error();
    bool manifest = false;
    for (const std::string& name : *names) {
      struct stat st {};
      ::fstatat(folder->get(), name.c_str(), &st, 0);
      info.files.push_back({name, static_cast<uint64_t>(st.st_size)});
      manifest = manifest || name == "manifest";
    }
    info.words = manifest ? "" : "manifest is missing";
    if (manifest && refuse) {
      info.state = IncomingState::kBad;
      info.words = refuse->message();
    }
    return info;
  }
  std::vector<uint64_t> IncomingVersions(std::string_view job) const override {
    auto state = state_.Lock();
    std::vector<uint64_t> all;
    for (const auto& [key, owner] : state->incoming)
      if (key.first == job) all.push_back(key.second);
    return all;
  }
  // Complete once "manifest", "manifest.minisig" and "main.img" are there.
  Result<VersionInfo> Admit(std::string_view job, uint64_t version) override {
    std::map<std::string, std::string> files;
    for (const char* name : {"manifest", "manifest.minisig", "main.img"}) {
      auto text = ReadFile(dir_ / (Folder(job, version) + "/" + name), 64 << 20);
      if (!text) return Fail(Errc::kBusy, "{} is missing", name);
      files[name] = *text;
    }
    if (auto refuse = state_.Lock()->refuse) return *refuse;
    AddVersion(std::string(job), version, kAlice, files);
    if (auto gone = RemoveIncoming(job, version); !gone) return gone.error();
    return Info(job, version);
  }

  Result<void> PutRecord(std::string_view, std::string_view) override { return Never(); }
  Result<bool> DeleteRecord(std::string_view) override { return Never(); }
  std::map<std::string, std::string> Records(std::string_view) const override { return {}; }
  Result<StoreUse> Use() const override { return StoreUse{4096, 0, 1 << 30, 1}; }

 private:
  struct File {
    std::shared_ptr<Fd> fd;
    uint64_t size_bytes = 0;
  };
  struct Version {
    VersionInfo info;
    std::map<std::string, File> files;
  };
  struct State {
    std::map<std::string, PublicKey> trusted;
    std::map<std::string, std::map<uint64_t, Version>, std::less<>> versions;
    std::map<std::pair<std::string, uint64_t>, uid_t> incoming;
    std::optional<Error> refuse, fail_trust;
  };
  static const Version* Find(const State& state, std::string_view job, uint64_t version) {
    auto at = state.versions.find(job);
    if (at == state.versions.end() || !at->second.contains(version)) return nullptr;
    return &at->second.at(version);
  }
  bool HasIncoming(std::string_view job, uint64_t version) const {
    return state_.Lock()->incoming.contains({std::string(job), version});
  }
  static std::string Folder(std::string_view job, uint64_t version) {
    return fmt::format("{}+{}", job, version);
  }
  static Error Never() { return Fail(Errc::kInternal, "the tree must not ask this"); }

  TempDir dir_;
  PublicKey key_;
  Guarded<State> state_;
  std::atomic<uint64_t> digests_{0};
  mutable std::atomic<uint64_t> infos_{0};
};

// Jobs without processes. Commands stay open until the test ends them, but for
// `suspend`, which succeeds at once, and `kill`, which fails.
class FakeAgent : public Agent {
 public:
  explicit FakeAgent(Store* store) : store_(store) {
    auto events = EventLog::Open(dir_.fd(), 1 << 20);
    EXPECT_TRUE(events.ok());
    if (events) events_ = std::move(*events);
  }
  ~FakeAgent() override {
    FinishCommands(Fail(Errc::kCancelled, "the agent ends"));
    EXPECT_TRUE(state_.Lock()->waits.empty()) << "a wait was left behind";
  }

  // --- for tests
  size_t open_commands() const { return state_.Lock()->commands.size(); }
  size_t open_waits() const { return state_.Lock()->waits.size(); }
  std::vector<Caller> callers() const { return state_.Lock()->callers; }
  std::vector<std::string> noted() const { return state_.Lock()->noted; }
  void FinishCommands(const Result<void>& result) {
    std::map<uint64_t, Running> commands;
    commands.swap(state_.Lock()->commands);
    for (auto& [id, one] : commands)
      one.done(one.cancel->cancelled() ? Result<void>(Fail(Errc::kCancelled, "cancelled"))
                                       : result);
  }
  // What real operations do by themselves: the cancelled ones end.
  void EndCancelled() {
    std::vector<Running> ended;
    {
      auto state = state_.Lock();
      for (auto at = state->commands.begin(); at != state->commands.end();) {
        bool cancelled = at->second.cancel->cancelled();
        if (cancelled) ended.push_back(at->second);
        at = cancelled ? state->commands.erase(at) : std::next(at);
      }
    }
    for (Running& one : ended) one.done(Fail(Errc::kCancelled, "cancelled"));
  }
  void EndJob(const std::string& line) {
    std::map<uint64_t, Ended> waits;
    {
      auto state = state_.Lock();
      waits.swap(state->waits);
      state->ended = line;
    }
    for (auto& [id, done] : waits) done(line);
  }

  // --- Agent
  Result<void> MakeJob(std::string_view job, const Caller& c) override {
    if (auto named = CheckName(job, "job"); !named) return named.error();
    auto state = state_.Lock();
    if (state->jobs.contains(job)) return Fail(Errc::kExists, "there is a job {}", job);
    state->jobs.emplace(std::string(job), Job{c.uid, {"main"}, {}, {{"main", "auto"}}, {}});
    return {};
  }
  Result<void> ForgetJob(std::string_view job, const Caller& c) override {
    if (!HasJob(job, c)) return Missing(job);
    state_.Lock()->jobs.erase(std::string(job));
    return {};
  }
  Result<void> MakeUnit(std::string_view job, std::string_view unit, const Caller& c) override {
    if (!HasJob(job, c)) return Missing(job);
    if (auto named = CheckName(unit, "unit"); !named) return named.error();
    auto state = state_.Lock();
    Job& own = state->jobs.find(job)->second;
    if (!own.units.emplace(unit).second) return Fail(Errc::kExists, "there is a unit {}", unit);
    own.checkpointers[std::string(unit)] = "auto";
    return {};
  }
  Result<void> ForgetUnit(std::string_view job, std::string_view unit, const Caller& c) override {
    if (!HasUnit(job, unit, c)) return Missing(unit);
    state_.Lock()->jobs.find(job)->second.units.erase(std::string(unit));
    return {};
  }
  std::vector<std::string> Jobs(const Caller& c) const override {
    std::vector<std::string> names;
    for (const auto& [name, job] : state_.Lock()->jobs)
      if (c.uid == 0 || c.uid == job.owner) names.push_back(name);
    return names;
  }
  Result<JobStatus> Status(std::string_view job, const Caller& c) const override {
    if (!HasJob(job, c)) return Missing(job);
    auto state = state_.Lock();
    const Job& own = state->jobs.find(job)->second;
    JobStatus status;
    status.name = job;
    status.owner_uid = status.owner_gid = own.owner;
    for (const std::string& unit : own.units) {
      UnitStatus one;
      one.name = unit;
      one.checkpointer = own.checkpointers.at(unit);
      one.processes = own.procs;
      status.units.push_back(one);
    }
    return status;
  }
  bool HasJob(std::string_view job, const Caller& c) const override {
    auto state = state_.Lock();
    auto at = state->jobs.find(job);
    return at != state->jobs.end() && (c.uid == 0 || c.uid == at->second.owner);
  }
  bool HasUnit(std::string_view job, std::string_view unit, const Caller& c) const override {
    if (!HasJob(job, c)) return false;
    return state_.Lock()->jobs.find(job)->second.units.contains(std::string(unit));
  }
  Result<Policy> GetPolicy(std::string_view job, const Caller& c) const override {
    if (!HasJob(job, c)) return Missing(job);
    return state_.Lock()->jobs.find(job)->second.policy;
  }
  Result<void> SetPolicy(std::string_view job, const Policy& policy, const Caller& c) override {
    if (!HasJob(job, c)) return Missing(job);
    state_.Lock()->jobs.find(job)->second.policy = policy;
    return {};
  }
  Result<void> SetCheckpointer(std::string_view job, std::string_view unit, std::string_view name,
                               const Caller& c) override {
    if (!HasUnit(job, unit, c)) return Missing(unit);
    if (name != "auto" && name != "criu") return Fail(Errc::kInvalid, "no checkpointer {}", name);
    state_.Lock()->jobs.find(job)->second.checkpointers[std::string(unit)] = name;
    return {};
  }
  Result<void> Attach(std::string_view job, std::string_view unit, pid_t pid,
                      const Caller& c) override {
    if (!HasUnit(job, unit, c)) return Missing(unit);
    if (pid == 404) return Fail(Errc::kGone, "no process {}", pid);
    state_.Lock()->jobs.find(job)->second.procs = {pid, pid + 1};
    return {};
  }
  void Execute(std::string_view job, const Command& command, const Caller& caller,
               std::shared_ptr<CancelToken> cancel, Done done) override {
    EXPECT_TRUE(cancel != nullptr);
    {
      auto state = state_.Lock();
      state->callers.push_back(caller);
      state->last_command = command;
    }
    if (!HasJob(job, caller)) return done(Missing(job));
    events_->Add(job, command.text);
    if (command.verb == Verb::kSuspend || command.background) return done({});
    if (command.verb == Verb::kKill) return done(Fail(Errc::kGone, "no processes"));
    if (command.verb == Verb::kCancel) {
      for (auto& [id, one] : state_.Lock()->commands) one.cancel->Cancel();
      EndCancelled();
      return done({});
    }
    auto state = state_.Lock();
    state->commands[++state->last_id] = {std::move(cancel), std::move(done)};
  }
  Result<JobProgress> ProgressOf(std::string_view job, const Caller& c) const override {
    if (!HasJob(job, c)) return Missing(job);
    JobProgress progress;
    progress.phase = "idle";
    return progress;
  }
  Result<uint64_t> WaitForEnd(std::string_view job, const Caller& c, Ended done) override {
    if (!HasJob(job, c)) return Missing(job);
    std::optional<std::string> ended;
    {
      auto state = state_.Lock();
      ended = state->ended;
      if (!ended) {
        state->waits[++state->last_id] = std::move(done);
        return state->last_id;
      }
    }
    done(*ended);
    return uint64_t{0};
  }
  void CancelWait(uint64_t id) override { state_.Lock()->waits.erase(id); }
  Result<std::string> JobErrors(std::string_view job, const Caller& c) const override {
    if (!HasJob(job, c)) return Missing(job);
    return NodeErrors(c);
  }
  std::string NodeErrors(const Caller&) const override {
    std::string text;
    for (const std::string& one : state_.Lock()->noted) text += one + "\n";
    return text;
  }
  void NoteError(std::string_view job, std::string_view command, const Error& error) override {
    EXPECT_FALSE(error.message().empty());
    state_.Lock()->noted.push_back(fmt::format("{}|{}|{}", job, command, error.Text()));
  }
  Result<std::string> UnitLog(std::string_view job, std::string_view unit,
                              const Caller& c) const override {
    if (!HasUnit(job, unit, c)) return Missing(unit);
    return std::string("log of criu\n");
  }
  std::string Metrics(const Caller&) const override { return "ckptfs_jobs 1\n"; }
  std::vector<CheckpointerStatus> Checkpointers() const override {
    CheckpointerStatus criu;
    criu.name = "criu";
    criu.availability.available = true;
    criu.availability.version = "4.1.1";
    return {criu};
  }
  Result<void> CheckImageAccess(std::string_view job, std::optional<uint64_t> version,
                                const Caller& c) const override {
    if (c.uid == 0) return {};
    auto owns = [&](uint64_t number) {
      auto info = store_->Info(job, number);
      if (info) return info->owner_uid == c.uid;
      auto state = state_.Lock();
      auto at = state->incoming_owners.find({std::string(job), number});
      return at != state->incoming_owners.end() && at->second == c.uid;
    };
    if (version) return owns(*version) ? Result<void>() : Result<void>(Missing(job));
    for (uint64_t number : store_->Versions(job))
      if (owns(number)) return {};
    for (uint64_t number : store_->IncomingVersions(job))
      if (owns(number)) return {};
    return Missing(job);
  }
  Result<void> DeleteVersion(std::string_view job, uint64_t version, const Caller& c) override {
    if (auto may = CheckImageAccess(job, version, c); !may) return may.error();
    return store_->Delete(job, version);
  }
  Result<void> MakeIncoming(std::string_view job, uint64_t version, const Caller& c) override {
    state_.Lock()->incoming_owners[{std::string(job), version}] = c.uid;
    return store_->MakeIncoming(job, version);
  }
  Result<VersionInfo> AdmitImage(std::string_view job, uint64_t version, const Caller& c) override {
    if (auto may = CheckImageAccess(job, version, c); !may) return may.error();
    return store_->Admit(job, version);
  }
  Result<void> RemoveIncoming(std::string_view job, uint64_t version, const Caller& c) override {
    if (auto may = CheckImageAccess(job, version, c); !may) return may.error();
    return store_->RemoveIncoming(job, version);
  }
  Store& store() override { return *store_; }
  EventLog& events() override { return *events_; }

 private:
  struct Job {
    uid_t owner = 0;
    std::set<std::string> units;
    Policy policy;
    std::map<std::string, std::string> checkpointers;
    std::vector<pid_t> procs;
  };
  struct Running {
    std::shared_ptr<CancelToken> cancel;
    Done done;
  };
  struct State {
    std::map<std::string, Job, std::less<>> jobs;
    std::map<uint64_t, Running> commands;
    std::map<uint64_t, Ended> waits;
    std::map<std::pair<std::string, uint64_t>, uid_t> incoming_owners;
    std::optional<std::string> ended;
    std::vector<Caller> callers;
    std::vector<std::string> noted;
    Command last_command;
    uint64_t last_id = 0;
  };
  static Error Missing(std::string_view name) { return Fail(Errc::kNotFound, "no {}", name); }

  Store* store_;
  TempDir dir_;
  std::unique_ptr<EventLog> events_;
  Guarded<State> state_;
};

}  // namespace ckptfs::fake
