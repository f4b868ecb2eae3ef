#include "mount/errno.h"

#include <cerrno>

namespace ckptfs {

int ErrnoOf(Errc code) {
  switch (code) {
    case Errc::kInvalid:
      return EINVAL;
    case Errc::kBusy:
      return EBUSY;
    case Errc::kNotYours:
      return EPERM;
    case Errc::kUntrusted:
      return EACCES;
    case Errc::kCorrupt:
      return EBADMSG;
    case Errc::kReplayed:
      return ESTALE;
    case Errc::kWouldRunTwice:
      return EEXIST;
    case Errc::kGone:
      return ESRCH;
    case Errc::kQuota:
      return EDQUOT;
    case Errc::kNoSpace:
      return ENOSPC;
    case Errc::kUnsupported:
      return EOPNOTSUPP;
    case Errc::kNodeDown:
      return EHOSTDOWN;
    case Errc::kCancelled:
      return ECANCELED;
    case Errc::kNotFound:
      return ENOENT;
    case Errc::kExists:
      return EEXIST;
    case Errc::kNotEmpty:
      return ENOTEMPTY;
    case Errc::kNotDirectory:
      return ENOTDIR;
    case Errc::kIsDirectory:
      return EISDIR;
    case Errc::kReadOnly:
      return EROFS;
    case Errc::kNameTooLong:
      return ENAMETOOLONG;
    case Errc::kTooBig:
      return EFBIG;
    case Errc::kAccess:
      return EACCES;
    case Errc::kTooManyFiles:
      return ENFILE;
    case Errc::kNoMemory:
      return ENOMEM;
    case Errc::kTimedOut:
      return ETIMEDOUT;
    case Errc::kIo:
      return EIO;
    case Errc::kInternal:
      return EIO;
  }
  return EIO;  // not one of the above: memory was overwritten
}

}  // namespace ckptfs
