#include "base/result.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace ckptfs {
namespace {

TEST(Result, HoldsAValueOrAnError) {
  Result<int> value = 3;
  ASSERT_TRUE(value);
  EXPECT_EQ(*value, 3);
  Result<int> error = Fail(Errc::kBusy, "job {} is busy", "sim");
  ASSERT_FALSE(error);
  EXPECT_EQ(error.error().code(), Errc::kBusy);
  EXPECT_EQ(error.error().message(), "job sim is busy");
}

TEST(Result, MovesItsValueOut) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(4);
  std::unique_ptr<int> taken = *std::move(result);
  EXPECT_EQ(*taken, 4);
}

struct Base {
  virtual ~Base() = default;
};
struct Derived : Base {};

TEST(Result, TakesADerivedPointerForItsBase) {
  auto make = []() -> Result<std::unique_ptr<Base>> { return std::make_unique<Derived>(); };
  EXPECT_TRUE(make());
}

TEST(Result, OfVoidIsSuccessByDefault) {
  EXPECT_TRUE(Result<void>());
  EXPECT_FALSE(Result<void>(Fail(Errc::kIo, "no")));
}

TEST(Result, OfAStringIsNotConfusedWithAnError) {
  Result<std::string> text = std::string("words");
  ASSERT_TRUE(text);
  EXPECT_EQ(text->size(), 5u);
}

TEST(Error, ContextsGoInFrontAndTheRemedyStaysApart) {
  Error error = Fail(Errc::kExists, "pid {} is in use", 42).WithRemedy("write 'restart clone'");
  Error more = error.Add("restart of {} version {}", "sim", 3);
  EXPECT_EQ(more.code(), Errc::kExists);
  EXPECT_EQ(more.message(), "restart of sim version 3: pid 42 is in use");
  EXPECT_EQ(more.remedy(), "write 'restart clone'");
  EXPECT_EQ(more.Text(), "restart of sim version 3: pid 42 is in use; write 'restart clone'");
  EXPECT_EQ(Fail(Errc::kIo, "x").Text(), "x");
}

TEST(Error, FromErrnoSaysWhatTheKernelSaid) {
  Error error = Error::FromErrno(ENOSPC, "open {}", "/x");
  EXPECT_EQ(error.code(), Errc::kNoSpace);
  EXPECT_EQ(error.message(), "open /x: No space left on device");
  EXPECT_THAT(Error::FromErrno(12345, "x").message(), testing::HasSubstr("unknown error"));
}

TEST(Errc, KeepsApartWhatTheUserMustKnow) {
  std::set<Errc> codes;
  for (int number : {ENOSPC, EDQUOT, EMFILE, ESRCH, EPERM, EACCES, EBUSY, EEXIST, EIO, ENOMEM})
    EXPECT_TRUE(codes.insert(ErrcFromErrno(number)).second) << number;
  EXPECT_EQ(ErrcFromErrno(ENFILE), Errc::kTooManyFiles);
  EXPECT_EQ(ErrcFromErrno(99999), Errc::kIo);
}

TEST(Errc, EachHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(Errc::kInternal); ++code)
    EXPECT_TRUE(names.insert(ErrcName(static_cast<Errc>(code))).second) << code;
}

}  // namespace
}  // namespace ckptfs
