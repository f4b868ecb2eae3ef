// Names: what jobs, units, versions and files of an image may be called.
//
// Every name that reaches the disk or comes from an image passes through here
// first, so that no path is ever made of bytes that nobody looked at.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ckptfs {

inline constexpr size_t kMaxNameBytes = 64;

inline constexpr std::string_view kManifestName = "manifest";
inline constexpr std::string_view kSignatureName = "manifest.minisig";

// "1", "2" …, canonical; nullopt for anything else.
std::optional<uint64_t> ParseVersionNumber(std::string_view text);

// "main" for "main.img"; nullopt unless it is a unit's name followed by ".img".
std::optional<std::string> UnitOfImageFile(std::string_view file_name);
inline std::string ImageFileName(std::string_view unit) { return std::string(unit) + ".img"; }

// What may lie in an incoming image: its files, and what copying programs call
// them for a while (rsync: ".main.img.Ab12Cd"). 1 to 100 of CheckName's letters.
Result<void> CheckIncomingName(std::string_view name);

// A string for a manifest: printable ASCII, at most `limit_bytes`.
bool IsPlainText(std::string_view text, size_t limit_bytes);

}  // namespace ckptfs
