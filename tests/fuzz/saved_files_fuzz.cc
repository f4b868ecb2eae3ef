// The list of saved files: what is taken has paths that lead nowhere else, and comes
// again from the form it is written in.
#include <cstdlib>

#include "agent/open_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ckptfs;
  auto files = ParseSavedFiles(AsText({data, size}));
  if (!files) return 0;
  for (const SavedFile& file : files->files)
    if (!file.path.starts_with('/') || (file.path + "/").find("/../") != std::string::npos)
      std::abort();
  std::string text = FormatSavedFiles(*files);
  auto again = ParseSavedFiles(text);
  if (!again || FormatSavedFiles(*again) != text) std::abort();
  return 0;
}
