// KeyDrafts: files of keys/trusted that hold no whole key yet, in memory. A key
// may arrive in pieces, and under a temporary name.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/guarded.h"
#include "base/result.h"

namespace ckptfs {

inline constexpr size_t kKeyFileBytes = 4096;

// How far a text is on its way to being a public key.
enum class KeyText { kKey, kMayBecome, kNever };
KeyText JudgeKeyText(std::string_view text);

// NAME of NAME.pub; nullopt for other names.
std::optional<std::string_view> TrustedName(std::string_view file_name);

// Thread-safe; bounded in number and size.
class KeyDrafts {
 public:
  // kQuota when there are too many.
  Result<void> Put(std::string_view file_name, std::string_view text);
  std::optional<std::string> Get(std::string_view file_name) const;
  bool Remove(std::string_view file_name);
  std::vector<std::string> Names() const;

 private:
  Guarded<std::map<std::string, std::string, std::less<>>> drafts_;
};

}  // namespace ckptfs
