// criu's side of the stream socket is the job owner's, so it may say anything.
#include "kapi/criu/image_stream.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "kapi/criu/protobuf.h"
#include "tests/kapi/running_program.h"

namespace ckptfs {
namespace {

class StreamSocket : public testing::Test {
 protected:
  StreamSocket() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    criu = Fd(ends[0]);
    requests.emplace(Fd(ends[1]));
  }
  void Send(const std::string& bytes, std::vector<int> fds = {}) {
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))] = {};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
      std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
    }
    EXPECT_EQ(::sendmsg(criu.get(), &message, MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  static std::string Request(const std::string& name) {
    std::string body;
    AppendStringField(&body, 1, name);
    std::string size{static_cast<char>(body.size()), static_cast<char>(body.size() >> 8), '\0',
                     '\0'};
    return size + body;
  }

  Fd criu;
  std::optional<StreamRequests> requests;
};

TEST_F(StreamSocket, NameAndPipeArriveByteByByte) {
  auto pipe = MakePipe();
  for (char byte : Request("core-1.img")) {
    auto name = requests->NextName();
    ASSERT_TRUE(name.ok() && !*name);
    Send({byte});
  }
  auto name = requests->NextName();
  ASSERT_TRUE(name.ok() && *name);
  EXPECT_EQ(**name, "core-1.img");
  auto none = requests->NextPipe();
  ASSERT_TRUE(none.ok() && !*none);
  Send("x", {pipe->first.get()});
  auto received = requests->NextPipe();
  ASSERT_TRUE(received.ok() && *received) << (received ? "" : received.error().Text());
  char byte;
  EXPECT_EQ(::read((*received)->get(), &byte, 1), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST_F(StreamSocket, NamesThatAreNoneAreCorrupt) {
  for (const std::string& name :
       {std::string("../etc/passwd"), std::string("a/b"), std::string(), std::string(".."),
        std::string("a\0b", 3), std::string(256, 'a')}) {
    StreamSocket::Send(Request(name));
    auto got = requests->NextName();
    ASSERT_FALSE(got.ok()) << name;
    EXPECT_EQ(got.error().code(), Errc::kCorrupt);
  }
}

TEST_F(StreamSocket, HugeLengthIsCorrupt) {
  Send(std::string("\xff\xff\xff\x7f", 4));
  auto name = requests->NextName();
  ASSERT_FALSE(name.ok());
  EXPECT_EQ(name.error().code(), Errc::kCorrupt);
}

TEST_F(StreamSocket, NoPipeIsCorrupt) {
  Send("x");
  EXPECT_EQ(requests->NextPipe().error().code(), Errc::kCorrupt);
}

TEST_F(StreamSocket, AFileInsteadOfAPipeIsCorruptAndNotLeaked) {
  auto file = Open("/dev/null", O_RDONLY);
  Send("x", {file->get(), file->get(), file->get()});
  EXPECT_EQ(requests->NextPipe().error().code(), Errc::kCorrupt);
}

TEST_F(StreamSocket, HangingUpIsNoError) {
  criu.Reset();
  auto name = requests->NextName();
  ASSERT_TRUE(name.ok());
  EXPECT_FALSE(*name);
  EXPECT_TRUE(requests->closed());
}

TEST(StreamListener, StrangersAreHungUpOn) {
  TestDir dir;
  auto folder = Open(dir.path(), O_RDONLY | O_DIRECTORY);
  auto listener = ListenIn(folder->get(), kCaptureSocket, ::getuid(), ::getgid());
  ASSERT_TRUE(listener.ok()) << listener.error().Text();
  Fd stranger(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, (dir / kCaptureSocket).c_str());
  ASSERT_EQ(::connect(stranger.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  RunningProgram other({"/bin/sleep", "1000"});
  auto refused = AcceptFrom(listener->get(), other.pid());
  ASSERT_TRUE(refused.ok());
  EXPECT_FALSE(*refused);
  char byte;
  EXPECT_EQ(::read(stranger.get(), &byte, 1), 0);
}

TEST(StreamListener, SocketBelongsToTheOwnerAndReplacesWhatWasThere) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  TestDir dir(65534, 65534);
  auto folder = Open(dir.path(), O_RDONLY | O_DIRECTORY);
  for (int round = 0; round < 2; ++round) {
    auto listener = ListenIn(folder->get(), "hook.sock", 65534, 65534);
    ASSERT_TRUE(listener.ok()) << listener.error().Text();
    struct stat status;
    ASSERT_EQ(::stat((dir / "hook.sock").c_str(), &status), 0);
    EXPECT_EQ(status.st_uid, 65534u);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
  }
}

}  // namespace
}  // namespace ckptfs
