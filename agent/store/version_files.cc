#include "agent/store/version_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/store/names.h"

namespace ckptfs {
namespace {
constexpr size_t kMaxSignatureBytes = 4096;

Result<std::string> ReadPart(int dir_fd, std::string_view name, size_t limit_bytes,
                             const std::string& shown) {
  auto fd = OpenAt(dir_fd, std::string(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  struct stat there;
  if (fd && (::fstat(fd->get(), &there) != 0 || !S_ISREG(there.st_mode)))
    return Fail(Errc::kCorrupt, "{}: {} is no regular file", shown, name);
  auto text =
      fd ? ReadFileAt(dir_fd, std::string(name), limit_bytes) : Result<std::string>(fd.error());
  if (text) return text;
  Errc code = text.error().code() == Errc::kTooBig ? Errc::kCorrupt : text.error().code();
  return Error(code, shown + ": " + text.error().message(), text.error().remedy());
}

std::string TemporaryName(uint64_t version) { return fmt::format(".{}.tmp", version); }

// Synced only when both are written: one journal commit is enough for both.
Result<void> WriteBoth(const Disk& disk, int dir_fd, std::string_view manifest,
                       std::string_view signature) {
  auto first = disk.WriteFile(dir_fd, std::string(kManifestName), AsBytes(manifest));
  if (!first) return first.error();
  auto second = disk.WriteFile(dir_fd, std::string(kSignatureName), AsBytes(signature));
  if (!second) return second.error();
  if (auto synced = disk.Sync(first->get(), std::string(kManifestName)); !synced) return synced;
  return disk.Sync(second->get(), std::string(kSignatureName));
}

}  // namespace

Digest ManifestDigest(std::string_view text) {
  return Hash(Suite::kXChaCha20Blake2b, AsBytes(text));
}

Result<SignedManifest> ReadSignedManifest(int dir_fd, const FindKey& find,
                                          const std::string& shown) {
  SignedManifest out;
  auto text = ReadPart(dir_fd, kManifestName, kMaxManifestBytes, shown);
  if (!text) return text.error();
  auto signature = ReadPart(dir_fd, kSignatureName, kMaxSignatureBytes, shown);
  if (!signature) return signature.error();
  auto key_id = SignatureKeyId(*signature);
  if (!key_id) return key_id.error().Add("{}: {}", shown, kSignatureName);
  auto signer = find(*key_id);
  if (!signer) {
    PublicKey unknown;
    unknown.key_id = *key_id;
    return Fail(Errc::kUntrusted, "{} is signed by the key {}, which is not trusted here", shown,
                unknown.IdText())
        .WithRemedy("if you trust the node that made it, put its keys/self.pub into keys/trusted/");
  }
  if (auto good = VerifySignature(*signer, AsBytes(*text), *signature); !good)
    return good.error().Add("{}: manifest or signature", shown);
  auto manifest = ParseManifest(*text);
  if (!manifest) return manifest.error().Add("{}", shown);
  out.manifest = std::move(*manifest);
  out.digest = ManifestDigest(*text);
  out.text = std::move(*text);
  out.signature = std::move(*signature);
  out.signer = std::move(*signer);
  return out;
}

Result<void> WriteVersionFiles(const Disk& disk, int images_fd, const std::string& job,
                               uint64_t version, std::string_view manifest,
                               std::string_view signature) {
  std::string temporary = TemporaryName(version);
  if (auto made = disk.MakeDir(images_fd, job); !made) return made;
  // The job's folder may be new: its name is in `images`.
  if (auto synced = disk.Sync(images_fd, "images"); !synced) return synced;
  auto job_dir = OpenAt(images_fd, job, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!job_dir) return job_dir.error();
  auto undo = [&](const Error& error) {
    (void)disk.RemoveTree(job_dir->get(), temporary);
    (void)::unlinkat(images_fd, job.c_str(), AT_REMOVEDIR);
    return error;
  };
  if (auto removed = disk.RemoveTree(job_dir->get(), temporary); !removed)
    return undo(removed.error());
  if (auto made = disk.MakeDir(job_dir->get(), temporary); !made) return undo(made.error());
  auto dir = OpenAt(job_dir->get(), temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!dir) return undo(dir.error());
  auto done = WriteBoth(disk, dir->get(), manifest, signature);
  if (done) done = disk.Sync(dir->get(), temporary);
  if (done) done = disk.Rename(job_dir->get(), temporary, job_dir->get(), std::to_string(version));
  if (!done) return undo(done.error());
  if (auto synced = disk.Sync(job_dir->get(), job); !synced) {
    (void)RemoveVersionFiles(disk, images_fd, job, version);
    return synced;
  }
  return {};
}

Result<void> RemoveVersionFiles(const Disk& disk, int images_fd, const std::string& job,
                                uint64_t version) {
  auto job_dir = OpenAt(images_fd, job, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!job_dir) {
    if (job_dir.error().code() == Errc::kNotFound) return {};
    return job_dir.error();
  }
  // Out of the way in one step, then away file by file.
  std::string name = std::to_string(version), temporary = TemporaryName(version);
  (void)disk.RemoveTree(job_dir->get(), temporary);
  if (::faccessat(job_dir->get(), name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0)
    if (auto moved = disk.Rename(job_dir->get(), name, job_dir->get(), temporary); !moved)
      return moved;
  auto removed = disk.RemoveTree(job_dir->get(), temporary);
  // The folder goes with its last version; if it is not empty it stays.
  (void)::unlinkat(images_fd, job.c_str(), AT_REMOVEDIR);
  return removed;
}

}  // namespace ckptfs
