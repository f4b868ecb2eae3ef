#include "kapi/criu/criu_log.h"

#include "kapi/criu/log_messages.h"

namespace ckptfs {
namespace {

constexpr size_t kMaxLogs = 64;
constexpr size_t kMaxLineBytes = 400;

// "(00.012345)   4242: Error (criu/files.c:12): words" → "words".
std::string_view Words(std::string_view line) {
  size_t at = line.find("Error (");
  if (at == line.npos) return line;
  at = line.find("): ", at);
  if (at == line.npos) return line;
  return line.substr(at + 3);
}

std::string_view Between(std::string_view line, std::string_view after, std::string_view until) {
  size_t start = line.find(after);
  if (start == line.npos) return "";
  line.remove_prefix(start + after.size());
  return until.empty() ? line : line.substr(0, line.find(until));
}

std::optional<Error> Match(CriuAct act, std::string_view line) {
  for (const CriuMessage& message : CriuMessages()) {
    if (message.act && *message.act != act) continue;
    if (line.find(message.needle) == line.npos) continue;
    std::string sentence(message.sentence);
    if (size_t at = sentence.find("{}"); at != sentence.npos) {
      std::string_view detail = Between(line, message.after, message.until);
      sentence.replace(at, 2, detail.substr(0, kMaxLineBytes));
    }
    return Error(message.code, std::move(sentence), std::string(message.remedy));
  }
  return std::nullopt;
}

}  // namespace

Error ExplainCriuLog(CriuAct act, std::string_view log, std::string_view ended) {
  std::string_view first;
  while (!log.empty()) {
    size_t end = log.find('\n');
    std::string_view line = log.substr(0, end);
    log = end == log.npos ? std::string_view() : log.substr(end + 1);
    bool is_error = line.find("Error (") != line.npos;
    if (!is_error && line.find("Warn  (") == line.npos) continue;
    // The first that is known: later errors follow from it.
    if (auto known = Match(act, line)) return *known;
    // Every run says this one, and goes on.
    if (is_error && first.empty() && line.find("RLIMIT_NOFILE") == line.npos &&
        line.find("Script ") == line.npos && line.find("exited, status=") == line.npos)
      first = Words(line).substr(0, kMaxLineBytes);
  }
  std::string_view what = act == CriuAct::kDump ? "saved" : "restored";
  if (first.empty())
    return Fail(Errc::kIo, "the processes could not be {}: criu ended ({}) and did not say why",
                what, ended)
        .WithRemedy("read the unit's log");
  return Fail(Errc::kIo, "the processes could not be {}: criu says: {}", what, first)
      .WithRemedy("read the unit's log");
}

void CriuLogs::Keep(const std::string& job, const std::string& unit, std::string log) {
  auto logs = logs_.Lock();
  std::string key = job + "/" + unit;
  if (logs->size() >= kMaxLogs && !logs->contains(key)) logs->erase(logs->begin());
  (*logs)[std::move(key)] = std::move(log);
}

std::string CriuLogs::Last(std::string_view job, std::string_view unit) const {
  auto logs = logs_.Lock();
  auto it = logs->find(fmt::format("{}/{}", job, unit));
  return it == logs->end() ? "" : it->second;
}

}  // namespace ckptfs
