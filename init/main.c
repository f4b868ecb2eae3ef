#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "init/roles.h"

int Complain(const char* what, int error_number, int status) {
  fprintf(stderr, "ckptfs-init: %s: %s\n", what, strerror(error_number));
  return status;
}

int ExecFailureStatus(int error_number) {
  return error_number == ENOENT || error_number == ENOTDIR ? 127 : 126;
}

int main(int argc, char** argv) {
  const char* action = getenv("CRTOOLS_SCRIPT_ACTION");
  if (argc == 1 && action != NULL) return HookRole(action);
  if (argc > 1 && strcmp(argv[1], "run") == 0) return RunRole(argc, argv);
  if (argc > 1 && strcmp(argv[1], "ns") == 0) return NamespaceRole(argc, argv);
  if (argc > 1 && strcmp(argv[1], "enter") == 0) return EnterRole(argc, argv);
  if (argc > 1 && strcmp(argv[1], "terminal") == 0) return TerminalRole(argc, argv);
  fprintf(stderr,
          "usage: ckptfs-init run [--cgroup NAME] [--keep-session] -- PROGRAM [ARGUMENT...]\n");
  return 2;
}
