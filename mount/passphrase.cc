#include "mount/passphrase.h"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"

namespace ckptfs {
namespace {

constexpr size_t kMostBytes = 1024;

// A line, straight into locked memory.
Result<SecretBytes> ReadLine(int fd) {
  auto line = SecretBytes::Zeros(kMostBytes);
  if (!line) return line.error();
  MutableBytes out = line->mutable_bytes();
  size_t used = 0;
  for (; used < out.size(); ++used) {
    ssize_t n = ::read(fd, &out[used], 1);
    if (n < 0) return Error::FromErrno(errno, "read the passphrase");
    if (n == 0 || out[used] == '\n') break;
  }
  if (used == 0) return Fail(Errc::kInvalid, "the passphrase is empty");
  return SecretBytes::Copy(line->bytes().first(used));
}

Result<SecretBytes> AskAtTerminal() {
  auto terminal = Open("/dev/tty", O_RDWR | O_NOCTTY);
  if (!terminal)
    return Fail(Errc::kAccess, "the node's keys have a passphrase and there is no terminal")
        .WithRemedy("use --passphrase-file FILE");
  termios before{};
  bool echoes = ::tcgetattr(terminal->get(), &before) == 0;
  if (echoes) {
    termios silent = before;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(terminal->get(), TCSAFLUSH, &silent);
  }
  (void)WriteAll(terminal->get(), AsBytes("passphrase of the node's keys: "));
  auto line = ReadLine(terminal->get());
  if (echoes) ::tcsetattr(terminal->get(), TCSAFLUSH, &before);
  (void)WriteAll(terminal->get(), AsBytes("\n"));
  return line;
}

}  // namespace

std::function<Result<SecretBytes>()> PassphraseFrom(std::string file) {
  return [file = std::move(file)]() -> Result<SecretBytes> {
    if (file.empty()) return AskAtTerminal();
    auto opened = Open(file, O_RDONLY);
    if (!opened) return opened.error();
    return ReadLine(opened->get());
  };
}

}  // namespace ckptfs
