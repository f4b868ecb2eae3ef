#include "mount/mount_helper.h"

#include <algorithm>
#include <array>
#include <filesystem>

namespace ckptfs {
namespace {

constexpr std::array<std::string_view, 16> kNotForUs = {
    "defaults", "auto",   "noauto", "user", "nouser", "users",    "owner",  "group",
    "_netdev",  "nofail", "rw",     "exec", "atime",  "relatime", "nosuid", "nodev"};

bool SaysNothing(std::string_view option) {
  return option.empty() || option.starts_with("x-") || option.starts_with("comment=") ||
         option.starts_with("subtype=") ||
         std::find(kNotForUs.begin(), kNotForUs.end(), option) != kNotForUs.end();
}

bool TakeValue(std::string_view option, std::string_view key, std::string* value) {
  if (!option.starts_with(key)) return false;
  *value = option.substr(key.size());
  return true;
}

}  // namespace

void AddMountOptions(std::string_view text, MountRequest* request) {
  while (!text.empty()) {
    size_t end = 0;
    while (end < text.size() && text[end] != ',') end += text[end] == '\\' ? 2 : 1;
    end = std::min(end, text.size());
    std::string_view option = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (SaysNothing(option) || TakeValue(option, "name=", &request->node) ||
        TakeValue(option, "passphrase_file=", &request->passphrase_file) ||
        TakeValue(option, "log_file=", &request->log_file))
      continue;
    request->fuse_options.emplace_back(option);
  }
}

std::optional<MountRequest> ParseMountHelper(int argc, char** argv) {
  std::string self = std::filesystem::path(argv[0]).filename().string();
  bool helper = self.starts_with("mount.");
  // mount.fuse3 knows nothing of commands: its first word is the store, a path.
  if (!helper && (argc < 3 || std::string_view(argv[1]).find('/') == std::string_view::npos ||
                  argv[1][0] == '-'))
    return std::nullopt;
  MountRequest request;
  std::vector<std::string> places;
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    if (word == "-o" && i + 1 < argc)
      AddMountOptions(argv[++i], &request);
    else if ((word == "-t" || word == "-N") && i + 1 < argc)
      ++i;
    else if (word == "-r")
      request.fuse_options.emplace_back("ro");
    else if (!word.starts_with('-'))  // -s, -v, -n, -w: as always
      places.push_back(word);
  }
  if (places.size() != 2) return std::nullopt;
  request.store = places[0];
  // fstab's old way to name the program.
  for (std::string_view prefix : {"ckptfs#", "fuse.ckptfs#"})
    if (request.store.starts_with(prefix)) request.store.erase(0, prefix.size());
  if (request.store == "none" || request.store == "ckptfs") request.store.clear();
  request.mountpoint = places[1];
  return request;
}

}  // namespace ckptfs
