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

int Main(int argc, char** argv) {
  if (auto request = ParseMountHelper(argc, argv)) return MountCommand(std::move(*request));

  CLI::App app{"Checkpoint and restart jobs through a file system", "ckptfs"};
  app.set_version_flag("--version", "ckptfs " CKPTFS_VERSION);
  app.require_subcommand(1);
  app.footer(kFooter);
  MountRequest mount;
  AddMount(&app, &mount);

  RunRequest run;
  CLI::App* run_app =
      app.add_subcommand("run", "Start a program as a job: run [--name JOB] -- PROGRAM ...");
  run_app->add_option("--name", run.name, "The job's name (default the program's)");
  run_app->add_option("--mount", run.mount,
                      "The mount (default $CKPTFS_MOUNT, else the first one)");
  run_app->add_flag("--wait", run.wait, "Wait for its end, and end with its exit status");
  run_app->prefix_command();

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

  // What follows -- is the program's, whatever it looks like.
  std::vector<std::string> words(argv + 1, argv + argc);
  auto dashes = std::find(words.begin(), words.end(), "--");
  if (!words.empty() && words[0] == "run" && dashes != words.end()) {
    run.program.assign(dashes + 1, words.end());
    words.erase(dashes, words.end());
  }
  std::reverse(words.begin(), words.end());  // as CLI11 wants them
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
    for (const std::string& word : run_app->remaining()) run.program.push_back(word);
    if (run.program.empty()) {
      fmt::print(stderr, "ckptfs: no program given: ckptfs run [--name JOB] -- PROGRAM ...\n");
      return kExitUsage;
    }
    return RunCommand(std::move(run));
  }
  return MountCommand(std::move(mount));
}

}  // namespace
}  // namespace ckptfs

int main(int argc, char** argv) { return ckptfs::Main(argc, argv); }
