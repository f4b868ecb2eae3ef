#include "agent/policy.h"

#include <gtest/gtest.h>

namespace ckptfs {
namespace {

TEST(Policy, WhatIsReadCanBeWrittenBack) {
  Policy policy;
  policy.interval = std::chrono::seconds(90);
  policy.keep = 7;
  policy.restart = RestartPolicy::kOnFailure;
  policy.protocol = ProtocolPolicy::kIndependent;
  policy.files = FilesPolicy::kFail;
  policy.compress = CompressPolicy::kZstd;
  policy.commit = CommitPolicy::kFast;
  policy.buffer_bytes = 12345;
  policy.tcp = TcpPolicy::kKeep;
  policy.files_limit_bytes = 99;
  auto again = Policy().With(policy.Format());
  ASSERT_TRUE(again.ok()) << again.error().Text();
  EXPECT_EQ(*again, policy);
  EXPECT_EQ(again->Format(), policy.Format());
}

TEST(Policy, HasTheseKeysInThisOrder) {
  EXPECT_EQ(Policy().Format(),
            "interval 0\nkeep 0\nrestart never\nprotocol coordinated\nfiles restore\n"
            "files_limit 1073741824\ncompress none\ncommit durable\nbuffer 0\ntcp close\n");
}

TEST(Policy, SizesAndTimesMayHaveUnits) {
  struct {
    const char* text;
    uint64_t bytes;
  } const sizes[] = {{"0", 0}, {"17", 17}, {"2K", 2048}, {"3M", 3 << 20}, {"1G", 1 << 30}};
  for (const auto& size : sizes) {
    auto policy = Policy().With(fmt::format("buffer {}", size.text));
    ASSERT_TRUE(policy.ok()) << size.text;
    EXPECT_EQ(policy->buffer_bytes, size.bytes);
    EXPECT_NE(policy->Format().find(fmt::format("buffer {}\n", size.bytes)), std::string::npos);
  }
  struct {
    const char* text;
    int64_t seconds;
  } const times[] = {{"0", 0}, {"90", 90}, {"90s", 90}, {"5m", 300}, {"1h", 3600}};
  for (const auto& time : times) {
    auto policy = Policy().With(fmt::format("interval {}\n", time.text));
    ASSERT_TRUE(policy.ok()) << time.text;
    EXPECT_EQ(policy->interval.count(), time.seconds);
  }
}

TEST(Policy, SomeKeysLeaveTheOthersAlone) {
  auto policy = Policy().With("keep 3\n\nfiles keep");
  ASSERT_TRUE(policy.ok());
  EXPECT_EQ(policy->keep, 3u);
  EXPECT_EQ(policy->files, FilesPolicy::kKeep);
  EXPECT_EQ(policy->commit, CommitPolicy::kDurable);
}

TEST(Policy, BadTextIsRefusedAsAWhole) {
  const char* const bad[] = {"interval",          "interval ",
                             "interval -1",       "interval 1x",
                             "interval 1 2",      "interval h",
                             "keep 1K",           "keep x",
                             "keep 10000001",     "restart always",
                             "colour red",        " keep 1",
                             "keep  1",           "commit Fast",
                             "buffer 1T",         "tcp",
                             "interval 99999h",   "buffer 99999999999999999999",
                             "keep 1\rfiles keep"};
  for (const char* text : bad) {
    auto policy = Policy().With(std::string("keep 5\n") + text);
    ASSERT_FALSE(policy.ok()) << text;
    EXPECT_EQ(policy.error().code(), Errc::kInvalid);
    EXPECT_TRUE(policy.error().message().starts_with("line 2")) << policy.error().message();
    EXPECT_NE(policy.error().remedy(), "");
  }
  EXPECT_EQ(Policy().With("commit maybe").error().Text(),
            "line 1, commit: 'maybe' is not allowed there; write 'commit ' and 'durable' or "
            "'fast'");
  EXPECT_EQ(Policy().With(std::string(5000, '\n')).error().code(), Errc::kTooBig);
}

}  // namespace
}  // namespace ckptfs
