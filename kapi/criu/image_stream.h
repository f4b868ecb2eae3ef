// The protocol of `criu --stream`: over a unix socket criu names one image file
// after the other and hands over one end of a pipe for each.
//
//   dump     criu → us: request, then one byte with a pipe's read end
//   restore  criu → us: request; us → criu: reply; if it exists, criu → us: one
//            byte with a pipe's write end
//
// A message is a 4-byte little-endian length and a protobuf. criu's side of the
// socket belongs to the job's owner and is not trusted.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "kapi/image.h"

namespace ckptfs {

inline constexpr char kCaptureSocket[] = "streamer-capture.sock";
inline constexpr char kServeSocket[] = "streamer-serve.sock";
inline constexpr size_t kMaxRequestBytes = 512;

// The body of a request. kCorrupt if it is none.
Result<std::string> ParseStreamRequest(Bytes body);
std::string EncodeStreamReply(bool exists);

// Reads requests and pipes from a non-blocking socket, in the order in which the
// caller asks for them: the two never share a message.
class StreamRequests {
 public:
  explicit StreamRequests(Fd socket) : socket_(std::move(socket)) {}

  int fd() const { return socket_.get(); }
  bool closed() const { return closed_; }  // criu hung up; nothing more comes

  // nullopt: not there yet, or closed().
  Result<std::optional<std::string>> NextName();
  Result<std::optional<Fd>> NextPipe();
  Result<void> Reply(bool exists);

 private:
  // Fills buffer_ up to `size`; false if more must be waited for.
  Result<bool> Fill(size_t size);

  Fd socket_;
  std::string buffer_;
  std::optional<uint32_t> length_;
  Fd received_;
  bool closed_ = false;
};

// Binds and listens on `name` in the folder, open to `uid` alone. Whatever had
// that name is removed. The path's length does not matter.
Result<Fd> ListenIn(int dir_fd, const std::string& name, uid_t uid, gid_t gid);
// Accepts a connection of `ancestor` or a descendant of it; others are hung up
// on. nullopt: nobody acceptable is waiting. The connection does not block.
Result<std::optional<Fd>> AcceptFrom(int listener, pid_t ancestor);

}  // namespace ckptfs
