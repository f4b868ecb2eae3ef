#include "kapi/criu/protobuf.h"

#include <gtest/gtest.h>

#include "kapi/criu/image_fixes.h"
#include "kapi/criu/pstree.h"

namespace ckptfs {
namespace {

TEST(Protobuf, ReadsWhatItWrites) {
  std::string message;
  AppendIntField(&message, 1, 300);
  AppendStringField(&message, 2, "inventory.img");
  AppendIntField(&message, 3, ~uint64_t{0});
  ProtobufReader reader(AsBytes(message));
  auto first = reader.Next();
  ASSERT_TRUE(first && first->number == 1 && !first->is_bytes);
  EXPECT_EQ(first->value, 300u);
  auto second = reader.Next();
  ASSERT_TRUE(second && second->is_bytes);
  EXPECT_EQ(AsText(second->bytes), "inventory.img");
  EXPECT_EQ(reader.Next()->value, ~uint64_t{0});
  EXPECT_FALSE(reader.Next());
  EXPECT_FALSE(reader.bad());
}

TEST(Protobuf, TruncationAtEveryByteIsBadOrShorter) {
  std::string message;
  AppendStringField(&message, 1, "abcdefgh");
  AppendIntField(&message, 2, 1 << 20);
  for (size_t size = 0; size < message.size(); ++size) {
    // An exact-size copy, so that a sanitizer sees a read past the end.
    std::vector<uint8_t> part(message.begin(), message.begin() + static_cast<long>(size));
    ProtobufReader reader(part);
    int fields = 0;
    while (reader.Next()) ++fields;
    EXPECT_LE(fields, 1);
    EXPECT_TRUE(reader.bad() || size == 0 || fields == 1) << size;
  }
}

TEST(Protobuf, LengthBeyondTheMessageIsBad) {
  std::string message("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10);
  ProtobufReader reader(AsBytes(message));
  EXPECT_FALSE(reader.Next());
  EXPECT_TRUE(reader.bad());
}

std::string Pstree(std::initializer_list<std::string> entries) {
  std::string image("\x19\x43\x56\x54\x30\x30\x27\x50", 8);
  for (const std::string& entry : entries) {
    image += static_cast<char>(entry.size());
    image += std::string(3, '\0') + entry;
  }
  return image;
}

TEST(PstreeImage, GivesPidsAndThreads) {
  std::string entry;
  for (uint64_t field = 1; field <= 4; ++field)
    AppendIntField(&entry, uint32_t(field), 100 * field);
  AppendIntField(&entry, 5, 100);
  AppendIntField(&entry, 5, 101);
  auto tree = ParsePstree(AsBytes(Pstree({entry})));
  ASSERT_TRUE(tree.ok()) << tree.error().Text();
  ASSERT_EQ(tree->size(), 1u);
  EXPECT_EQ(tree->front().pid, 100);
  EXPECT_EQ(tree->front().parent, 200);
  EXPECT_EQ(tree->front().session, 400);
  EXPECT_EQ(tree->front().threads, (std::vector<pid_t>{100, 101}));
}

TEST(PstreeImage, NonsenseIsCorrupt) {
  std::string no_pid;
  AppendIntField(&no_pid, 2, 1);
  std::string huge;
  AppendIntField(&huge, 1, uint64_t{1} << 40);
  for (const std::string& image :
       {std::string(), std::string("short"), std::string(64, 'x'), Pstree({}), Pstree({no_pid}),
        Pstree({huge}), Pstree({"\x08\x01"}) + "\x05"}) {
    auto tree = ParsePstree(AsBytes(image));
    ASSERT_FALSE(tree.ok());
    EXPECT_EQ(tree.error().code(), Errc::kCorrupt);
  }
}

TEST(FilesImage, ExpiredPeriodicTimerfdIsArmedAgain) {
  auto timer = [](uint64_t nanos_left, uint64_t every_nanos) {
    std::string tfd, entry;
    AppendIntField(&tfd, 1, 9);
    AppendIntField(&tfd, 7, 0);
    AppendIntField(&tfd, 8, nanos_left);
    AppendIntField(&tfd, 9, 0);
    AppendIntField(&tfd, 10, every_nanos);
    AppendIntField(&entry, 1, 17);
    AppendStringField(&entry, 12, tfd);
    return entry;
  };
  std::string image = Pstree({timer(0, 20000000), timer(0, 0), timer(5, 20000000)});
  EXPECT_EQ(FixTimerfds(&image), 1);
  EXPECT_EQ(image, Pstree({timer(1, 20000000), timer(0, 0), timer(5, 20000000)}));
  std::string nonsense(1000, '\xff');
  EXPECT_EQ(FixTimerfds(&nonsense), 0);
}

TEST(PstreeImage, CriusOwnPidsStayClearOfTheJobs) {
  std::vector<PstreeEntry> tree;
  for (pid_t pid = 301; pid < 3000; pid += 40) tree.push_back({pid, 1, pid, pid, {pid}});
  pid_t clear = PidClearOf(tree);
  for (const PstreeEntry& entry : tree) EXPECT_TRUE(entry.pid <= clear || entry.pid > clear + 64);
}

}  // namespace
}  // namespace ckptfs
