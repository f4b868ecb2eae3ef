#include "kapi/criu/unit_meta.h"

#include <chrono>

#include "kapi/criu/protobuf.h"
#include "kapi/criu/pstree.h"
#include "kapi/tree_control.h"

namespace ckptfs {
namespace {

constexpr size_t kMostWordsBytes = 128;
constexpr size_t kMostMetaBytes = 1 << 20;
constexpr uint64_t kMostPid = 4 << 20;  // PID_MAX_LIMIT
// How long a killed process may take to give back its memory.
constexpr auto kDyingPatience = std::chrono::seconds(10);

std::string BootId() {
  auto id = ReadFile("/proc/sys/kernel/random/boot_id", 64);
  if (!id) return "";
  while (id->ends_with('\n')) id->pop_back();
  return *id;
}

// "" for one without a command line: a zombie.
std::string WordsOf(pid_t pid) {
  auto words = ReadFile(fmt::format("/proc/{}/cmdline", pid), 4 << 20);
  return words ? words->substr(0, kMostWordsBytes) : "";
}

std::string Pack(const SavedProcess& process) {
  std::string message;
  AppendIntField(&message, 1, static_cast<uint64_t>(process.id.pid));
  AppendIntField(&message, 2, process.id.start_ticks);
  AppendIntField(&message, 3, static_cast<uint64_t>(process.inside));
  AppendStringField(&message, 4, process.words);
  return message;
}

bool Unpack(Bytes message, SavedProcess* process) {
  ProtobufReader reader(message);
  while (auto field = reader.Next()) {
    if ((field->number == 1 || field->number == 3) && field->value > kMostPid) return false;
    if (field->number == 1) process->id.pid = static_cast<pid_t>(field->value);
    if (field->number == 2) process->id.start_ticks = field->value;
    if (field->number == 3) process->inside = static_cast<pid_t>(field->value);
    if (field->number == 4) process->words = AsText(field->bytes);
  }
  return !reader.bad() && process->id.pid > 0;
}

Error WouldRunTwice(const ProcessId& alive, std::string_view who) {
  return Fail(Errc::kWouldRunTwice, "process {} is alive: {}", alive.pid, who)
      .WithRemedy(fmt::format("end it ('kill {}'), or write 'restart clone'", alive.pid));
}

}  // namespace

void AddProcesses(const std::vector<ProcessInfo>& tree, UnitMeta* meta) {
  meta->boot_id = BootId();
  meta->processes.clear();
  for (const ProcessInfo& process : tree) {
    if (meta->processes.size() == kMostSavedProcesses) return;
    if (process.state == 'Z' || process.state == 'X') continue;
    meta->processes.push_back({.id = process.id,
                               .inside = process.ns_pids.empty() ? 0 : process.ns_pids.back(),
                               .words = WordsOf(process.id.pid)});
  }
}

Result<void> CheckNotAlive(const UnitMeta& meta, bool same_pids) {
  std::vector<ProcessId> originals, restarted;
  bool same_boot = !meta.boot_id.empty() && meta.boot_id == BootId();
  for (const SavedProcess& saved : meta.processes) {
    if (same_boot) originals.push_back(saved.id);
    if (!same_pids || saved.inside == 0 || saved.words.empty()) continue;
    auto holder = ReadProcess(saved.inside);
    if (!holder) return holder.error();
    if (*holder && WordsOf(saved.inside) == saved.words) restarted.push_back((*holder)->id);
  }
  auto alive = FindLiving(originals, kDyingPatience);
  if (!alive) return alive.error();
  if (*alive) return WouldRunTwice(**alive, "it is the one that was saved");
  alive = FindLiving(restarted, kDyingPatience);
  if (!alive) return alive.error();
  if (*alive)
    return WouldRunTwice(**alive, "it has the pid and the command line of one that was saved");
  return {};
}

Result<void> WriteUnitMeta(ImageSink& sink, const UnitMeta& meta) {
  std::string message;
  AppendIntField(&message, 1, meta.leader_outside ? 1 : 0);
  AppendIntField(&message, 2, meta.terminal ? 1 : 0);
  if (!meta.boot_id.empty()) AppendStringField(&message, 3, meta.boot_id);
  for (const SavedProcess& process : meta.processes) AppendStringField(&message, 4, Pack(process));
  auto stream = sink.Open(kUnitMetaStream);
  if (!stream) return stream.error();
  if (auto done = (*stream)->Append(AsBytes(message)); !done) return done.error();
  return (*stream)->End();
}

Result<UnitMeta> ReadUnitMeta(ImageSource& source) {
  auto message = ReadStream(source, kUnitMetaStream, kMostMetaBytes);
  if (!message) return message.error();
  UnitMeta meta;
  bool good = true;
  ProtobufReader reader(AsBytes(*message));
  while (auto field = reader.Next()) {
    if (field->number == 1) meta.leader_outside = field->value != 0;
    if (field->number == 2) meta.terminal = field->value != 0;
    if (field->number == 3) meta.boot_id = AsText(field->bytes);
    if (field->number == 4 && meta.processes.size() < kMostSavedProcesses)
      good = Unpack(field->bytes, &meta.processes.emplace_back()) && good;
  }
  if (reader.bad() || !good)
    return Fail(Errc::kCorrupt, "the image's {} makes no sense", kUnitMetaStream);
  return meta;
}

}  // namespace ckptfs
