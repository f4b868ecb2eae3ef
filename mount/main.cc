// ckptfs: the program. Parses the command line and hands over to the commands.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "mount/commands.h"
#include "mount/exit_codes.h"
#include "mount/mount_helper.h"

namespace ckptfs {
namespace {

constexpr const char* kFooter =
    "Exit codes: 0 done, 1 could not be done, 2 asked wrongly,\n"
    "3 something is not as it should be (verify, fsck, doctor); run --wait: the job's.\n"
    "See ckptfs(1) and, once it is mounted, the README in the mount.";

void AddMount(CLI::App* app, MountRequest* request) {
  CLI::App* mount = app->add_subcommand("mount", "Mount the tree of a store");
  mount->add_option("MOUNTPOINT", request->mountpoint, "Folder to mount on")->required();
  mount->add_option("--store", request->store,
                    "Folder of the store (default " + DefaultStore() + ")");
  mount->add_option("--name", request->node, "This node's name (default the host's)");
  mount->add_option("--passphrase-file", request->passphrase_file,
                    "First line opens the node's keys (default: asked at the terminal)");
  mount->add_flag("--seal-keys", request->seal_keys, "New keys get a passphrase");
  mount->add_option("--log-file", request->log_file,
                    "Append the log here (default the system's log; stderr with --foreground)");
  mount->add_flag("-f,--foreground", request->foreground, "Do not become a daemon");
  mount
      ->add_option_function<std::vector<std::string>>(
          "-o",
          [request](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) AddMountOptions(text, request);
          },
          "Mount options, as of mount.fuse3(8): allow_other, ro, ...")
      ->type_name("OPTIONS")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

CLI::App* AddRun(CLI::App* app, RunRequest* request) {
  CLI::App* run = app->add_subcommand("run", "Start a program as a job: run JOB [--] COMMAND ...");
  run->add_option("JOB", request->name, "The job's name")->required();
  run->add_option("COMMAND", request->program, "What to run, and its arguments")->required();
  run->add_option("--mount", request->mount,
                  "The mount (default $CKPTFS_MOUNT, else the first one)");
  run->add_flag("--wait", request->wait, "Wait for its end, and end with its exit status");
  run->footer(
      "Options may also stand between JOB and COMMAND; what follows COMMAND is its own.\n"
      "A -- is needed only before a COMMAND that begins with a dash.");
  return run;
}

// Takes the command out of `words` ("run [OPTIONS] JOB [OPTIONS] [--] COMMAND ..."):
// all from the second word on that is no option of ours, whatever it looks like.
std::vector<std::string> CutCommand(std::vector<std::string>* words) {
  bool named = false;
  for (size_t i = 1; i < words->size(); ++i) {
    const std::string& word = (*words)[i];
    bool dashes = word == "--";
    if (word == "--mount") {
      ++i;  // its value
    } else if (!dashes && word.size() > 1 && word[0] == '-') {
      continue;
    } else if (!dashes && !named) {
      named = true;
    } else {
      auto at = words->begin() + static_cast<std::ptrdiff_t>(i);
      std::vector<std::string> command(at + (dashes ? 1 : 0), words->end());
      words->erase(at, words->end());
      return command;
    }
  }
  return {};
}

int Main(int argc, char** argv) {
  if (auto request = ParseMountHelper(argc, argv)) return MountCommand(std::move(*request));

  CLI::App app{"Checkpoint and restart jobs through a file system", "ckptfs"};
  app.set_version_flag("--version", "ckptfs " CKPTFS_VERSION);
  app.require_subcommand(1);
  app.footer(kFooter);
  MountRequest mount;
  AddMount(&app, &mount);

  RunRequest run;
  CLI::App* run_app = AddRun(&app, &run);

  std::string dir, key, out, store, passphrase_file;
  bool rebuild = false;
  CLI::App* verify = app.add_subcommand("verify", "Check every byte of a copied image");
  verify->add_option("DIR", dir, "Folder with manifest, manifest.minisig and UNIT.img")->required();
  verify->add_option("--key", key, "Public key of the signer: a file or 'RW...'");

  CLI::App* extract = app.add_subcommand("extract", "Decrypt a copied image into plain files");
  extract->add_option("DIR", dir, "Folder of the image")->required();
  extract->add_option("OUT", out, "Folder to make")->required();
  CLI::App* fsck = app.add_subcommand("fsck", "Check a store that is not mounted");
  fsck->add_flag("--rebuild", rebuild, "Make the catalogue anew from packs and manifests");
  CLI::App* doctor = app.add_subcommand("doctor", "Tell what works on this machine");
  for (CLI::App* one : {extract, fsck, doctor})
    one->add_option("--store", store, "Folder of the store (default " + DefaultStore() + ")");
  for (CLI::App* one : {extract, fsck})
    one->add_option("--passphrase-file", passphrase_file, "First line opens the node's keys");

  std::vector<std::string> words(argv + 1, argv + argc);
  std::vector<std::string> command;
  if (!words.empty() && words[0] == "run") command = CutCommand(&words);
  if (!command.empty()) words.emplace_back("COMMAND");  // stands for it while we parse
  std::reverse(words.begin(), words.end());             // as CLI11 wants them
  try {
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    // The only exceptions here: CLI11's, which end where they begin.
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }

  if (*verify) return VerifyCommand(dir, key);
  if (*extract) return ExtractCommand(dir, out, store, passphrase_file);
  if (*fsck) return FsckCommand(store, rebuild, passphrase_file);
  if (*doctor) return DoctorCommand(store);
  if (*run_app) {
    run.program = std::move(command);
    return RunCommand(std::move(run));
  }
  return MountCommand(std::move(mount));
}

}  // namespace
}  // namespace ckptfs

int main(int argc, char** argv) { return ckptfs::Main(argc, argv); }
