// threads FILE N: N threads, each of which counts; FILE shows the least count. A
// thread that was lost stops the count.
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { kMost = 1000 };
static atomic_long counts[kMost];

static void Nap(long ms) {
  struct timespec step = {0, ms * 1000000};
  nanosleep(&step, NULL);
}

static void* Count(void* own) {
  for (;; Nap(20)) atomic_fetch_add((atomic_long*)own, 1);
  return NULL;
}

int main(int argc, char** argv) {
  int n = argc > 2 ? atoi(argv[2]) : 0;
  if (n < 1 || n > kMost) return 2;
  int fd = open(argv[1], O_WRONLY | O_CLOEXEC);
  for (int i = 0; i < n; ++i) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, Count, &counts[i]) != 0) return 1;
  }
  for (;; Nap(10)) {
    long least = counts[0];
    for (int i = 1; i < n; ++i)
      if (counts[i] < least) least = counts[i];
    char text[32];
    int length = snprintf(text, sizeof text, "%-20ld\n", least);
    if (pwrite(fd, text, (size_t)length, 0) != length) return 1;
  }
}
