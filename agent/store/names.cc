#include "agent/store/names.h"

#include <algorithm>
#include <charconv>

#include "agent/store/store.h"

namespace ckptfs {
namespace {

bool IsNameLetter(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

// What of a bad name may be shown: never control bytes, never a screenful.
std::string Shown(std::string_view name) {
  std::string shown;
  for (char c : name.substr(0, kMaxNameBytes)) shown += c >= ' ' && c <= '~' ? c : '?';
  return shown;
}

}  // namespace

Result<void> CheckName(std::string_view name, std::string_view what) {
  bool good = !name.empty() && name.size() <= kMaxNameBytes && name[0] != '.' && name[0] != '-' &&
              std::all_of(name.begin(), name.end(), IsNameLetter);
  if (good) return {};
  return Fail(Errc::kInvalid, "'{}' cannot be the name of a {}", Shown(name), what)
      .WithRemedy("use 1 to 64 of A-Z a-z 0-9 . _ - and begin with none of . and -");
}

std::optional<uint64_t> ParseVersionNumber(std::string_view text) {
  uint64_t number = 0;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (number == 0 || number > INT64_MAX || text[0] == '0') return std::nullopt;
  return number;
}

std::optional<std::string> UnitOfImageFile(std::string_view file_name) {
  constexpr std::string_view kSuffix = ".img";
  if (!file_name.ends_with(kSuffix)) return std::nullopt;
  std::string_view unit = file_name.substr(0, file_name.size() - kSuffix.size());
  if (!CheckName(unit, "unit")) return std::nullopt;
  return std::string(unit);
}

Result<void> CheckIncomingName(std::string_view name) {
  bool good = !name.empty() && name.size() <= 100 && name != "." && name != ".." &&
              std::all_of(name.begin(), name.end(), IsNameLetter);
  if (good) return {};
  return Fail(Errc::kInvalid, "an image has no file '{}'", Shown(name))
      .WithRemedy("copy only manifest, manifest.minisig and UNIT.img");
}

bool IsPlainText(std::string_view text, size_t limit_bytes) {
  return text.size() <= limit_bytes &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

}  // namespace ckptfs
