#include "agent/command_table.h"

namespace ckptfs {
namespace {

constexpr Rule kYes{};
constexpr Rule kDone{.allowed = Allowed::kNothingToDo};

constexpr Rule Refuse(Errc code, const char* words, const char* remedy) {
  return {.allowed = Allowed::kRefused, .code = code, .words = words, .remedy = remedy};
}
constexpr Rule kNeverRan = Refuse(Errc::kGone, "no unit has processes yet",
                                  "write a pid into units/main/procs, or restart a version");
constexpr Rule kIsStopped =
    Refuse(Errc::kGone, "the job is stopped and has no processes", "write 'restart' first");
constexpr Rule kHasEnded = Refuse(Errc::kGone, "the job's processes have ended",
                                  "write 'restart', or write another pid into units/main/procs");
constexpr Rule kIsAlive = Refuse(Errc::kWouldRunTwice, "the job is alive and would run twice",
                                 "write 'kill' first, or 'restart clone' for a second one");
constexpr Rule kOneNode = Refuse(Errc::kUnsupported, "this node is alone: there is no grid",
                                 "copy the image to the other node and restart it there");

// Columns in the order of JobState: empty, running, suspended, stopped, ended.
struct Row {
  Verb verb;
  bool clone;
  Rule rules[5];
};
constexpr Row kTable[] = {
    {Verb::kCheckpoint, false, {kNeverRan, kYes, kYes, kIsStopped, kHasEnded}},
    {Verb::kRestart, false, {kYes, kIsAlive, kIsAlive, kYes, kYes}},
    {Verb::kRestart, true, {kYes, kYes, kYes, kYes, kYes}},
    {Verb::kSuspend, false, {kNeverRan, kYes, kDone, kIsStopped, kHasEnded}},
    {Verb::kResume, false, {kNeverRan, kDone, kYes, kIsStopped, kHasEnded}},
    {Verb::kKill, false, {kNeverRan, kYes, kYes, kIsStopped, kHasEnded}},
    {Verb::kMigrate, false, {kOneNode, kOneNode, kOneNode, kOneNode, kOneNode}},
    {Verb::kCancel, false, {kDone, kDone, kDone, kDone, kDone}},
};

}  // namespace

Rule RuleFor(const Command& command, JobState state) {
  bool clone = command.verb == Verb::kRestart && command.clone;
  for (const Row& row : kTable)
    if (row.verb == command.verb && row.clone == clone)
      return row.rules[static_cast<size_t>(state)];
  return Refuse(Errc::kInternal, "this command has no rule", "");
}

Result<void> CheckCommand(const Command& command, std::string_view this_node) {
  bool elsewhere = !command.node.empty() && command.node != this_node;
  if (command.verb == Verb::kMigrate || elsewhere) {
    std::string target = command.node.empty() ? "another node" : "node " + command.node;
    return Fail(Errc::kUnsupported, "{} cannot be reached: {} is alone, there is no grid", target,
                this_node)
        .WithRemedy("copy the image to the other node's mount and restart it there");
  }
  return {};
}

}  // namespace ckptfs
