// The names that a node may have in its public key.
#pragma once

#include <string_view>

namespace ckptfs {

// 1 to 64 of [A-Za-z0-9._-].
bool IsNodeName(std::string_view name);

}  // namespace ckptfs
