#include "agent/policy.h"

#include <array>
#include <charconv>
#include <optional>
#include <span>
#include <vector>

namespace ckptfs {
namespace {

constexpr size_t kTextLimitBytes = 4096;

// Digits alone, or with a unit that multiplies them. nullopt: no number, or one too large.
struct Suffix {
  char letter;
  uint64_t factor;
};
constexpr std::array kByteSuffixes{Suffix{'K', 1ull << 10}, Suffix{'M', 1ull << 20},
                                   Suffix{'G', 1ull << 30}};
constexpr std::array kTimeSuffixes{Suffix{'s', 1}, Suffix{'m', 60}, Suffix{'h', 3600}};

std::optional<uint64_t> ParseNumber(std::string_view text, std::span<const Suffix> suffixes,
                                    uint64_t most) {
  uint64_t factor = 1;
  if (text.empty()) return std::nullopt;
  for (const Suffix& suffix : suffixes) {
    if (text.back() != suffix.letter) continue;
    factor = suffix.factor;
    text.remove_suffix(1);
    break;
  }
  uint64_t value = 0;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size() || text.empty())
    return std::nullopt;
  if (value > most / factor) return std::nullopt;
  return value * factor;
}

template <typename T>
struct Choice {
  std::string_view word;
  T value;
};
template <typename T>
Choice(const char*, T) -> Choice<T>;

constexpr std::array kRestarts{Choice{"never", RestartPolicy::kNever},
                               Choice{"on-failure", RestartPolicy::kOnFailure}};
constexpr std::array kProtocols{Choice{"coordinated", ProtocolPolicy::kCoordinated},
                                Choice{"independent", ProtocolPolicy::kIndependent}};
constexpr std::array kFiles{Choice{"restore", FilesPolicy::kRestore},
                            Choice{"keep", FilesPolicy::kKeep}, Choice{"fail", FilesPolicy::kFail}};
constexpr std::array kCompress{Choice{"none", CompressPolicy::kNone},
                               Choice{"zstd", CompressPolicy::kZstd}};
constexpr std::array kCommits{Choice{"durable", CommitPolicy::kDurable},
                              Choice{"fast", CommitPolicy::kFast}};
constexpr std::array kTcps{Choice{"close", TcpPolicy::kClose}, Choice{"keep", TcpPolicy::kKeep}};

template <typename T, size_t N>
bool SetChoice(const std::array<Choice<T>, N>& choices, std::string_view word, T* field) {
  for (const auto& choice : choices)
    if (choice.word == word) {
      *field = choice.value;
      return true;
    }
  return false;
}

template <typename T, size_t N>
std::string_view WordOf(const std::array<Choice<T>, N>& choices, T value) {
  for (const auto& choice : choices)
    if (choice.value == value) return choice.word;
  return "?";
}

template <typename T, size_t N>
std::string Allowed(const std::array<Choice<T>, N>& choices) {
  std::string words;
  for (const auto& choice : choices)
    words += fmt::format("{}'{}'", words.empty() ? "" : " or ", choice.word);
  return words;
}

constexpr uint64_t kMostSeconds = 366ull * 24 * 3600;
constexpr uint64_t kMostBytes = 1ull << 50;
constexpr uint64_t kMostVersions = 1'000'000;

const char* const kTimeWords =
    "a time such as '90', '90s', '5m' or '1h', at most a year; 0 is never";
const char* const kBytesWords = "a size such as '0', '4096', '64K', '512M' or '2G'";

bool SetNumber(std::string_view text, std::span<const Suffix> suffixes, uint64_t most,
               uint64_t* field) {
  auto number = ParseNumber(text, suffixes, most);
  if (number) *field = *number;
  return number.has_value();
}

// One key of a policy: how its value is read, said, and what is allowed there.
struct Key {
  const char* name;
  bool (*set)(Policy*, std::string_view);
  std::string (*get)(const Policy&);
  std::string (*allowed)();
};

// In the order in which they are printed.
const Key kKeys[] = {
    {"interval",
     [](Policy* p, std::string_view text) {
       uint64_t seconds = 0;
       if (!SetNumber(text, kTimeSuffixes, kMostSeconds, &seconds)) return false;
       p->interval = std::chrono::seconds(seconds);
       return true;
     },
     [](const Policy& p) { return std::to_string(p.interval.count()); },
     [] { return std::string(kTimeWords); }},
    {"keep",
     [](Policy* p, std::string_view text) { return SetNumber(text, {}, kMostVersions, &p->keep); },
     [](const Policy& p) { return std::to_string(p.keep); },
     [] { return fmt::format("a number of versions from 1 to {}; 0 keeps all", kMostVersions); }},
    {"restart",
     [](Policy* p, std::string_view text) { return SetChoice(kRestarts, text, &p->restart); },
     [](const Policy& p) { return std::string(WordOf(kRestarts, p.restart)); },
     [] { return Allowed(kRestarts); }},
    {"protocol",
     [](Policy* p, std::string_view text) { return SetChoice(kProtocols, text, &p->protocol); },
     [](const Policy& p) { return std::string(WordOf(kProtocols, p.protocol)); },
     [] { return Allowed(kProtocols); }},
    {"files", [](Policy* p, std::string_view text) { return SetChoice(kFiles, text, &p->files); },
     [](const Policy& p) { return std::string(WordOf(kFiles, p.files)); },
     [] { return Allowed(kFiles); }},
    {"files_limit",
     [](Policy* p, std::string_view text) {
       return SetNumber(text, kByteSuffixes, kMostBytes, &p->files_limit_bytes);
     },
     [](const Policy& p) { return std::to_string(p.files_limit_bytes); },
     [] { return std::string(kBytesWords); }},
    {"compress",
     [](Policy* p, std::string_view text) { return SetChoice(kCompress, text, &p->compress); },
     [](const Policy& p) { return std::string(WordOf(kCompress, p.compress)); },
     [] { return Allowed(kCompress); }},
    {"commit",
     [](Policy* p, std::string_view text) { return SetChoice(kCommits, text, &p->commit); },
     [](const Policy& p) { return std::string(WordOf(kCommits, p.commit)); },
     [] { return Allowed(kCommits); }},
    {"buffer",
     [](Policy* p, std::string_view text) {
       return SetNumber(text, kByteSuffixes, kMostBytes, &p->buffer_bytes);
     },
     [](const Policy& p) { return std::to_string(p.buffer_bytes); },
     [] { return std::string(kBytesWords); }},
    {"tcp", [](Policy* p, std::string_view text) { return SetChoice(kTcps, text, &p->tcp); },
     [](const Policy& p) { return std::string(WordOf(kTcps, p.tcp)); },
     [] { return Allowed(kTcps); }},
};

// What a message may repeat of foreign text: short, and without control characters.
std::string Quoted(std::string_view text) {
  std::string safe;
  for (char c : text.substr(0, 40)) safe += c >= ' ' && c <= '~' ? c : '?';
  if (text.size() > 40) safe += "...";
  return "'" + safe + "'";
}

std::string KeyNames() {
  std::string names;
  for (const Key& key : kKeys) names += (names.empty() ? "" : ", ") + std::string(key.name);
  return names;
}

Result<void> SetLine(std::string_view line, int number, Policy* policy) {
  size_t space = line.find(' ');
  std::string_view name = line.substr(0, space);
  for (const Key& key : kKeys) {
    if (key.name != name) continue;
    if (space != std::string_view::npos && key.set(policy, line.substr(space + 1))) return {};
    return Fail(Errc::kInvalid, "line {}, {}: {} is not allowed there", number, key.name,
                space == std::string_view::npos ? "nothing" : Quoted(line.substr(space + 1)))
        .WithRemedy(fmt::format("write '{} ' and {}", key.name, key.allowed()));
  }
  return Fail(Errc::kInvalid, "line {}: there is no key {}", number, Quoted(name))
      .WithRemedy("the keys are " + KeyNames());
}

}  // namespace

std::string Policy::Format() const {
  std::string text;
  for (const Key& key : kKeys) text += fmt::format("{} {}\n", key.name, key.get(*this));
  return text;
}

Result<Policy> Policy::With(std::string_view text) const {
  if (text.size() > kTextLimitBytes)
    return Fail(Errc::kTooBig, "a policy is at most {} bytes", kTextLimitBytes);
  Policy changed = *this;
  for (int number = 1; !text.empty(); ++number) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty()) continue;
    if (auto set = SetLine(line, number, &changed); !set) return set.error();
  }
  return changed;
}

}  // namespace ckptfs
