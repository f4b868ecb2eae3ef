#include "tests/kapi/running_program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "kapi/tree_control.h"

namespace ckptfs {

TestDir::TestDir(uid_t uid, gid_t gid) {
  char name[] = "/dev/shm/ckptfs-test-XXXXXX";
  path_ = ::mkdtemp(name);
  EXPECT_EQ(::chown(path_.c_str(), uid, gid), 0);
}

TestDir::~TestDir() { EXPECT_TRUE(RemoveTree(kCwd, path_).ok()); }

RunningProgram::RunningProgram(const std::vector<std::string>& argv, ChildOptions options) {
  options.argv = argv;
  auto child = Child::Spawn(options);
  if (!child) {
    ADD_FAILURE() << child.error().Text();
    return;
  }
  auto info = ReadProcess(child->pid());
  if (info && *info) unit_.root = (*info)->id;
  if (options.credentials)
    unit_.owner = UserCredentials(options.credentials->uid, options.credentials->gid);
  else
    unit_.owner = RootCredentials();
  child->Disown();
}

RunningProgram::~RunningProgram() { KillAll(); }

void RunningProgram::KillAll() {
  if (unit_.root.pid == 0) return;
  if (unit_.namespace_init) {
    EXPECT_TRUE(KillTree(*unit_.namespace_init).ok());
  }
  auto killed = KillTree(unit_.root);
  EXPECT_TRUE(killed.ok()) << (killed ? "" : killed.error().Text());
  ::waitpid(unit_.root.pid, nullptr, WNOHANG);
}

Counter::Counter(const std::string& path, uid_t uid, gid_t gid) : path_(path) {
  auto file = Open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  EXPECT_TRUE(file.ok());
  EXPECT_TRUE(WriteAll(file->get(), AsBytes(std::string(64, ' '))).ok());
  EXPECT_EQ(::chown(path.c_str(), uid, gid), 0);
}

long Counter::Value() const {
  auto text = ReadFile(path_, 4096);
  return text ? std::strtol(text->c_str(), nullptr, 10) : -1;
}

Credentials RootCredentials() {
  auto self = ReadProcess(::getpid());
  return (*self)->credentials;
}

Credentials UserCredentials(uid_t uid, gid_t gid) {
  Credentials who;
  who.real_uid = who.effective_uid = who.saved_uid = who.fs_uid = uid;
  who.real_gid = who.effective_gid = who.saved_gid = who.fs_gid = gid;
  return who;
}

}  // namespace ckptfs
