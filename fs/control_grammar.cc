#include "fs/control_grammar.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <vector>

namespace ckptfs {
namespace {

constexpr std::string_view kHelp =
    "checkpoint [stop] [full]\n"
    "restart [N] [clone] [here|node=NODE]\n"
    "suspend\n"
    "resume\n"
    "kill\n"
    "migrate NODE\n"
    "cancel\n";

constexpr std::string_view kRemedy =
    "allowed: checkpoint [stop] [full], restart [N] [clone] [here|node=NODE], suspend, resume, "
    "kill, migrate NODE, cancel; each may end in ' &'";

bool Printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

// One line of printable ASCII (tabs as blanks), split at blanks.
Result<std::vector<std::string>> Words(std::string_view written) {
  if (written.size() > kControlBytes)
    return Fail(Errc::kTooBig, "{} bytes in one write, {} are the most", written.size(),
                kControlBytes);
  if (written.ends_with('\n')) written.remove_suffix(1);
  std::string line(written);
  std::replace(line.begin(), line.end(), '\t', ' ');
  if (line.find('\n') != std::string::npos)
    return Fail(Errc::kInvalid, "more than one line in one write")
        .WithRemedy("write one command at a time");
  if (!Printable(line))
    return Fail(Errc::kInvalid, "'{}' is not plain ASCII text", Quoted(written));
  std::vector<std::string> words;
  for (size_t at = 0; at < line.size();) {
    size_t end = std::min(line.find(' ', at), line.size());
    if (end > at) words.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

Error Refused(const Command& command, std::string_view word) {
  return Fail(Errc::kInvalid, "'{}' does not go with '{}'", word, command.text)
      .WithRemedy(std::string(kRemedy));
}

// The words after `checkpoint` or `restart`, each at most once.
Result<void> ParseOptions(const std::vector<std::string>& words, Command* command) {
  bool here = false;
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (command->verb == Verb::kCheckpoint) {
      bool* flag = word == "stop" ? &command->stop : word == "full" ? &command->full : nullptr;
      if (flag == nullptr || *flag) return Refused(*command, word);
      *flag = true;
    } else if (word == "clone" && !command->clone) {
      command->clone = true;
    } else if (word == "here" && !here && command->node.empty()) {
      here = true;
    } else if (word.starts_with("node=") && !here && command->node.empty()) {
      command->node = word.substr(5);
      if (auto named = CheckName(command->node, "node"); !named) return named.error();
    } else if (auto version = ParseVersion(word); version && !command->version) {
      command->version = version;
    } else {
      return Refused(*command, word);
    }
  }
  return {};
}

}  // namespace

std::string_view CommandHelp() { return kHelp; }

std::string Quoted(std::string_view written) {
  constexpr size_t kMost = 120;
  std::string out;
  if (written.ends_with('\n')) written.remove_suffix(1);
  for (char c : written.substr(0, kMost)) {
    if (c >= 0x20 && c < 0x7f)
      out += c;
    else
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  if (written.size() > kMost) out += "...";
  return out;
}

std::optional<uint64_t> ParseVersion(std::string_view name) {
  uint64_t version = 0;
  auto [end, fault] = std::from_chars(name.data(), name.data() + name.size(), version);
  if (fault != std::errc() || end != name.data() + name.size() || name.starts_with('0'))
    return std::nullopt;
  return version;
}

Result<Command> ParseCommand(std::string_view written) {
  auto words = Words(written);
  if (!words) return words.error();
  Command command;
  command.text = Quoted(written);
  if (!words->empty()) {
    std::string& last = words->back();
    if (last == "&") {
      command.background = true;
      words->pop_back();
    } else if (last.size() > 1 && last.ends_with('&')) {
      command.background = true;
      last.pop_back();
    }
  }
  if (words->empty())
    return Fail(Errc::kInvalid, "an empty command").WithRemedy(std::string(kRemedy));

  const std::string& verb = words->front();
  if (verb == "checkpoint" || verb == "restart") {
    command.verb = verb == "restart" ? Verb::kRestart : Verb::kCheckpoint;
    if (auto parsed = ParseOptions(*words, &command); !parsed) return parsed.error();
    return command;
  }
  if (verb == "migrate") {
    command.verb = Verb::kMigrate;
    if (words->size() != 2)
      return Fail(Errc::kInvalid, "'{}' must name one node", command.text)
          .WithRemedy("write 'migrate NODE'; 'ls nodes' lists them");
    command.node = (*words)[1];
    if (auto named = CheckName(command.node, "node"); !named) return named.error();
    return command;
  }
  if (verb == "suspend")
    command.verb = Verb::kSuspend;
  else if (verb == "resume")
    command.verb = Verb::kResume;
  else if (verb == "kill")
    command.verb = Verb::kKill;
  else if (verb == "cancel")
    command.verb = Verb::kCancel;
  else
    return Fail(Errc::kInvalid, "'{}' is no command", verb).WithRemedy(std::string(kRemedy));
  if (words->size() != 1) return Refused(command, (*words)[1]);
  return command;
}

Result<pid_t> ParsePid(std::string_view written) {
  auto words = Words(written);
  if (!words) return words.error();
  pid_t pid = 0;
  if (words->size() == 1) {
    const std::string& word = words->front();
    auto [end, fault] = std::from_chars(word.data(), word.data() + word.size(), pid);
    if (fault != std::errc() || end != word.data() + word.size()) pid = 0;
  }
  if (pid <= 0)
    return Fail(Errc::kInvalid, "'{}' is no pid", Quoted(written))
        .WithRemedy("write one pid, that of the root of the unit's tree");
  return pid;
}

Result<std::string> ParseWord(std::string_view written) {
  auto words = Words(written);
  if (!words) return words.error();
  if (words->size() != 1) return Fail(Errc::kInvalid, "'{}' is not one word", Quoted(written));
  return words->front();
}

}  // namespace ckptfs
