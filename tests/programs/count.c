// count FILE [MIB]: holds MIB of memory and counts in FILE, ten milliseconds a step.
// Shows that a program goes on from where it was.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  size_t size = argc > 2 ? (size_t)atol(argv[2]) << 20 : 0;
  unsigned char* memory = malloc(size + 1);
  unsigned long long state = 88172645463325252ULL;
  for (size_t i = 0; i + 8 <= size; i += 8) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    memcpy(memory + i, &state, 8);
  }
  int fd = open(argv[1], O_WRONLY | O_CLOEXEC);
  if (fd < 0) return 1;
  for (long n = 1;; ++n) {
    char text[32];
    int length = snprintf(text, sizeof text, "%-20ld\n", n);
    if (pwrite(fd, text, (size_t)length, 0) != length) return 1;
    struct timespec step = {0, 10000000};
    nanosleep(&step, NULL);
  }
}
