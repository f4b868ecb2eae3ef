#include "fs/control_grammar.h"

#include <gtest/gtest.h>

namespace ckptfs {
namespace {

Errc Refusal(std::string_view text) {
  auto command = ParseCommand(text);
  return command ? Errc::kInternal : command.error().code();
}

TEST(ControlGrammar, EveryCommandIsTakenWithAndWithoutItsNewline) {
  for (std::string_view text : {"checkpoint", "checkpoint stop", "checkpoint full stop", "restart",
                                "restart 7 clone here", "restart node=b 3", "suspend", "resume",
                                "kill", "migrate b", "cancel", "  kill\t", "kill &"}) {
    EXPECT_TRUE(ParseCommand(text).ok()) << text;
    EXPECT_TRUE(ParseCommand(std::string(text) + "\n").ok()) << text;
  }
}

TEST(ControlGrammar, WordsBecomeTheCommand) {
  auto save = ParseCommand("checkpoint full stop\n");
  ASSERT_TRUE(save.ok());
  EXPECT_EQ(save->verb, Verb::kCheckpoint);
  EXPECT_TRUE(save->stop && save->full && !save->background);
  EXPECT_EQ(save->text, "checkpoint full stop");
  auto restart = ParseCommand("restart clone 18446744073709551615 node=n-1 &");
  ASSERT_TRUE(restart.ok());
  EXPECT_EQ(restart->version, UINT64_MAX);
  EXPECT_TRUE(restart->clone && restart->background);
  EXPECT_EQ(restart->node, "n-1");
  EXPECT_EQ(ParseCommand("migrate b&")->node, "b");
}

TEST(ControlGrammar, AnythingElseIsInvalidAndSaysWhatIsAllowed) {
  using namespace std::string_view_literals;
  for (std::string_view text : {""sv,
                                "\n"sv,
                                " "sv,
                                "&"sv,
                                "& checkpoint"sv,
                                "checkpoin"sv,
                                "CHECKPOINT"sv,
                                "kill me"sv,
                                "checkpoint now"sv,
                                "checkpoint stop stop"sv,
                                "restart x"sv,
                                "restart -1"sv,
                                "restart 0"sv,
                                "restart 01"sv,
                                "restart 1 2"sv,
                                "restart 18446744073709551616"sv,
                                "restart here node=b"sv,
                                "restart node="sv,
                                "restart node=../x"sv,
                                "migrate"sv,
                                "migrate a b"sv,
                                "cancel all"sv,
                                "checkpoint\0"sv,
                                "\0"sv,
                                "checkpoint\ncheckpoint"sv,
                                "checkpoint\n\n"sv,
                                "restart \xc3\xbc"sv,
                                "kill\x7f"sv,
                                "kill \x1b[31m"sv})
    EXPECT_EQ(Refusal(text), Errc::kInvalid) << Quoted(text);
  EXPECT_NE(ParseCommand("chekpoint").error().remedy().find("checkpoint [stop] [full]"),
            std::string::npos);
}

TEST(ControlGrammar, HugeWritesAreTooBig) {
  EXPECT_EQ(Refusal(std::string(kControlBytes + 1, 'x')), Errc::kTooBig);
  EXPECT_EQ(Refusal(std::string(1 << 20, '\n')), Errc::kTooBig);
  EXPECT_TRUE(ParseCommand("kill" + std::string(kControlBytes - 4, ' ')).ok());
}

TEST(ControlGrammar, EveryLineOfTheHelpIsTakenWithoutItsOptions) {
  std::string help(CommandHelp());
  for (const char* verb : {"checkpoint", "restart", "suspend", "resume", "kill", "cancel"})
    EXPECT_NE(help.find(verb), std::string::npos) << verb;
  EXPECT_TRUE(help.ends_with('\n'));
}

TEST(ControlGrammar, PidsAreDecimalAndPositive) {
  EXPECT_EQ(*ParsePid("4242\n"), 4242);
  EXPECT_EQ(*ParsePid(" 1"), 1);
  for (const char* text : {"", "0", "-5", "me", "1 2", "1x", "99999999999", "1\n2\n"})
    EXPECT_FALSE(ParsePid(text).ok()) << text;
}

TEST(ControlGrammar, VersionsHaveOneSpelling) {
  EXPECT_EQ(ParseVersion("1"), 1u);
  for (const char* text : {"", "0", "01", "+1", " 1", "1 ", "1x", "latest", "18446744073709551616"})
    EXPECT_FALSE(ParseVersion(text).has_value()) << text;
}

TEST(ControlGrammar, QuotedTextIsPrintableAndBounded) {
  EXPECT_EQ(Quoted("a\x1b[31mb\n"), "a\\x1b[31mb");
  EXPECT_LT(Quoted(std::string(1 << 20, '\n')).size(), 600u);
}

}  // namespace
}  // namespace ckptfs
