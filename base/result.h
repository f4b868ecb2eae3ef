// Result<T>: the answer of everything here that can fail. Errors are answers:
// the kernel needs the right errno and the person at the shell the right words,
// so nothing of ours throws and no error may be ignored.
#pragma once

#include <fmt/format.h>

#include <cassert>
#include <string>
#include <utility>
#include <variant>

namespace ckptfs {

// What went wrong, in the words of the interface. mount/errno.cc alone maps
// these to errno values; docs/control_files.md lists them for users.
enum class Errc {
  kInvalid,        // bad command, bad value, bad name
  kBusy,           // another operation runs on this job
  kNotYours,       // the caller may not
  kUntrusted,      // signer not trusted, or no key for this node in the image
  kCorrupt,        // tampered or torn: a signature, tag or hash does not verify
  kReplayed,       // genuine, but presented as something it is not
  kWouldRunTwice,  // the job, or an earlier restart of it, is alive
  kGone,           // the processes are gone
  kQuota,          // over a quota
  kNoSpace,        // disk full
  kUnsupported,    // the checkpointer, kernel or file system cannot
  kNodeDown,       // the node does not answer
  kCancelled,      // interrupted by the user
  kNotFound,
  kExists,
  kNotEmpty,
  kNotDirectory,
  kIsDirectory,
  kReadOnly,
  kNameTooLong,
  kTooBig,        // more bytes than may be written here
  kAccess,        // file permissions
  kTooManyFiles,  // out of file descriptors
  kNoMemory,
  kTimedOut,
  kIo,        // the disk or the kernel failed
  kInternal,  // our own bug, said instead of crashing
};

// The kernel's errno at a system call, as one of the above. Total: what it does
// not know becomes kIo.
Errc ErrcFromErrno(int error_number);

// "no-space", "busy" …: the stable short name, as written in events and metrics.
std::string_view ErrcName(Errc code);

// What failed, on what, and what the user can do. Contexts are put in front:
// "restart of sim version 3: pid 4242 is in use". `remedy` stands apart so that
// error_log can print it on a line of its own.
class [[nodiscard]] Error {
 public:
  Error(Errc code, std::string message, std::string remedy = {})
      : code_(code), message_(std::move(message)), remedy_(std::move(remedy)) {}

  // From errno right after a failed system call: "open /x: No space left on device".
  template <typename... Args>
  static Error FromErrno(int error_number, fmt::format_string<Args...> what, Args&&... args) {
    return WithErrno(error_number, fmt::format(what, std::forward<Args>(args)...));
  }

  template <typename... Args>
  [[nodiscard]] Error Add(fmt::format_string<Args...> context, Args&&... args) const {
    return Error(code_, fmt::format(context, std::forward<Args>(args)...) + ": " + message_,
                 remedy_);
  }
  [[nodiscard]] Error WithRemedy(std::string remedy) const {
    return Error(code_, message_, std::move(remedy));
  }

  Errc code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::string& remedy() const { return remedy_; }
  // "message; remedy" on one line.
  std::string Text() const;

 private:
  static Error WithErrno(int error_number, const std::string& what);

  Errc code_;
  std::string message_;
  std::string remedy_;
};

// fmt-style maker: Fail(Errc::kInvalid, "no job named {}", name).
template <typename... Args>
Error Fail(Errc code, fmt::format_string<Args...> what, Args&&... args) {
  return Error(code, fmt::format(what, std::forward<Args>(args)...));
}

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
  // Lets `return unique_ptr<Derived>` work where Result<unique_ptr<Base>> is promised.
  template <typename U>
  requires(std::is_convertible_v<U&&, T> && !std::is_same_v<std::decay_t<U>, T> &&
           !std::is_same_v<std::decay_t<U>, Error> && !std::is_same_v<std::decay_t<U>, Result>)
      Result(U&& value)
      : state_(std::in_place_index<0>, std::forward<U>(value)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    assert(ok());
    return std::get<0>(state_);
  }
  const T& value() const& {
    assert(ok());
    return std::get<0>(state_);
  }
  T&& value() && {
    assert(ok());
    return std::get<0>(std::move(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const {
    assert(!ok());
    return std::get<1>(state_);
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() : state_(std::in_place_index<0>) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  const Error& error() const {
    assert(!ok());
    return std::get<1>(state_);
  }

 private:
  std::variant<std::monostate, Error> state_;
};

}  // namespace ckptfs
