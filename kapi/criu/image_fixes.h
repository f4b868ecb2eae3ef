// What criu saves in a way that it cannot restore, put right on the way back.
// The image itself stays as it was signed.
#pragma once

#include <string>

namespace ckptfs {

// In the content of files.img: a periodic timerfd that had expired and not been
// read has no time left, by the kernel's account. criu would restore it disarmed,
// and a program that waits for its ticks would wait for ever. It is given one
// nanosecond. Gives the number of timers mended; what is no files.img is left alone.
int FixTimerfds(std::string* files_image);

}  // namespace ckptfs
