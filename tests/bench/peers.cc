#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/fd.h"
#include "tests/bench/bench.h"

namespace ckptfs::bench {
namespace {

void RunCriu(std::vector<std::string> argv, const std::string& log) {
  ChildOptions options;
  options.argv = std::move(argv);
  Child child = Must(Child::Spawn(options));
  ExitStatus status = Must(child.Wait());
  if (!status.Success())
    Die(Fail(Errc::kIo, "{} {}: {}, see {}", options.argv[0], options.argv[1], status.Text(), log));
}

// One message of criu's: a length and that many bytes, then a byte with a pipe's
// end. Here only the pipe matters. Invalid at the end of the stream.
Fd NextPipe(int socket) {
  uint32_t length = 0;
  ssize_t n = ::recv(socket, &length, sizeof length, MSG_WAITALL);
  if (n <= 0) return Fd();
  std::string name(length, '\0');
  if (::recv(socket, name.data(), length, MSG_WAITALL) != static_cast<ssize_t>(length)) return Fd();
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) < 0) return Fd();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return Fd();
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  ::fcntl(fd, F_SETPIPE_SZ, 1 << 20);
  ::fcntl(fd, F_SETFL, O_NONBLOCK);
  return Fd(fd);
}

void ReadAndDrop(int socket) {
  std::vector<Fd> pipes;
  std::vector<uint8_t> buffer(1 << 20);
  bool open = true;
  while (open || !pipes.empty()) {
    std::vector<pollfd> polled;
    if (open) polled.push_back({socket, POLLIN, 0});
    for (const Fd& pipe : pipes) polled.push_back({pipe.get(), POLLIN, 0});
    if (::poll(polled.data(), polled.size(), -1) < 0) continue;
    for (const pollfd& ready : polled) {
      if (ready.revents == 0) continue;
      if (open && ready.fd == socket) {
        Fd pipe = NextPipe(socket);
        if (pipe.valid())
          pipes.push_back(std::move(pipe));
        else
          open = false;
        break;  // `pipes` has changed
      }
      ssize_t n = ::read(ready.fd, buffer.data(), buffer.size());
      if (n > 0 || (n < 0 && errno == EAGAIN)) continue;
      std::erase_if(pipes, [&](const Fd& pipe) { return pipe.get() == ready.fd; });
      break;
    }
  }
}

}  // namespace

void PlainDump(const Options& options, pid_t pid, const std::string& images, bool stop, bool sync) {
  ::mkdir(images.c_str(), 0700);
  std::vector<std::string> argv = {options.criu, "dump", "-t",       std::to_string(pid),      "-D",
                                   images,       "-o",   "dump.log", "--manage-cgroups=ignore"};
  if (!stop) argv.push_back("--leave-running");
  RunCriu(argv, images + "/dump.log");
  if (!sync) return;
  // Every file, and then the folder: what "saved" means to whoever loses power.
  for (const auto& entry : std::filesystem::directory_iterator(images)) {
    if (!entry.is_regular_file()) continue;
    Fd file = Must(Open(entry.path(), O_RDONLY));
    Check(SyncDataFd(file.get()));
  }
  Fd folder = Must(Open(images, O_RDONLY | O_DIRECTORY));
  Check(SyncFd(folder.get()));
}

void PlainRestore(const Options& options, const std::string& images) {
  RunCriu(
      {options.criu, "restore", "-D", images, "-o", "restore.log", "-d", "--manage-cgroups=ignore"},
      images + "/restore.log");
}

void DroppedDump(const Options& options, pid_t pid, const std::string& work) {
  ::mkdir(work.c_str(), 0700);
  std::string path = work + "/streamer-capture.sock";
  ::unlink(path.c_str());
  Fd listening(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    Die(Fail(Errc::kNameTooLong, "{} is too long for a socket", path));
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (::bind(listening.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listening.get(), 1) != 0)
    Die(Error::FromErrno(errno, "listen on {}", path));
  ChildOptions spawn;
  spawn.argv = {options.criu,
                "dump",
                "--stream",
                "-t",
                std::to_string(pid),
                "-D",
                work,
                "-o",
                "dump.log",
                "--leave-running",
                "--manage-cgroups=ignore"};
  Child child = Must(Child::Spawn(spawn));
  Fd socket(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ReadAndDrop(socket.get());
  ExitStatus status = Must(child.Wait());
  if (!status.Success()) Die(Fail(Errc::kIo, "criu dump --stream: {}", status.Text()));
}

void DirectWrite(const std::string& file, uint64_t size_bytes) {
  constexpr size_t kChunk = 4 << 20;
  // Made once: first touches of memory are dear and not what is measured.
  static uint8_t* chunk = [] {
    void* made = std::aligned_alloc(4096, kChunk);
    auto* bytes = static_cast<uint8_t*>(made);
    uint64_t state = 1;
    for (size_t i = 0; i < kChunk; ++i) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      bytes[i] = static_cast<uint8_t>(state >> 56);
    }
    return bytes;
  }();
  Fd out = Must(Open(file, O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT, 0600));
  for (uint64_t done = 0; done < size_bytes; done += kChunk)
    Check(WriteAll(out.get(), {chunk, kChunk}));
  Check(SyncDataFd(out.get()));
}

void DropCaches() {
  ::sync();
  Fd control = Must(Open("/proc/sys/vm/drop_caches", O_WRONLY));
  Check(WriteAll(control.get(), AsBytes("1")));
}

uint64_t DiskBytes(const std::string& dir) {
  uint64_t blocks = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir)) {
    struct stat about {};
    if (::lstat(entry.path().c_str(), &about) == 0)
      blocks += static_cast<uint64_t>(about.st_blocks);
  }
  return blocks * 512;
}

void RemoveDir(const std::string& dir) {
  std::error_code ignored;
  std::filesystem::remove_all(dir, ignored);
}

}  // namespace ckptfs::bench
