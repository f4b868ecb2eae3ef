// What criu says, and what the user is told.
#include "kapi/criu/criu_log.h"

#include <gtest/gtest.h>

#include "kapi/criu/log_messages.h"

namespace ckptfs {
namespace {

struct Sample {
  CriuAct act;
  const char* log;
  Errc code;
  const char* message;
};

const Sample kSamples[] = {
    {CriuAct::kRestore,
     "(00.011224) Error (criu/cr-restore.c:1480): Can't fork for 12348: File exists\n"
     "(00.011301) Error (criu/cr-restore.c:2605): Restoring FAILED.\n",
     Errc::kExists, "pid 12348 is in use on this node"},
    {CriuAct::kRestore,
     "(00.000642) Error (criu/util.c:1445): Can't setup RLIMIT_NOFILE for self\n"
     "(00.014250)   5231: Error (criu/files-reg.c:2143): File tmp/out.log has bad size 24 (expect "
     "12)\n",
     Errc::kIo, "the file tmp/out.log has another size than at the checkpoint"},
    {CriuAct::kRestore,
     "(00.02)   77: Error (criu/files-reg.c:2310): Can't open file var/data/in.txt on restore: No "
     "such file or directory\n",
     Errc::kNotFound, "the file var/data/in.txt is not there any more"},
    {CriuAct::kRestore,
     "(00.02)  77: Error (criu/sk-inet.c:1079): inet: Can't bind inet socket (id 10): Address "
     "already in use\n",
     Errc::kBusy,
     "a network address that the job listens on is in use or not on this node ((id 10): Address "
     "already in use)"},
    {CriuAct::kDump,
     "(00.01) Error (criu/sk-unix.c:915): unix: External socket is used. Consider using "
     "--ext-unix-sk option.\n",
     Errc::kUnsupported,
     "the job is connected over a unix socket to a program outside of it (D-Bus, X, syslog …)"},
    {CriuAct::kDump,
     "(00.01) Error (criu/files-ext.c:98): Can't dump file 5 of that type [600] (unknown "
     "anon_inode:[perf_event])\n",
     Errc::kUnsupported,
     "the job has something open that cannot be saved: file 5 of that type [600] (unknown "
     "anon_inode:[perf_event])"},
    {CriuAct::kDump,
     "(00.004) Error (compel/src/lib/infect.c:261): Unseizable non-zombie 4242 found, state S, err "
     "-1/1\n",
     Errc::kBusy,
     "process 4242 could not be frozen: it is traced by a debugger or stuck in the kernel"},
    {CriuAct::kDump,
     "(00.004) Error (criu/cr-dump.c:315): Can't get rlimit 0: Operation not permitted\n",
     Errc::kNotYours,
     "process limits may not be read: the job has processes of more than one user"},
    {CriuAct::kDump, "(00.1) Error (criu/foo.c:1): something nobody has seen\n", Errc::kIo,
     "the processes could not be saved: criu says: something nobody has seen"},
    {CriuAct::kDump, "", Errc::kIo,
     "the processes could not be saved: criu ended (exit 1) and did not say why"},
};

TEST(CriuLog, NamesTheCauseInOneSentence) {
  for (const Sample& sample : kSamples) {
    Error error = ExplainCriuLog(sample.act, sample.log, "exit 1");
    EXPECT_EQ(error.message(), sample.message);
    EXPECT_EQ(error.code(), sample.code) << sample.message;
    EXPECT_FALSE(error.remedy().empty()) << sample.message;
    EXPECT_EQ(error.message().find('\n'), std::string::npos);
  }
}

TEST(CriuLog, EveryMessageHasAReachableSentenceAndARemedy) {
  for (const CriuMessage& message : CriuMessages()) {
    EXPECT_FALSE(message.needle.empty());
    EXPECT_FALSE(message.remedy.empty()) << message.needle;
    EXPECT_NE(message.sentence.back(), '.') << message.sentence;
    bool has_detail = message.sentence.find("{}") != message.sentence.npos;
    EXPECT_EQ(has_detail, !message.after.empty()) << message.sentence;
  }
}

TEST(CriuLog, HostileLogIsBounded) {
  std::string log = "Error (x): " + std::string(1 << 20, 'A');
  EXPECT_LT(ExplainCriuLog(CriuAct::kDump, log, "exit 1").message().size(), 600u);
  (void)ExplainCriuLog(CriuAct::kDump, std::string(1 << 20, '\n'), "exit 1");
}

TEST(CriuLog, KeepsTheLastLogOfEachUnit) {
  CriuLogs logs;
  logs.Keep("a", "main", "one");
  logs.Keep("a", "main", "two");
  EXPECT_EQ(logs.Last("a", "main"), "two");
  EXPECT_EQ(logs.Last("a", "other"), "");
}

}  // namespace
}  // namespace ckptfs
