// What is done without a daemon: verify, extract, fsck.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "agent/store/image_check.h"
#include "agent/store/local_store.h"
#include "agent/store/names.h"
#include "agent/store/unit_reader.h"

namespace ckptfs {
namespace {

Result<Fd> OpenImageDir(const std::string& dir) {
  auto fd = Open(dir, O_RDONLY | O_DIRECTORY);
  if (!fd) return fd.error().Add("image {}", dir);
  return fd;
}

// Without a key: what the manifest says, whoever wrote it.
Result<SignedManifest> ReadUnverifiedManifest(int dir_fd, const std::string& shown) {
  auto text = ReadFileAt(dir_fd, std::string(kManifestName), kMaxManifestBytes);
  if (!text) return text.error().Add("{}", shown);
  auto signature = ReadFileAt(dir_fd, std::string(kSignatureName), kMaxManifestBytes);
  if (!signature) return signature.error().Add("{}", shown);
  auto key_id = SignatureKeyId(*signature);
  if (!key_id) return key_id.error().Add("{}: {}", shown, kSignatureName);
  auto manifest = ParseManifest(*text);
  if (!manifest) return manifest.error().Add("{}", shown);
  SignedManifest out;
  out.manifest = std::move(*manifest);
  out.digest = ManifestDigest(*text);
  out.text = std::move(*text);
  out.signature = std::move(*signature);
  out.signer.key_id = *key_id;
  return out;
}

Result<void> CopyStream(ImageSource::Stream& stream, const Fd& file) {
  std::vector<uint8_t> bytes(1 << 20);
  for (;;) {
    auto count = stream.Read(bytes);
    if (!count) return count.error();
    if (*count == 0) return {};
    auto written = WriteAll(file.get(), Bytes(bytes).first(*count));
    if (!written) return written.error();
  }
}

// One stream into a new file, whole or not at all. Its name is data: it is a single
// path component, and nothing that is there is followed or overwritten.
Result<void> ExtractStream(UnitReader& reader, int unit_dir, const std::string& name) {
  auto stream = reader.Open(name);
  if (!stream) return stream.error();
  auto file = OpenAt(unit_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (!file) return file.error();
  auto copied = CopyStream(**stream, *file);
  if (copied) copied = file->Close();
  if (copied) return {};
  (void)::unlinkat(unit_dir, name.c_str(), 0);
  return copied.error().Add("{}", name);
}

}  // namespace

Result<VersionInfo> VerifyImageDir(const std::string& dir, const std::optional<PublicKey>& key,
                                   const std::function<void(std::string)>& say) {
  if (auto ready = InitCrypto(); !ready) return ready.error();
  auto fd = OpenImageDir(dir);
  if (!fd) return fd.error();
  auto find = [&](const std::array<uint8_t, 8>& id) {
    return key && key->key_id == id ? key : std::nullopt;
  };
  auto read =
      key ? ReadSignedManifest(fd->get(), find, dir) : ReadUnverifiedManifest(fd->get(), dir);
  if (!read) return read.error();
  const Manifest& manifest = read->manifest;
  std::string signer = read->signer.IdText();
  if (key)
    say(fmt::format("manifest: job {} version {}, signed by {}", manifest.job, manifest.version,
                    signer));
  else
    say(
        fmt::format("manifest: job {} version {}; the signature, which names {}, was NOT checked: "
                    "no key was given",
                    manifest.job, manifest.version, signer));
  if (auto set = CheckFileSet(fd->get(), manifest, dir); !set) return set.error();
  for (const ManifestUnit& unit : manifest.units) {
    auto image = OpenImageFile(fd->get(), manifest, unit, dir);
    if (!image) return image.error();
    if (auto checked = CheckFrames(**image); !checked) return checked.error();
    say(fmt::format("{}.img: {} frames and {} bytes are as the manifest says", unit.name,
                    unit.frames, unit.image_bytes));
  }
  VersionInfo info = InfoOf(manifest);
  info.manifest_digest = ToHex(read->digest);
  info.signer = signer;
  info.imported = true;
  return info;
}

Result<void> ExtractImageDir(const std::string& dir, const NodeKeys& keys,
                             const std::vector<PublicKey>& trusted, const std::string& out) {
  auto fd = OpenImageDir(dir);
  if (!fd) return fd.error();
  auto find = [&](const std::array<uint8_t, 8>& id) -> std::optional<PublicKey> {
    if (keys.public_key().key_id == id) return keys.public_key();
    for (const PublicKey& key : trusted)
      if (key.key_id == id) return key;
    return std::nullopt;
  };
  auto read = ReadSignedManifest(fd->get(), find, dir);
  if (!read) return read.error();
  const Manifest& manifest = read->manifest;
  if (auto set = CheckFileSet(fd->get(), manifest, dir); !set) return set.error();
  auto data_key = UnwrapDataKey(keys, manifest);
  if (!data_key) return data_key.error();
  auto job_keys = JobKeys::Make(manifest.suite, *data_key);
  if (!job_keys) return job_keys.error();
  if (::mkdir(out.c_str(), 0700) != 0 && errno != EEXIST)
    return Error::FromErrno(errno, "make {}", out);
  auto out_dir = Open(out, O_RDONLY | O_DIRECTORY);
  if (!out_dir) return out_dir.error();
  BufferPool pool;
  for (const ManifestUnit& unit : manifest.units) {
    auto image = OpenImageFile(fd->get(), manifest, unit, dir + ", unit " + unit.name);
    if (!image) return image.error();
    auto reader = UnitReader::Make(std::move(*image), *job_keys, pool, nullptr, nullptr);
    if (!reader) return reader.error();
    if (auto made = EnsureDir(out_dir->get(), unit.name, 0700); !made) return made;
    auto unit_dir = OpenAt(out_dir->get(), unit.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!unit_dir) return unit_dir.error();
    for (const std::string& name : (*reader)->Names())
      if (auto done = ExtractStream(**reader, unit_dir->get(), name); !done)
        return done.error().Add("{}/{}", out, unit.name);
  }
  return {};
}

Result<bool> CheckStore(const StoreOptions& options, bool rebuild,
                        const std::function<void(std::string)>& say) {
  auto store = LocalStore::Open(options, Log(2, Log::Level::kInfo), rebuild);
  if (!store) return store.error();
  if (rebuild) say("the catalogue was made anew from packs and manifests");
  bool good = (*store)->VerifyAll(say);
  for (const std::string& job : (*store)->UnlistedVersions()) {
    say(job + " is in images/ but cannot be listed: its packs or its manifest are damaged");
    good = false;
  }
  return good;
}

}  // namespace ckptfs
