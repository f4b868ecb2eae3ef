// criu's action script: the place where a dump or a restore is held while the
// processes stand still. criu runs it without arguments and waits for it.
//
// CKPTFS_HOOK names a socket of the daemon, relative to criu's work folder. The
// hook writes "ACTION ROOT-PID\n" there and waits for one byte: 'g' lets criu go
// on, anything else, or a daemon that is gone, does not.
//   post-dump   failing makes criu fail and let the job go on, whatever was asked
//   pre-resume  criu would go on even if we fail, and run what nobody has
//               checked: the hook itself ends the restored tree first
// Every other action passes at once.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "init/roles.h"

// Ends `pid` and all below it, the leaves first. The tree is stopped by criu
// and cannot change under us.
static void KillTree(pid_t pid, int depth) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR* tasks = depth < 512 ? opendir(path) : NULL;
  for (struct dirent* task; tasks != NULL && (task = readdir(tasks)) != NULL;) {
    if (task->d_name[0] == '.') continue;
    char children[128];
    snprintf(children, sizeof children, "/proc/%d/task/%.20s/children", pid, task->d_name);
    FILE* list = fopen(children, "re");
    if (list == NULL) continue;
    int child;
    while (fscanf(list, "%d", &child) == 1) KillTree(child, depth + 1);
    fclose(list);
  }
  if (tasks != NULL) closedir(tasks);
  kill(pid, SIGKILL);
}

static char Ask(const char* socket_name, const char* action, const char* root_pid) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(socket_name) >= sizeof address.sun_path) return 'x';
  strcpy(address.sun_path, socket_name);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (struct sockaddr*)&address, sizeof address) != 0) return 'x';
  char line[64];
  int length = snprintf(line, sizeof line, "%.31s %.15s\n", action, root_pid);
  if (send(fd, line, (size_t)length, MSG_NOSIGNAL) != length) return 'x';
  char answer = 'x';
  while (read(fd, &answer, 1) < 0 && errno == EINTR) {
  }
  return answer;
}

int HookRole(const char* action) {
  int after_dump = strcmp(action, "post-dump") == 0;
  int before_resume = strcmp(action, "pre-resume") == 0;
  if (!after_dump && !before_resume) return 0;
  const char* socket_name = getenv("CKPTFS_HOOK");
  const char* root_pid = getenv("CRTOOLS_INIT_PID");
  if (root_pid == NULL) root_pid = "0";
  if (socket_name != NULL && Ask(socket_name, action, root_pid) == 'g') return 0;
  int pid = atoi(root_pid);
  if (before_resume && pid > 1) KillTree(pid, 0);
  return 1;
}
