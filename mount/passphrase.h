// Passphrases: from a file, or typed at the terminal without an echo.
#pragma once

#include <functional>
#include <string>

#include "crypto/secret_bytes.h"

namespace ckptfs {

// `file` empty: ask at /dev/tty; kAccess when there is none. The first line of the
// file counts, without its end.
std::function<Result<SecretBytes>()> PassphraseFrom(std::string file);

}  // namespace ckptfs
