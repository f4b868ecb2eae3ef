// ckptfs-init: the one small static program that ckptfs puts beside or above a
// job. It is in C and without libraries because it becomes part of images and
// must run on whatever machine an image reaches. Its role is the first word:
//
//   run    the root of a unit's tree; keeps the exit status      init/run.c
//   ns     PID 1 of a restored unit's own pid namespace          init/namespace.c
//   enter  runs criu inside such a namespace                     init/namespace.c
//   terminal  runs a restoring criu with a new terminal         init/terminal.c
//   (none, with CRTOOLS_SCRIPT_ACTION set) criu's action script  init/hook.c
#ifndef CKPTFS_INIT_ROLES_H
#define CKPTFS_INIT_ROLES_H

#include <signal.h>
#include <stddef.h>
#include <sys/types.h>

int RunRole(int argc, char** argv);
int NamespaceRole(int argc, char** argv);
int EnterRole(int argc, char** argv);
int TerminalRole(int argc, char** argv);
int HookRole(const char* action);

// Whom to become before an exec: as Child's credentials on the daemon's side.
struct Identity {
  int change;  // 0: stay what we are
  uid_t uid;
  gid_t gid;
  gid_t groups[256];
  size_t group_count;
  int keep_capabilities;  // CAP_CHECKPOINT_RESTORE and CAP_SETPCAP, ambient
};
// Takes --uid N, --gid N, --groups N,N… and --caps; the number of words taken, 0 if none fits.
int TakeIdentityOption(struct Identity* who, int argc, char** argv, int at);
int Become(const struct Identity* who);  // 0, or -1 with errno

// Says "ckptfs-init: WHAT: why" on stderr and gives `status` back.
int Complain(const char* what, int error_number, int status);
// 127 for what is not there, 126 for what cannot be run, as shells do.
int ExecFailureStatus(int error_number);

// Reaps everything until no child is left, passing signals on to `main_child`
// (to all children once it has ended). The wait status of `main_child`.
// Every signal must be blocked.
int ReapUntilAlone(pid_t main_child);
// Ends this process the way `wait_status` tells; as PID 1 by 128 + signal.
_Noreturn void EndLike(int wait_status);

#endif
