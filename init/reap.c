// What both inits share: reaping, passing signals on, ending like the program.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init/roles.h"

static void SignalAllChildren(int signal_number) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
  FILE* list = fopen(path, "re");
  if (list == NULL) return;
  int child;
  while (fscanf(list, "%d", &child) == 1) kill(child, signal_number);
  fclose(list);
}

int ReapUntilAlone(pid_t main_child) {
  int main_status = 0;
  int main_ended = 0;
  sigset_t all;
  sigfillset(&all);
  for (;;) {
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid == main_child) {
      main_status = status;
      main_ended = 1;
    }
    if (pid > 0) continue;
    if (pid < 0 && errno == ECHILD) return main_status;
    siginfo_t info;
    // No timeout: nothing here is bound to a clock, so a restore elsewhere and
    // later changes nothing. EINTR comes from being checkpointed.
    int signal_number = sigwaitinfo(&all, &info);
    if (signal_number <= 0 || signal_number == SIGCHLD) continue;
    // Ours to stop on, or the kernel's word on ourselves: not the program's.
    if (signal_number == SIGTSTP || signal_number == SIGTTIN || signal_number == SIGTTOU ||
        signal_number == SIGPIPE)
      continue;
    if (main_ended)
      SignalAllChildren(signal_number);
    else
      kill(main_child, signal_number);
  }
}

void EndLike(int wait_status) {
  if (!WIFSIGNALED(wait_status)) _exit(WEXITSTATUS(wait_status));
  int signal_number = WTERMSIG(wait_status);
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);  // the program's core is the one that matters
  signal(signal_number, SIG_DFL);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, signal_number);
  kill(getpid(), signal_number);
  sigprocmask(SIG_UNBLOCK, &only, NULL);
  _exit(128 + signal_number);  // PID 1 cannot kill itself
}
