// `ckptfs verify`, `extract` and `fsck`: what is done to images and stores without
// a mount.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "agent/store/store.h"
#include "crypto/keys.h"
#include "crypto/secret_bytes.h"
#include "mount/commands.h"
#include "mount/exit_codes.h"
#include "mount/passphrase.h"

namespace ckptfs {
namespace {

constexpr size_t kKeyFileBytes = 4096;

int Say(const Error& error) {
  fmt::print(stderr, "ckptfs: {}\n", error.Text());
  return kExitFailed;
}

void Print(const std::string& line) { fmt::print("{}\n", line); }

// "RW…" itself, or a file that holds a key.
Result<PublicKey> KeyFrom(const std::string& text_or_file) {
  if (text_or_file.starts_with("RW"))
    if (auto key = PublicKey::Parse(text_or_file + "\n")) return key;
  auto text = ReadFile(text_or_file, kKeyFileBytes);
  if (!text) return text.error();
  auto key = PublicKey::Parse(*text);
  if (!key) return key.error().Add("{}", text_or_file);
  return key;
}

Result<std::vector<PublicKey>> TrustedKeys(int keys_dir) {
  std::vector<PublicKey> keys;
  auto trusted = OpenAt(keys_dir, "trusted", O_RDONLY | O_DIRECTORY);
  if (!trusted) return keys;
  auto names = ListDir(trusted->get());
  if (!names) return names.error();
  for (const std::string& name : *names) {
    if (!name.ends_with(".pub")) continue;
    auto text = ReadFileAt(trusted->get(), name, kKeyFileBytes);
    if (!text) return text.error();
    auto key = PublicKey::Parse(*text);
    if (!key) return key.error().Add("{}", name);
    keys.push_back(*key);
  }
  return keys;
}

}  // namespace

int VerifyCommand(const std::string& dir, const std::string& key_file) {
  if (auto ready = InitCrypto(); !ready) return Say(ready.error());
  std::optional<PublicKey> key;
  if (!key_file.empty()) {
    auto read = KeyFrom(key_file);
    if (!read) return Say(read.error());
    key = *read;
  }
  auto info = VerifyImageDir(dir, key, Print);
  if (!info) {
    fmt::print(stderr, "ckptfs: {}\n", info.error().Text());
    return kExitWrong;
  }
  fmt::print("good: {} version {} of node {}, {} unit(s), signed by {}{}\n", info->job,
             info->version, info->node, info->units.size(), info->signer,
             key ? "" : " (whose signature was not checked: give --key)");
  return kExitOk;
}

int ExtractCommand(const std::string& dir, const std::string& out, const std::string& store,
                   const std::string& passphrase_file) {
  if (auto ready = InitCrypto(); !ready) return Say(ready.error());
  (void)ForbidCoreDumps();
  auto keys_dir = Open((store.empty() ? DefaultStore() : store) + "/keys", O_RDONLY | O_DIRECTORY);
  if (!keys_dir)
    return Say(keys_dir.error().WithRemedy("--store names the store whose keys open it"));
  auto keys = NodeKeys::Load(keys_dir->get(), PassphraseFrom(passphrase_file));
  if (!keys) return Say(keys.error());
  auto trusted = TrustedKeys(keys_dir->get());
  if (!trusted) return Say(trusted.error());
  trusted->push_back(keys->public_key());
  if (auto done = ExtractImageDir(dir, *keys, *trusted, out); !done) return Say(done.error());
  fmt::print("extracted to {}: it is not encrypted any more\n", out);
  return kExitOk;
}

int FsckCommand(const std::string& store, bool rebuild, const std::string& passphrase_file) {
  if (auto ready = InitCrypto(); !ready) return Say(ready.error());
  StoreOptions options;
  options.dir = store.empty() ? DefaultStore() : store;
  // Opening makes what is not there, and whoever checks a store has one.
  if (::access((options.dir + "/keys/self.key").c_str(), F_OK) != 0)
    return Say(Error::FromErrno(errno, "{} is no store: keys/self.key", options.dir)
                   .WithRemedy("--store names the folder of a store"));
  options.node = "fsck";  // names new keys; none are made
  options.ask_passphrase = PassphraseFrom(passphrase_file);
  auto good = CheckStore(options, rebuild, Print);
  if (!good) return Say(good.error());
  fmt::print("{}\n", *good ? "the store is good" : "the store has faults");
  return *good ? kExitOk : kExitWrong;
}

}  // namespace ckptfs
