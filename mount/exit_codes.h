// How the commands end; ckptfs(1) lists these.
#pragma once

namespace ckptfs {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;  // what was asked could not be done
inline constexpr int kExitUsage = 2;   // it was asked wrongly
inline constexpr int kExitWrong = 3;   // verify, fsck, doctor: something is not as it should be

}  // namespace ckptfs
