// Jobs, units, keys and what is written to them.
#include "tests/fs/tree_fixture.h"

namespace ckptfs {
namespace {

using fake::Alice;
using fake::Bob;
using fake::Root;

TEST_F(TreeTest, EveryFileIsAsciiAndEndsInANewline) {
  ASSERT_TRUE(Mkdir("jobs/sim"));
  for (const char* path :
       {"README", "status", "metrics", "checkpointers/criu", "keys/self.pub", "jobs/sim/ctl",
        "jobs/sim/status", "jobs/sim/policy", "jobs/sim/progress", "jobs/sim/units/main/status",
        "jobs/sim/units/main/checkpointer", "jobs/sim/units/main/log"}) {
    auto text = Cat(path);
    ASSERT_TRUE(text.ok()) << path << ": " << text.error().Text();
    EXPECT_TRUE(text->ends_with('\n')) << path;
    for (char c : *text) ASSERT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7f)) << path;
    auto attr = Stat(path);
    ASSERT_TRUE(attr.ok()) << path;
    EXPECT_TRUE(attr->size_bytes == 0 || attr->size_bytes == text->size()) << path;
  }
}

TEST_F(TreeTest, WhatOthersHaveIsNotThere) {
  ASSERT_TRUE(Mkdir("jobs/sim", Alice()));
  EXPECT_EQ(CodeOf(Stat("jobs/sim", Bob())), Errc::kNotFound);
  EXPECT_EQ(CodeOf(Stat("jobs/sim/ctl", Bob())), Errc::kNotFound);
  EXPECT_EQ(CodeOf(Rmdir("jobs/sim", Bob())), Errc::kNotFound);
  EXPECT_TRUE(Ls("jobs", Bob())->empty());
  EXPECT_EQ(Stat("jobs/sim", Root())->uid, fake::kAlice);
  EXPECT_EQ(CodeOf(Cat("events", Alice())), Errc::kAccess);
  EXPECT_TRUE(Cat("events", Root()).ok());
}

TEST_F(TreeTest, OddNamesAreRefusedWithWords) {
  for (const char* name : {".hidden", "-x", "a b", "\xc3\xbc", "a\nb", "%s%n"})
    EXPECT_EQ(CodeOf(Mkdir(std::string("jobs/") + name)), Errc::kInvalid) << name;
  EXPECT_EQ(CodeOf(Mkdir("jobs/" + std::string(300, 'x'))), Errc::kNameTooLong);
  EXPECT_FALSE(agent_.noted().empty());
}

TEST_F(TreeTest, NothingIsMadeWhereNothingBelongs) {
  ASSERT_TRUE(Mkdir("jobs/sim"));
  EXPECT_EQ(CodeOf(Mkdir("nodes")), Errc::kNotYours);
  EXPECT_EQ(CodeOf(CreateWith("jobs/sim/file", "x")), Errc::kNotYours);
  EXPECT_EQ(CodeOf(Unlink("jobs/sim/ctl")), Errc::kNotYours);
  EXPECT_EQ(CodeOf(Echo("README", "x")), Errc::kAccess);
  EXPECT_EQ(CodeOf(Cat("jobs")), Errc::kIsDirectory);
}

TEST_F(TreeTest, PolicyChangesOnlyTheKeysThatWereWritten) {
  ASSERT_TRUE(Mkdir("jobs/sim"));
  ASSERT_TRUE(Echo("jobs/sim/policy", "keep 3\n"));
  ASSERT_TRUE(Echo("jobs/sim/policy", "interval 60\n"));
  std::string text = *Cat("jobs/sim/policy");
  EXPECT_NE(text.find("keep 3\n"), std::string::npos);
  EXPECT_NE(text.find("interval 60\n"), std::string::npos);
  EXPECT_TRUE(Echo("jobs/sim/policy", text));
  EXPECT_EQ(CodeOf(Echo("jobs/sim/policy", "keep 4\ncolour blue\n")), Errc::kInvalid);
  EXPECT_EQ(*Cat("jobs/sim/policy"), text);
  EXPECT_EQ(CodeOf(Echo("jobs/sim/policy", std::string(1 << 20, 'x'))), Errc::kTooBig);
  EXPECT_EQ(agent_.noted().size(), 2u);
}

TEST_F(TreeTest, AnOpenFileKeepsItsText) {
  ASSERT_TRUE(Mkdir("jobs/sim"));
  auto handle = Open("jobs/sim/policy", {}, Alice());
  ASSERT_TRUE(handle.ok());
  std::string before = *ReadAt(*handle, 0);
  ASSERT_TRUE(Echo("jobs/sim/policy", "keep 12345\n"));
  EXPECT_EQ(*ReadAt(*handle, 0, 5) + *ReadAt(*handle, 5), before);
  EXPECT_NE(*Cat("jobs/sim/policy"), before);
  EXPECT_TRUE(Close(*handle));
}

TEST_F(TreeTest, UnitsTakePidsAndCheckpointers) {
  ASSERT_TRUE(Mkdir("jobs/sim"));
  ASSERT_TRUE(Mkdir("jobs/sim/units/second"));
  EXPECT_EQ(Ls("jobs/sim/units")->size(), 2u);
  EXPECT_TRUE(Echo("jobs/sim/units/main/procs", "42\n"));
  EXPECT_EQ(*Cat("jobs/sim/units/main/procs"), "42\n43\n");
  EXPECT_EQ(CodeOf(Echo("jobs/sim/units/main/procs", "404")), Errc::kGone);
  EXPECT_EQ(CodeOf(Echo("jobs/sim/units/main/procs", "x")), Errc::kInvalid);
  EXPECT_TRUE(Echo("jobs/sim/units/main/checkpointer", "criu\n"));
  EXPECT_EQ(*Cat("jobs/sim/units/main/checkpointer"), "criu\n");
  EXPECT_EQ(CodeOf(Echo("jobs/sim/units/main/checkpointer", "none")), Errc::kInvalid);
  EXPECT_TRUE(Rmdir("jobs/sim/units/second"));
  EXPECT_TRUE(Rmdir("jobs/sim"));
}

TEST_F(TreeTest, ACommandIsAnsweredWhenItHasFinished) {
  ASSERT_TRUE(Mkdir("jobs/sim"));
  auto handle = Open("jobs/sim/ctl", ForWriting(), Alice());
  ASSERT_TRUE(handle.ok());
  Waiting<size_t> written;
  tree_->Write(Alice(), *handle, 0, AsBytes("checkpoint\n"), written.reply());
  ASSERT_TRUE(Eventually([&] { return agent_.open_commands() == 1; }));
  EXPECT_FALSE(written.answered());
  EXPECT_TRUE(Cat("jobs/sim/status").ok());  // and nothing waits for it
  agent_.FinishCommands({});
  EXPECT_EQ(*written.Get(), 11u);
  EXPECT_TRUE(Close(*handle));
}

TEST_F(TreeTest, InterruptedCommandsAreCancelled) {
  ASSERT_TRUE(Mkdir("jobs/sim"));
  auto handle = Open("jobs/sim/ctl", ForWriting(), Alice());
  ASSERT_TRUE(handle.ok());
  Waiting<size_t> written;
  tree_->Write(Alice(), *handle, 0, AsBytes("checkpoint"), written.reply());
  ASSERT_TRUE(written.can_interrupt());
  written.Interrupt();
  ASSERT_TRUE(Eventually([&] { return agent_.open_commands() == 1; }));
  agent_.EndCancelled();
  EXPECT_EQ(CodeOf(written.Get()), Errc::kCancelled);
  EXPECT_TRUE(Close(*handle));
}

TEST_F(TreeTest, CancelGoesPastTheCommandThatRuns) {
  ASSERT_TRUE(Mkdir("jobs/sim"));
  auto handle = Open("jobs/sim/ctl", ForWriting(), Alice());
  Waiting<size_t> written;
  tree_->Write(Alice(), *handle, 0, AsBytes("checkpoint"), written.reply());
  ASSERT_TRUE(Eventually([&] { return agent_.open_commands() == 1; }));
  auto first = Walk("jobs/sim/ctl", Alice());
  auto second = Walk("jobs/sim/ctl", Alice());
  EXPECT_NE(first->ino, second->ino) << "the kernel would hold the inode's lock";
  tree_->Forget(first->ino, 1);
  tree_->Forget(second->ino, 1);
  EXPECT_TRUE(Echo("jobs/sim/ctl", "cancel"));
  EXPECT_EQ(CodeOf(written.Get()), Errc::kCancelled);
  EXPECT_TRUE(Close(*handle));
}

TEST_F(TreeTest, ADescriptorLendsTheRightsOfItsOpenerAndNoOthers) {
  ASSERT_TRUE(Mkdir("jobs/sim"));
  auto handle = Open("jobs/sim/ctl", ForWriting(), Alice());
  EXPECT_TRUE(WriteAt(*handle, 0, "suspend", Root()));
  EXPECT_EQ(agent_.callers().back().uid, fake::kAlice);
  EXPECT_EQ(agent_.callers().back().pid, Root().pid);
  EXPECT_TRUE(Close(*handle));
}

TEST_F(TreeTest, RefusedCommandsAreNotedOnce) {
  ASSERT_TRUE(Mkdir("jobs/sim"));
  EXPECT_EQ(CodeOf(Echo("jobs/sim/ctl", "nonsense")), Errc::kInvalid);
  ASSERT_EQ(agent_.noted().size(), 1u);
  EXPECT_NE(agent_.noted()[0].find("allowed: checkpoint"), std::string::npos);
  // The agent notes what it refuses itself.
  EXPECT_EQ(CodeOf(Echo("jobs/sim/ctl", "kill")), Errc::kGone);
  EXPECT_EQ(agent_.noted().size(), 1u);
}

TEST_F(TreeTest, WaitAnswersAllReadersAtTheEnd) {
  ASSERT_TRUE(Mkdir("jobs/sim"));
  auto handle = Open("jobs/sim/wait", {}, Alice());
  Waiting<ReadData> first, second, third;
  std::atomic<int> woken{0};
  EXPECT_EQ(*tree_->Poll(*handle, [&] { ++woken; }), 0);
  tree_->Read(Alice(), *handle, 0, 4096, first.reply());
  tree_->Read(Alice(), *handle, 0, 4096, second.reply());
  tree_->Read(Alice(), *handle, 0, 4096, third.reply());
  EXPECT_EQ(agent_.open_waits(), 1u);
  third.Interrupt();
  EXPECT_EQ(CodeOf(third.Get()), Errc::kCancelled);
  EXPECT_FALSE(first.answered());
  agent_.EndJob("exit 3\n");
  EXPECT_EQ(first.Get()->text, "exit 3\n");
  EXPECT_EQ(second.Get()->text, "exit 3\n");
  EXPECT_EQ(*ReadAt(*handle, 7), "");
  EXPECT_EQ(woken, 1);
  EXPECT_NE(*tree_->Poll(*handle, nullptr) & POLLIN, 0);
  EXPECT_TRUE(Close(*handle));
}

TEST_F(TreeTest, AWaitThatIsClosedIsCancelled) {
  ASSERT_TRUE(Mkdir("jobs/sim"));
  auto handle = Open("jobs/sim/wait", {}, Alice());
  Waiting<ReadData> read;
  tree_->Read(Alice(), *handle, 0, 4096, read.reply());
  EXPECT_TRUE(Close(*handle));
  EXPECT_EQ(CodeOf(read.Get()), Errc::kCancelled);
  EXPECT_EQ(agent_.open_waits(), 0u);
}

TEST_F(TreeTest, EventsWakeWhoeverHasReadThemAll) {
  agent_.events().Add("sim", "one");
  auto handle = Open("events", {}, Root());
  ASSERT_TRUE(handle.ok());
  std::atomic<int> woken{0};
  auto wake = [&] { ++woken; };
  EXPECT_NE(*tree_->Poll(*handle, wake) & POLLIN, 0);
  std::string text = *ReadAt(*handle, 0);
  EXPECT_EQ(Stat("events", Root())->size_bytes, text.size());
  EXPECT_EQ(*tree_->Poll(*handle, wake), 0);
  agent_.events().Add("sim", "two");
  ASSERT_TRUE(Eventually([&] { return woken > 0; }));
  EXPECT_NE(*tree_->Poll(*handle, wake) & POLLIN, 0);
  EXPECT_NE(ReadAt(*handle, text.size())->find("two"), std::string::npos);
  EXPECT_TRUE(Close(*handle));
}

TEST_F(TreeTest, KeysAreTrustedWhenWholeAndOnlyThen) {
  std::string key = NodeKeys::Generate("there")->public_key().Format();
  EXPECT_EQ(CodeOf(CreateWith("keys/trusted/a.pub", key, Alice())), Errc::kNotYours);
  ASSERT_TRUE(CreateWith("keys/trusted/a.pub", key, Root()));
  EXPECT_EQ(*Cat("keys/trusted/a.pub"), key);
  EXPECT_EQ(CodeOf(CreateWith("keys/trusted/a.pub", key, Root())), Errc::kExists);
  EXPECT_EQ(CodeOf(Echo("keys/trusted/a.pub", "junk\n", Root())), Errc::kInvalid);
  EXPECT_EQ(*Cat("keys/trusted/a.pub"), key) << "the old key stays until there is a new one";
  EXPECT_EQ(CodeOf(CreateWith("keys/trusted/b.pub", key.substr(0, 60), Root())), Errc::kInvalid);
  EXPECT_EQ(CodeOf(CreateWith("keys/trusted/b.pub", std::string(100000, 'A'), Root())),
            Errc::kTooBig);
  EXPECT_TRUE(CreateWith("keys/trusted/empty.pub", "", Root()));
  EXPECT_EQ(CodeOf(CreateWith("keys/trusted/a b.pub", key, Root())), Errc::kInvalid);
  EXPECT_EQ(*Ls("keys/trusted"), std::vector<std::string>{"a.pub"});
  ASSERT_TRUE(CreateWith("keys/trusted/.new.X1", key, Root()));
  EXPECT_EQ(store_.TrustedKeys().size(), 1u);
  ASSERT_TRUE(Rename("keys/trusted/.new.X1", "c.pub", Root()));
  ASSERT_TRUE(Rename("keys/trusted/a.pub", "d.pub", Root()));
  EXPECT_EQ(*Ls("keys/trusted"), (std::vector<std::string>{"c.pub", "d.pub"}));
  EXPECT_TRUE(Unlink("keys/trusted/c.pub", Root()));
  EXPECT_TRUE(Unlink("keys/trusted/d.pub", Root()));
  EXPECT_TRUE(store_.TrustedKeys().empty());
}

TEST_F(TreeTest, AKeyMayArriveInPieces) {
  std::string key = NodeKeys::Generate("there")->public_key().Format();
  ASSERT_TRUE(CreateWith("keys/trusted/draft", "", Root()));
  auto handle = Open("keys/trusted/draft", {.read = false, .write = true, .append = true}, Root());
  for (char c : key) ASSERT_TRUE(WriteAt(*handle, 0, std::string(1, c), Root())) << c;
  EXPECT_TRUE(Close(*handle));
  EXPECT_TRUE(Rename("keys/trusted/draft", "a.pub", Root()));
  EXPECT_EQ(*Cat("keys/trusted/a.pub"), key);
}

TEST_F(TreeTest, TheKernelCanForgetEverything) {
  ASSERT_TRUE(Mkdir("jobs/sim"));
  for (int i = 0; i < 3; ++i) {
    (void)Ls("");
    (void)Ls("jobs/sim");
    (void)Cat("jobs/sim/units/main/status");
  }
  EXPECT_EQ(tree_->known_inodes(), 1u);
}

}  // namespace
}  // namespace ckptfs
