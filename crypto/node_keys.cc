// A node's secret keys: made, kept in a file, used.
#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "crypto/key_file.h"
#include "crypto/keys.h"
#include "crypto/node_name.h"
#include "crypto/signature.h"

namespace ckptfs {
namespace {

constexpr char kKeyName[] = "self.key";
constexpr char kPubName[] = "self.pub";

static_assert(crypto_sign_SEEDBYTES == kSeedBytes && crypto_box_SECRETKEYBYTES == kSeedBytes);

bool Exists(int dir_fd, const char* name) {
  return ::faccessat(dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

// By a descriptor of its own, since fsync refuses one that was opened with O_PATH.
Result<void> SyncDir(int dir_fd) {
  auto folder = OpenAt(dir_fd, ".", O_RDONLY | O_DIRECTORY);
  if (!folder) return folder.error();
  return SyncFd(folder->get());
}

// Whole or not at all, never over an existing file, durable on return. Like ReplaceFileAt but by
// link(2), since rename(2) would replace.
Result<void> CreateFileAt(int dir_fd, const std::string& name, Bytes content, mode_t mode) {
  std::array<uint8_t, 8> random;
  randombytes_buf(random.data(), random.size());
  std::string temporary = fmt::format("{}.tmp-{}", name, ToHex(random));
  auto undo = [&](const Error& error) {
    ::unlinkat(dir_fd, temporary.c_str(), 0);
    return error.Add("create {}", name);
  };
  auto fd = OpenAt(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
  if (!fd) return fd.error();
  if (auto written = WriteAll(fd->get(), content); !written) return undo(written.error());
  if (auto synced = SyncFd(fd->get()); !synced) return undo(synced.error());
  if (::linkat(dir_fd, temporary.c_str(), dir_fd, name.c_str(), 0) != 0)
    return undo(Error::FromErrno(errno, "link"));
  ::unlinkat(dir_fd, temporary.c_str(), 0);
  auto synced = SyncDir(dir_fd);
  if (!synced) ::unlinkat(dir_fd, name.c_str(), 0);
  return synced;
}

// self.pub as `key` has it.
Result<void> PutPublicKey(int dir_fd, const PublicKey& key) {
  std::string text = key.Format();
  auto there = ReadFileAt(dir_fd, kPubName, text.size());
  if (there && *there == text) return {};
  return ReplaceFileAt(dir_fd, kPubName, AsBytes(text), 0644);
}

// The file's bytes, if nobody else could have read or written them.
Result<SecretBytes> ReadKeyFile(int dir_fd) {
  // O_NONBLOCK: a FIFO of that name must not hang us.
  auto fd = OpenAt(dir_fd, kKeyName, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!fd) return fd.error();
  struct stat info {};
  if (::fstat(fd->get(), &info) != 0) return Error::FromErrno(errno, "stat {}", kKeyName);
  if (info.st_uid != ::geteuid())
    return Error(Errc::kAccess, fmt::format("{} belongs to uid {}", kKeyName, info.st_uid),
                 fmt::format("make uid {} its owner (chown)", ::geteuid()));
  if ((info.st_mode & 077) != 0)
    return Error(Errc::kAccess, fmt::format("{} is readable or writable by others", kKeyName),
                 fmt::format("chmod 600 {}", kKeyName));
  if (!S_ISREG(info.st_mode) || info.st_size > static_cast<off_t>(kKeyFileLimitBytes))
    return Fail(Errc::kCorrupt, "{} is not a secret key of ckptfs", kKeyName);
  auto text = SecretBytes::Zeros(static_cast<size_t>(info.st_size));
  if (!text) return text.error();
  if (auto read = ReadExactly(fd->get(), text->mutable_bytes()); !read)
    return read.error().Add("{}", kKeyName);
  return text;
}

}  // namespace

// All secrets in one locked piece: Ed25519 as libsodium has it (seed, public key), then X25519.
struct NodeKeys::Secrets {
  static constexpr size_t kSigningBytes = crypto_sign_SECRETKEYBYTES;
  Bytes signing() const { return all.bytes().first(kSigningBytes); }
  Bytes seed() const { return all.bytes().first(kSeedBytes); }
  Bytes recipient() const { return all.bytes().subspan(kSigningBytes); }

  // From what a key file holds; the public halves go to `key`.
  static Result<std::unique_ptr<Secrets>> Make(Bytes seed_and_recipient, PublicKey* key) {
    auto all = SecretBytes::Zeros(kSigningBytes + kSeedBytes);
    if (!all) return all.error();
    MutableBytes bytes = all->mutable_bytes();
    crypto_sign_seed_keypair(key->signing.data(), bytes.data(), seed_and_recipient.data());
    auto recipient = seed_and_recipient.subspan(kSeedBytes);
    std::copy(recipient.begin(), recipient.end(), bytes.begin() + kSigningBytes);
    crypto_scalarmult_base(key->recipient.data(), recipient.data());
    key->has_recipient = true;
    return std::make_unique<Secrets>(Secrets{std::move(*all)});
  }

  SecretBytes all;
};

NodeKeys::NodeKeys(PublicKey public_key, std::unique_ptr<Secrets> secrets)
    : public_key_(std::move(public_key)), secrets_(std::move(secrets)) {}
NodeKeys::NodeKeys(NodeKeys&&) noexcept = default;
NodeKeys& NodeKeys::operator=(NodeKeys&&) noexcept = default;
NodeKeys::~NodeKeys() = default;

const PublicKey& NodeKeys::public_key() const { return public_key_; }

Result<NodeKeys> NodeKeys::Generate(std::string node) {
  if (!IsNodeName(node))
    return Fail(Errc::kInvalid, "'{}' cannot name a node: use 1 to 64 of A-Z a-z 0-9 . _ -", node);
  PublicKey key;
  key.node = std::move(node);
  randombytes_buf(key.key_id.data(), key.key_id.size());
  auto random = SecretBytes::Random(kSecretsBytes);
  if (!random) return random.error();
  auto secrets = Secrets::Make(random->bytes(), &key);
  if (!secrets) return secrets.error();
  return NodeKeys(std::move(key), std::move(*secrets));
}

Result<void> NodeKeys::Save(int dir_fd, const std::optional<SecretBytes>& passphrase) const {
  if (passphrase && passphrase->size_bytes() == 0)
    return Fail(Errc::kInvalid, "an empty passphrase seals nothing");
  for (const char* name : {kKeyName, kPubName})
    if (Exists(dir_fd, name))
      return Error(Errc::kExists, fmt::format("there is a {} already", name),
                   "move it away first: images made with its key need it");
  auto halves = SecretBytes::Zeros(kSecretsBytes);
  if (!halves) return halves.error();
  auto end =
      std::copy(secrets_->seed().begin(), secrets_->seed().end(), halves->mutable_bytes().begin());
  std::copy(secrets_->recipient().begin(), secrets_->recipient().end(), end);
  auto text = FormatKeyFile(public_key_, halves->bytes(), passphrase);
  if (!text) return text.error();
  if (auto made = CreateFileAt(dir_fd, kKeyName, text->bytes(), 0600); !made) return made.error();
  auto put = PutPublicKey(dir_fd, public_key_);
  if (!put) {
    ::unlinkat(dir_fd, kPubName, 0);
    ::unlinkat(dir_fd, kKeyName, 0);
  }
  return put;
}

Result<NodeKeys> NodeKeys::Load(int dir_fd, const std::function<Result<SecretBytes>()>& ask) {
  auto text = ReadKeyFile(dir_fd);
  if (!text) return text.error();
  auto file = ParseKeyFile(text->bytes(), ask);
  if (!file) return file.error();
  PublicKey key = file->public_key;
  auto secrets = Secrets::Make(file->secrets.bytes(), &key);
  if (!secrets) return secrets.error();
  if (key != file->public_key)
    return Fail(Errc::kCorrupt, "{}: its secret keys are not those of its public keys", kKeyName);
  if (auto put = PutPublicKey(dir_fd, key); !put) return put.error();
  return NodeKeys(std::move(key), std::move(*secrets));
}

Result<std::string> NodeKeys::Sign(Bytes message) const {
  return SignMessage(public_key_.key_id, secrets_->signing().data(), message);
}

Result<SecretBytes> NodeKeys::Unwrap(Bytes wrapped) const {
  if (wrapped.size() != kDataKeyBytes + crypto_box_SEALBYTES)
    return Fail(Errc::kCorrupt, "a wrapped data key of {} bytes", wrapped.size());
  auto data_key = SecretBytes::Zeros(kDataKeyBytes);
  if (!data_key) return data_key.error();
  if (crypto_box_seal_open(data_key->mutable_bytes().data(), wrapped.data(), wrapped.size(),
                           public_key_.recipient.data(), secrets_->recipient().data()) != 0)
    return Error(Errc::kUntrusted, "the data key is not wrapped for this node",
                 "put this node's keys/self.pub into keys/trusted on the node that saved it");
  return data_key;
}

}  // namespace ckptfs
