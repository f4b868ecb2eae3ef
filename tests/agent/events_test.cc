#include "agent/events.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

namespace ckptfs {
namespace {

class Events : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/ckptfs-events-test-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    path_ = name;
    dir_ = std::move(*Open(path_, O_RDONLY | O_DIRECTORY));
  }
  void TearDown() override {
    auto tmp = Open("/tmp", O_RDONLY | O_DIRECTORY);
    EXPECT_TRUE(RemoveTree(tmp->get(), path_.substr(5)));
  }
  std::unique_ptr<EventLog> OpenLog(uint64_t limit = 1 << 20) {
    auto log = EventLog::Open(dir_.get(), limit);
    EXPECT_TRUE(log.ok());
    return std::move(*log);
  }
  std::string path_;
  Fd dir_;
};

TEST_F(Events, AreLinesWithTimeJobAndText) {
  auto log = OpenLog();
  log->Add("sim", "checkpoint ok");
  log->Add("-", "two\nlines\x1b[31m \\ \x80");
  std::string text = *log->Read(0, 10000);
  EXPECT_EQ(text.size(), log->size_bytes());
  EXPECT_THAT(text,
              testing::MatchesRegex(
                  "20..-..-..T..:..:..\\....Z sim checkpoint ok\n"
                  "20..-..-..T..:..:..\\....Z - two\\\\nlines\\\\x1b\\[31m \\\\\\\\ \\\\x80\n"));
  EXPECT_EQ(*log->Read(5, 3), text.substr(5, 3));
  EXPECT_EQ(*log->Read(text.size(), 10), "");
  EXPECT_EQ(*log->Read(1 << 30, 10), "");
}

TEST_F(Events, StayWhenTheLogIsOpenedAgainButForHalfALine) {
  OpenLog()->Add("sim", "one");
  auto fd = OpenAt(dir_.get(), "events", O_WRONLY | O_APPEND);
  ASSERT_TRUE(WriteAll(fd->get(), AsBytes("2026-11-23T18:00 torn")));
  auto log = OpenLog();
  log->Add("sim", "two");
  std::string text = *log->Read(0, 10000);
  EXPECT_THAT(text, testing::HasSubstr("sim one\n2"));
  EXPECT_THAT(text, testing::EndsWith("sim two\n"));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("torn")));
}

TEST_F(Events, KeepTheirNewerHalfWhenFull) {
  auto log = OpenLog(8192);
  struct stat before {
  }, after{};
  log->Add("sim", "first");
  auto held = OpenAt(dir_.get(), "events", O_RDONLY);  // so that its number is not used again
  ASSERT_EQ(::stat((path_ + "/events").c_str(), &before), 0);
  for (int i = 0; i < 400; ++i) log->Add("sim", fmt::format("event {}", i));
  ASSERT_EQ(::stat((path_ + "/events").c_str(), &after), 0);
  EXPECT_LE(log->size_bytes(), 8192u);
  EXPECT_EQ(static_cast<uint64_t>(after.st_size), log->size_bytes());
  EXPECT_NE(before.st_ino, after.st_ino);
  std::string text = *log->Read(0, 10000);
  EXPECT_TRUE(text.starts_with("20"));  // a line's start
  EXPECT_THAT(text, testing::EndsWith("event 399\n"));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("first")));
}

TEST_F(Events, LongTextIsCut) {
  auto log = OpenLog();
  log->Add("sim", std::string(100000, '\n'));
  EXPECT_LT(log->size_bytes(), 4200u);
}

TEST_F(Events, WakeTheirSubscribersUntilTheyLeave) {
  auto log = OpenLog();
  std::atomic<int> woken{0};
  uint64_t id = log->Subscribe([&] { ++woken; });
  log->Add("sim", "a");
  EXPECT_EQ(woken, 1);
  log->Unsubscribe(id);
  log->Unsubscribe(id);
  log->Add("sim", "b");
  EXPECT_EQ(woken, 1);
}

TEST_F(Events, FromManyThreadsDoNotMix) {
  auto log = OpenLog();
  std::atomic<int> woken{0};
  uint64_t id = log->Subscribe([&] { ++woken; });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) log->Add("sim", "same");
    });
  for (std::thread& thread : threads) thread.join();
  log->Unsubscribe(id);
  EXPECT_EQ(woken, 400);
  std::string text = *log->Read(0, 1 << 20);
  EXPECT_EQ(text.size() % 400, 0u);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 400);
}

TEST(ErrorLogs, KeepTheLastOnesOnThreeLinesEach) {
  ErrorLog log(2);
  log.Add("zero", Fail(Errc::kIo, "x"));
  log.Add("checkpoint\nrm", Fail(Errc::kBusy, "it is busy").WithRemedy("wait"));
  log.Add(std::string(1000, 'a'), Fail(Errc::kGone, "gone"));
  std::string text = log.Text();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 6);
  EXPECT_THAT(text, testing::HasSubstr("checkpoint\\nrm\n  wrong: it is busy\n  remedy: wait\n"));
  EXPECT_THAT(text, testing::HasSubstr("aaa...\n  wrong: gone\n  remedy: none known\n"));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("zero")));
}

TEST(Times, AreInUtcWithMilliseconds) {
  EXPECT_EQ(FormatTime(std::chrono::system_clock::time_point(std::chrono::milliseconds(86400123))),
            "1970-01-02T00:00:00.123Z");
}

}  // namespace
}  // namespace ckptfs
