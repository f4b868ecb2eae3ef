// The fake keeps the contract, and says who does not.
#include "kapi/fake/fake_checkpointer.h"

#include "kapi/exit_watch.h"
#include "kapi/needs.h"
#include "kapi/owner.h"
#include "tests/kapi/contract.h"

namespace ckptfs {
namespace {

FakeCheckpointer* TheFake() {
  static auto* const fake = new FakeCheckpointer;
  return fake;
}

INSTANTIATE_TEST_SUITE_P(Fake, CheckpointerContract,
                         testing::Values(ContractCase{"fake", [] { return TheFake(); }}),
                         ContractName);

TEST(FakeCheckpointer, PhaseOutOfOrderIsAMisuse) {
  TestDir work;
  RunningProgram program({"/bin/sleep", "1000"});
  FakeCheckpointer fake;
  SaveRequest request;
  request.processes = program.unit();
  request.work_dir = work.path();
  auto saving = fake.Prepare(request);
  ASSERT_TRUE(saving.ok());
  MemoryImage image;
  MemorySink sink(&image);
  EXPECT_EQ((*saving)->Checkpoint(sink).error().code(), Errc::kInternal);
  EXPECT_EQ((*saving)->Resume(AfterCheckpoint::kGoOn).error().code(), Errc::kInternal);
  EXPECT_EQ(fake.state().misuses.Lock()->size(), 2u);
}

TEST(FakeCheckpointer, FailsWhereItIsTold) {
  TestDir work;
  RunningProgram program({"/bin/sleep", "1000"});
  FakeCheckpointer fake;
  SaveRequest request;
  request.processes = program.unit();
  request.work_dir = work.path();
  auto& failures = fake.state().plan.Lock()->failures;
  failures.emplace(FakeCheckpointer::Phase::kCheckpoint, Fail(Errc::kTimedOut, "as told"));
  auto saving = fake.Prepare(request);
  ASSERT_TRUE(saving.ok() && (*saving)->Stop().ok());
  MemoryImage image;
  MemorySink sink(&image);
  EXPECT_EQ((*saving)->Checkpoint(sink).error().code(), Errc::kTimedOut);
  EXPECT_TRUE(Eventually([&] { return (*ReadProcess(program.pid()))->state != 'T'; }));
}

TEST(ExitWatch, TellsHowAChildEnded) {
  ChildOptions options;
  options.argv = {"/bin/sh", "-c", "read x; exit 7"};
  auto pipe = MakePipe();
  options.stdin_fd = pipe->first.get();
  auto child = Child::Spawn(options);
  ASSERT_TRUE(child.ok());
  auto watch = ExitWatch::Open((*ReadProcess(child->pid()))->id);
  ASSERT_TRUE(watch.ok()) << watch.error().Text();
  child->Disown();
  pipe->second.Reset();
  auto status = watch->Status(5000);
  while (!status) status = watch->Status(5000);
  EXPECT_EQ(status->Text(), "exit 7");
}

TEST(Owner, ExcessIsNamed) {
  Credentials owner = UserCredentials(1000, 1000);
  owner.groups = {1000, 2000};
  EXPECT_EQ(ExceedsOwner(owner, owner), std::nullopt);
  Credentials other = owner;
  other.saved_uid = 0;
  EXPECT_EQ(ExceedsOwner(other, owner), "runs as uid 0");
  other = owner;
  other.fs_gid = 5;
  EXPECT_EQ(ExceedsOwner(other, owner), "runs as gid 5");
  other = owner;
  other.groups = {2000, 2001};
  EXPECT_EQ(ExceedsOwner(other, owner), "is in the group 2001");
  other = owner;
  other.permitted_capabilities = 1ull << 21;
  EXPECT_EQ(ExceedsOwner(other, owner), "holds the capability CAP_SYS_ADMIN");
}

TEST(BuildId, IsReadFromOurselvesAndNeverBeyondTheBytes) {
  auto self = Open("/proc/self/exe", 0);
  std::vector<uint8_t> start(4096);
  ASSERT_TRUE(ReadExactly(self->get(), start).ok());
  EXPECT_EQ(ParseBuildId(start).size(), 40u);
  for (size_t size = 0; size < 2000; size += 13)
    (void)ParseBuildId(
        std::vector<uint8_t>(start.begin(), start.begin() + static_cast<long>(size)));
  for (size_t at = 0; at < 1000; ++at) {
    std::vector<uint8_t> damaged = start;
    damaged[at] = 0xff;
    (void)ParseBuildId(damaged);
  }
}

}  // namespace
}  // namespace ckptfs
