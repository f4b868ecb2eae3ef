// state FILE: checks, over and over, all kinds of state that a restart must bring
// back, and counts the rounds in FILE. What is lost ends it with a message in FILE.
//   two siblings on a pipe, one always blocked · memory shared with a child · a
//   deleted file that is still open · an eventfd's value · a timerfd and an
//   interval timer that go on · ignored and blocked signals · a zombie child ·
//   a unix socket pair with data in it
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static int out;
static volatile sig_atomic_t alarms;

static void OnAlarm(int signal_number) {
  (void)signal_number;
  alarms = alarms + 1;
}

static void Check(int good, const char* what) {
  if (good) return;
  char text[64];
  int length = snprintf(text, sizeof text, "-1 lost: %s", what);
  if (pwrite(out, text, (size_t)length, 0) < 0) _exit(2);
  _exit(1);
}

int main(int argc, char** argv) {
  if (argc < 2 || (out = open(argv[1], O_RDWR | O_CLOEXEC)) < 0) return 2;
  volatile long* shared =
      mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  Check(shared != MAP_FAILED, "mmap");
  char name[4096];
  snprintf(name, sizeof name, "%s.deleted", argv[1]);
  int deleted = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  Check(deleted >= 0 && write(deleted, "still here", 10) == 10 && unlink(name) == 0, "file");
  int event = eventfd(41, EFD_CLOEXEC | EFD_NONBLOCK);
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  struct itimerspec every = {{0, 20000000}, {0, 20000000}};
  Check(event >= 0 && timer >= 0 && timerfd_settime(timer, 0, &every, NULL) == 0, "timer");
  signal(SIGALRM, OnAlarm);
  signal(SIGTERM, SIG_IGN);
  sigset_t usr2;
  sigemptyset(&usr2);
  sigaddset(&usr2, SIGUSR2);
  sigprocmask(SIG_BLOCK, &usr2, NULL);
  raise(SIGUSR2);
  struct itimerval interval = {{0, 50000}, {0, 50000}};
  setitimer(ITIMER_REAL, &interval, NULL);
  int pair[2], pipes[2];
  Check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 && pipe(pipes) == 0 &&
            write(pair[0], "queued", 6) == 6,
        "pair");
  if (fork() == 0) _exit(7);  // the zombie
  if (fork() == 0)            // blocked in write, nearly always
    for (long n = 0;; ++n)
      if (write(pipes[1], &n, sizeof n) != sizeof n) _exit(1);
  if (fork() == 0)
    for (;;) {
      long n;
      if (read(pipes[0], &n, sizeof n) != sizeof n) _exit(1);
      shared[1] = n;
      usleep(2000);
    }
  for (long round = 1;; ++round) {
    uint64_t ticks = 0, value = 0;
    char bytes[16];
    long piped_before = shared[1];
    int alarms_before = alarms;
    for (int i = 0; i < 200 && (alarms == alarms_before || shared[1] == piped_before); ++i) {
      ssize_t n = read(timer, &ticks, sizeof ticks);
      if (n < 0) continue;  // SIGALRM
      Check(n == sizeof ticks && ticks > 0, "timerfd");
    }
    Check(alarms > alarms_before, "interval timer");
    Check(shared[1] > piped_before, "pipe and shared memory");
    Check(pread(deleted, bytes, 10, 0) == 10 && memcmp(bytes, "still here", 10) == 0,
          "deleted file");
    Check(read(event, &value, sizeof value) == sizeof value && value == 41, "eventfd");
    Check(write(event, &value, sizeof value) == sizeof value, "eventfd");
    Check(recv(pair[1], bytes, 6, MSG_PEEK) == 6 && memcmp(bytes, "queued", 6) == 0, "socket");
    sigset_t pending;
    sigpending(&pending);
    Check(sigismember(&pending, SIGUSR2) == 1, "pending signal");
    int length = snprintf(name, sizeof name, "%-20ld\n", round);
    Check(pwrite(out, name, (size_t)length, 0) == length, "output");
  }
}
