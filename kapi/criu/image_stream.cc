#include "kapi/criu/image_stream.h"

#include <fcntl.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/process.h"
#include "kapi/criu/protobuf.h"

namespace ckptfs {

Result<std::string> ParseStreamRequest(Bytes body) {
  ProtobufReader reader(body);
  std::optional<std::string> name;
  while (auto field = reader.Next())
    if (field->number == 1 && field->is_bytes) name = AsText(field->bytes);
  if (reader.bad() || !name || !IsStreamName(*name))
    return Fail(Errc::kCorrupt, "criu asked for an image file in words that make no sense");
  return *name;
}

std::string EncodeStreamReply(bool exists) {
  std::string body;
  AppendIntField(&body, 1, exists ? 1 : 0);
  std::string message(4, '\0');
  message[0] = static_cast<char>(body.size());
  return message + body;
}

Result<bool> StreamRequests::Fill(size_t size) {
  while (buffer_.size() < size) {
    char chunk[kMaxRequestBytes];
    iovec part{chunk, std::min(size - buffer_.size(), sizeof chunk)};
    alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))];
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ssize_t n = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
    if (n < 0 && errno != ECONNRESET) return Error::FromErrno(errno, "read criu's requests");
    if (n <= 0) {
      closed_ = true;
      return false;
    }
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int fd;
        std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
        received_ = Fd(fd);  // of several the last is kept: none leaks
      }
    }
    buffer_.append(chunk, static_cast<size_t>(n));
  }
  return true;
}

Result<std::optional<std::string>> StreamRequests::NextName() {
  if (!length_) {
    auto there = Fill(4);
    if (!there) return there.error();
    if (!*there) return std::optional<std::string>();
    uint32_t length = 0;
    for (int i = 3; i >= 0; --i) length = length << 8 | static_cast<uint8_t>(buffer_[size_t(i)]);
    buffer_.clear();
    if (length == 0 || length > kMaxRequestBytes)
      return Fail(Errc::kCorrupt, "criu sent a request of {} bytes", length);
    length_ = length;
  }
  auto there = Fill(*length_);
  if (!there) return there.error();
  if (!*there) return std::optional<std::string>();
  auto name = ParseStreamRequest(AsBytes(buffer_));
  buffer_.clear();
  length_.reset();
  received_.Reset();
  if (!name) return name.error();
  return std::optional<std::string>(std::move(*name));
}

Result<std::optional<Fd>> StreamRequests::NextPipe() {
  auto there = Fill(1);
  if (!there) return there.error();
  if (!*there) return std::optional<Fd>();
  buffer_.clear();
  struct stat status;
  if (!received_.valid() || ::fstat(received_.get(), &status) != 0 || !S_ISFIFO(status.st_mode))
    return Fail(Errc::kCorrupt, "criu sent no pipe where one belongs");
  int flags = ::fcntl(received_.get(), F_GETFL);
  if (flags < 0 || ::fcntl(received_.get(), F_SETFL, flags | O_NONBLOCK) != 0)
    return Error::FromErrno(errno, "set pipe non-blocking");
  // Fewer, larger reads. A user over the kernel's limit for pipes keeps 64 KiB.
  (void)::fcntl(received_.get(), F_SETPIPE_SZ, 1 << 20);
  return std::optional<Fd>(std::move(received_));
}

Result<void> StreamRequests::Reply(bool exists) {
  std::string message = EncodeStreamReply(exists);
  // A few bytes after each request: they always fit.
  ssize_t n = ::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL);
  if (n != static_cast<ssize_t>(message.size())) return Error::FromErrno(errno, "answer criu");
  return {};
}

namespace {

// The folder is its owner's, who could swap names under us: what is made there is
// made with no more than the owner's rights. Of this thread only.
class FileRightsOf {
 public:
  FileRightsOf(uid_t uid, gid_t gid) {
    ::setfsgid(gid);
    ::setfsuid(uid);
  }
  ~FileRightsOf() {
    ::setfsuid(::geteuid());
    ::setfsgid(::getegid());
  }
};

}  // namespace

Result<Fd> ListenIn(int dir_fd, const std::string& name, uid_t uid, gid_t gid) {
  FileRightsOf rights(uid, gid);
  if (::unlinkat(dir_fd, name.c_str(), 0) != 0 && errno != ENOENT)
    return Error::FromErrno(errno, "remove old {}", name);
  Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // Before the bind, which takes the mode over: nobody can be quicker.
  if (!listener.valid() || ::fchmod(listener.get(), 0600) != 0)
    return Error::FromErrno(errno, "socket {}", name);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  // Through /proc: the folder's own path may be longer than an address can be.
  std::string path = fmt::format("/proc/self/fd/{}/{}", dir_fd, name);
  if (path.size() >= sizeof address.sun_path) return Fail(Errc::kInternal, "{} is too long", path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return Error::FromErrno(errno, "bind {}", name);
  if (::listen(listener.get(), 16) != 0) return Error::FromErrno(errno, "listen on {}", name);
  return listener;
}

Result<std::optional<Fd>> AcceptFrom(int listener, pid_t ancestor) {
  for (;;) {
    Fd peer(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!peer.valid()) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return std::optional<Fd>();
      return Error::FromErrno(errno, "accept criu");
    }
    ucred who = {};
    socklen_t size = sizeof who;
    if (::getsockopt(peer.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0)
      return Error::FromErrno(errno, "identify criu");
    if (IsInTree(who.pid, ancestor)) return std::optional<Fd>(std::move(peer));
  }
}

}  // namespace ckptfs
