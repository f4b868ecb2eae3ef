// Policy: when, how and how many checkpoints a job gets. Flat-keyed text, as in
// jobs/JOB/policy; what is read can be written back.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ckptfs {

enum class CommitPolicy { kDurable, kFast };      // commit durable|fast
enum class RestartPolicy { kNever, kOnFailure };  // restart never|on-failure
enum class ProtocolPolicy { kCoordinated, kIndependent };
enum class FilesPolicy { kRestore, kKeep, kFail };  // files restore|keep|fail
enum class CompressPolicy { kNone, kZstd };
enum class TcpPolicy { kClose, kKeep };

struct Policy {
  std::chrono::seconds interval{0};  // between checkpoints on their own; 0: none
  uint64_t keep = 0;                 // newest versions kept; 0: all
  RestartPolicy restart = RestartPolicy::kNever;
  ProtocolPolicy protocol = ProtocolPolicy::kCoordinated;
  FilesPolicy files = FilesPolicy::kRestore;
  CompressPolicy compress = CompressPolicy::kNone;
  CommitPolicy commit = CommitPolicy::kDurable;
  uint64_t buffer_bytes = 0;  // memory that a checkpoint may run ahead of the disk with
  TcpPolicy tcp = TcpPolicy::kClose;
  uint64_t files_limit_bytes =
      1ull << 30;  // larger files open for writing are left alone, with a warning

  // "interval 0\nkeep 0\n…": every key, in a fixed order.
  std::string Format() const;
  // Lines "KEY VALUE" (some or all keys) applied on top of this. kInvalid names
  // the line and what is allowed; then nothing has changed.
  Result<Policy> With(std::string_view text) const;
  friend bool operator==(const Policy&, const Policy&) = default;
};

}  // namespace ckptfs
