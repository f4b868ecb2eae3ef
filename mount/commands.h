// The commands of the program, apart from how their words are parsed (main.cc).
// Each says on stderr what went wrong and gives the exit code.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace ckptfs {

// `ckptfs mount`: mount_command.cc
struct MountRequest {
  std::string store;  // "": /var/lib/ckptfs or ~/.local/share/ckptfs
  std::string mountpoint;
  std::string node;             // "": the host's name
  std::string passphrase_file;  // "": asked on the terminal if the keys are sealed
  bool seal_keys = false;       // new keys get a passphrase
  std::string log_file;         // "": the system's log, or stderr in the foreground
  bool foreground = false;
  std::vector<std::string> fuse_options;
};
int MountCommand(MountRequest request);

// `ckptfs run`: run_command.cc
struct RunRequest {
  std::string name;   // the job's
  std::string mount;  // "": CKPTFS_MOUNT, else found in the table of mounts
  bool wait = false;
  std::vector<std::string> program;  // not empty
};
int RunCommand(RunRequest request);

// `ckptfs verify`, `extract`, `fsck`: image_commands.cc
int VerifyCommand(const std::string& dir, const std::string& key_file);
int ExtractCommand(const std::string& dir, const std::string& out, const std::string& store,
                   const std::string& passphrase_file);
int FsckCommand(const std::string& store, bool rebuild, const std::string& passphrase_file);

// `ckptfs doctor`: doctor_command.cc
int DoctorCommand(const std::string& store);

// Where the store is when nobody says so.
std::string DefaultStore();

}  // namespace ckptfs
