// What anybody may write into control files: commands, pids, words, policies, and names of
// folders. What is taken means one thing only; what is refused is said in text that no terminal
// takes for anything else.
#include "fs/control_grammar.h"

#include <algorithm>
#include <cstdlib>

#include "agent/policy.h"
#include "agent/store/names.h"

namespace ckptfs {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

bool IsOneSafeLine(std::string_view text) {
  return text.size() < kControlBytes + 1000 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

void RequireRefusal(const Error& error) {
  Require(error.code() == Errc::kInvalid || error.code() == Errc::kTooBig);
  Require(!error.message().empty() && IsOneSafeLine(error.Text()));
}

// As a careful person would have written it.
std::string Spelled(const Command& command) {
  std::string text;
  switch (command.verb) {
    case Verb::kCheckpoint:
      text = "checkpoint";
      break;
    case Verb::kRestart:
      text = "restart";
      break;
    case Verb::kSuspend:
      text = "suspend";
      break;
    case Verb::kResume:
      text = "resume";
      break;
    case Verb::kKill:
      text = "kill";
      break;
    case Verb::kMigrate:
      return "migrate " + command.node + (command.background ? " &" : "");
    case Verb::kCancel:
      text = "cancel";
      break;
  }
  if (command.stop) text += " stop";
  if (command.full) text += " full";
  if (command.version) text += " " + std::to_string(*command.version);
  if (command.clone) text += " clone";
  if (!command.node.empty()) text += " node=" + command.node;
  if (command.background) text += " &";
  return text + "\n";
}

void TryCommand(std::string_view written) {
  auto command = ParseCommand(written);
  if (!command) return RequireRefusal(command.error());
  Require(IsOneSafeLine(command->text));
  Require(command->node.empty() || CheckName(command->node, "node").ok());
  Require(command->version != uint64_t{0});
  auto again = ParseCommand(Spelled(*command));
  Require(again.ok() && Spelled(*again) == Spelled(*command));
}

void TryPidAndWord(std::string_view written) {
  auto pid = ParsePid(written);
  if (pid)
    Require(*pid > 0 && ParsePid(std::to_string(*pid)).ok());
  else
    RequireRefusal(pid.error());
  auto word = ParseWord(written);
  if (!word) return RequireRefusal(word.error());
  Require(!word->empty() && IsOneSafeLine(*word) && word->find(' ') == std::string::npos);
  Require(*ParseWord(*word) == *word);
}

void TryName(std::string_view name) {
  Require(IsOneSafeLine(Quoted(name)));
  if (auto version = ParseVersion(name)) Require(std::to_string(*version) == name);
  // The store's numbers end earlier; up to there the two are the same.
  if (auto number = ParseVersionNumber(name)) Require(number == ParseVersion(name));
  auto good = CheckName(name, "job");
  if (!good) return RequireRefusal(good.error());
  Require(name.find('/') == std::string_view::npos && name != "." && name != "..");
  Require(UnitOfImageFile(ImageFileName(name)) == std::string(name));
}

void TryPolicy(std::string_view written) {
  auto policy = Policy().With(written);
  if (!policy) return RequireRefusal(policy.error());
  auto again = Policy().With(policy->Format());
  Require(again.ok() && *again == *policy);
}

}  // namespace
}  // namespace ckptfs

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view written(reinterpret_cast<const char*>(data), size);
  ckptfs::TryCommand(written);
  ckptfs::TryPidAndWord(written);
  ckptfs::TryName(written);
  ckptfs::TryPolicy(written);
  return 0;
}
