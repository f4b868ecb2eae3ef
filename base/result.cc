#include "base/result.h"

#include <cerrno>
#include <cstring>

namespace ckptfs {

Errc ErrcFromErrno(int error_number) {
  switch (error_number) {
    case EINVAL:
      return Errc::kInvalid;
    case EBUSY:
    case ETXTBSY:
      return Errc::kBusy;
    case EPERM:
      return Errc::kNotYours;
    case EACCES:
      return Errc::kAccess;
    case EBADMSG:
      return Errc::kCorrupt;
    case ESTALE:
      return Errc::kReplayed;
    case ESRCH:
    case ECHILD:
      return Errc::kGone;
    case EDQUOT:
      return Errc::kQuota;
    case ENOSPC:
      return Errc::kNoSpace;
    case EOPNOTSUPP:
    case ENOSYS:
      return Errc::kUnsupported;
    case EHOSTDOWN:
    case EHOSTUNREACH:
      return Errc::kNodeDown;
    case ECANCELED:
    case EINTR:
      return Errc::kCancelled;
    case ENOENT:
    case ENXIO:
      return Errc::kNotFound;
    case EEXIST:
      return Errc::kExists;
    case ENOTEMPTY:
      return Errc::kNotEmpty;
    case ENOTDIR:
      return Errc::kNotDirectory;
    case EISDIR:
      return Errc::kIsDirectory;
    case EROFS:
      return Errc::kReadOnly;
    case ENAMETOOLONG:
      return Errc::kNameTooLong;
    case EFBIG:
    case E2BIG:
    case EMSGSIZE:
      return Errc::kTooBig;
    case EMFILE:
    case ENFILE:
      return Errc::kTooManyFiles;
    case ENOMEM:
      return Errc::kNoMemory;
    case ETIMEDOUT:
      return Errc::kTimedOut;
    default:
      return Errc::kIo;
  }
}

std::string_view ErrcName(Errc code) {
  switch (code) {
    case Errc::kInvalid:
      return "invalid";
    case Errc::kBusy:
      return "busy";
    case Errc::kNotYours:
      return "not-yours";
    case Errc::kUntrusted:
      return "untrusted";
    case Errc::kCorrupt:
      return "corrupt";
    case Errc::kReplayed:
      return "replayed";
    case Errc::kWouldRunTwice:
      return "would-run-twice";
    case Errc::kGone:
      return "gone";
    case Errc::kQuota:
      return "quota";
    case Errc::kNoSpace:
      return "no-space";
    case Errc::kUnsupported:
      return "unsupported";
    case Errc::kNodeDown:
      return "node-down";
    case Errc::kCancelled:
      return "cancelled";
    case Errc::kNotFound:
      return "not-found";
    case Errc::kExists:
      return "exists";
    case Errc::kNotEmpty:
      return "not-empty";
    case Errc::kNotDirectory:
      return "not-directory";
    case Errc::kIsDirectory:
      return "is-directory";
    case Errc::kReadOnly:
      return "read-only";
    case Errc::kNameTooLong:
      return "name-too-long";
    case Errc::kTooBig:
      return "too-big";
    case Errc::kAccess:
      return "access";
    case Errc::kTooManyFiles:
      return "too-many-files";
    case Errc::kNoMemory:
      return "no-memory";
    case Errc::kTimedOut:
      return "timed-out";
    case Errc::kIo:
      return "io";
    case Errc::kInternal:
      return "internal";
  }
  return "internal";
}

std::string Error::Text() const { return remedy_.empty() ? message_ : message_ + "; " + remedy_; }

Error Error::WithErrno(int error_number, const std::string& what) {
  // strerrordesc_np is thread-safe, which strerror is not.
  const char* words = strerrordesc_np(error_number);
  return Error(ErrcFromErrno(error_number),
               what + ": " + (words != nullptr ? words : "unknown error"));
}

}  // namespace ckptfs
