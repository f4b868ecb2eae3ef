#include "fs/key_drafts.h"

#include <algorithm>

#include "crypto/keys.h"

namespace ckptfs {
namespace {
constexpr size_t kMostDrafts = 64;
constexpr std::string_view kFirstWords = "untrusted comment:";
}  // namespace

KeyText JudgeKeyText(std::string_view text) {
  if (text.size() > kKeyFileBytes) return KeyText::kNever;
  if (PublicKey::Parse(text)) return KeyText::kKey;
  std::string_view start = text.substr(0, kFirstWords.size());
  bool comment = kFirstWords.starts_with(start);
  size_t line_end = text.find('\n');
  // In the comment, or in the line of the key that follows it, or in the one
  // line of the short form.
  if (comment && (line_end == std::string_view::npos ||
                  text.find('\n', line_end + 1) == std::string_view::npos))
    return KeyText::kMayBecome;
  // The key itself parses, the recipient line has only begun.
  size_t last = text.rfind('\n');
  if (comment && last != std::string_view::npos && last + 1 < text.size() &&
      PublicKey::Parse(text.substr(0, last + 1)))
    return KeyText::kMayBecome;
  bool short_form = line_end == std::string_view::npos &&
                    (text.starts_with("RW") || std::string_view("RW").starts_with(text));
  return short_form && text.size() < 56 ? KeyText::kMayBecome : KeyText::kNever;
}

std::optional<std::string_view> TrustedName(std::string_view file_name) {
  constexpr std::string_view kEnding = ".pub";
  if (file_name.size() <= kEnding.size() || !file_name.ends_with(kEnding) ||
      file_name.starts_with('.'))
    return std::nullopt;
  return file_name.substr(0, file_name.size() - kEnding.size());
}

Result<void> KeyDrafts::Put(std::string_view file_name, std::string_view text) {
  auto drafts = drafts_.Lock();
  auto at = drafts->find(file_name);
  if (at != drafts->end()) {
    at->second = text;
    return {};
  }
  if (drafts->size() >= kMostDrafts)
    return Fail(Errc::kQuota, "{} unfinished key files are the most", kMostDrafts)
        .WithRemedy("remove those that are not needed from keys/trusted");
  drafts->emplace(std::string(file_name), std::string(text));
  return {};
}

std::optional<std::string> KeyDrafts::Get(std::string_view file_name) const {
  auto drafts = drafts_.Lock();
  auto at = drafts->find(file_name);
  if (at == drafts->end()) return std::nullopt;
  return at->second;
}

bool KeyDrafts::Remove(std::string_view file_name) {
  auto drafts = drafts_.Lock();
  auto at = drafts->find(file_name);
  if (at == drafts->end()) return false;
  drafts->erase(at);
  return true;
}

std::vector<std::string> KeyDrafts::Names() const {
  auto drafts = drafts_.Lock();
  std::vector<std::string> names;
  for (const auto& [name, text] : *drafts) names.push_back(name);
  return names;
}

}  // namespace ckptfs
