#include "kapi/image.h"

namespace ckptfs {

bool IsStreamName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxStreamNameBytes && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

}  // namespace ckptfs
