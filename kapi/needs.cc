#include "kapi/needs.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <sstream>

namespace ckptfs {
namespace {

constexpr size_t kElfStartBytes = 4096;  // headers and notes are in the first page
constexpr size_t kMaxBuildIdBytes = 64;
constexpr size_t kMaxRemembered = 8192;

template <typename T>
bool ReadAt(Bytes file, size_t offset, T* out) {
  if (offset > file.size() || file.size() - offset < sizeof *out) return false;
  std::memcpy(out, file.data() + offset, sizeof *out);
  return true;
}

std::string FindInNotes(Bytes notes) {
  size_t at = 0;
  for (Elf64_Nhdr note; ReadAt(notes, at, &note);) {
    at += sizeof note;
    size_t name_size = (size_t{note.n_namesz} + 3) & ~size_t{3};
    size_t value_size = (size_t{note.n_descsz} + 3) & ~size_t{3};
    if (name_size > notes.size() - at || value_size > notes.size() - at - name_size) return "";
    bool gnu = note.n_namesz == 4 && std::memcmp(notes.data() + at, "GNU", 4) == 0;
    if (gnu && note.n_type == NT_GNU_BUILD_ID && note.n_descsz <= kMaxBuildIdBytes)
      return ToHex(notes.subspan(at + name_size, note.n_descsz));
    at += name_size + value_size;
  }
  return "";
}

#ifdef __x86_64__
constexpr std::string_view kInstructionSets[] = {
    "fpu",    "tsc",      "cx8",       "cmov",       "mmx",       "fxsr",       "pni",
    "ssse3",  "fma",      "fma4",      "f16c",       "xop",       "tbm",        "cx16",
    "movbe",  "popcnt",   "aes",       "vaes",       "rdrand",    "rdseed",     "rdpid",
    "rdtscp", "lahf_lm",  "abm",       "lzcnt",      "3dnow",     "3dnowext",   "3dnowprefetch",
    "mmxext", "bmi1",     "bmi2",      "adx",        "sha_ni",    "sha512",     "sm3",
    "sm4",    "gfni",     "pclmulqdq", "vpclmulqdq", "clflush",   "clflushopt", "clwb",
    "clzero", "cldemote", "movdiri",   "movdir64b",  "enqcmd",    "waitpkg",    "serialize",
    "erms",   "fsrm",     "fzrm",      "fsrs",       "fsrc",      "fsgsbase",   "hle",
    "rtm",    "tsxldtrk", "mwaitx",    "monitorx",   "lwp",       "ptwrite",    "pku",
    "ospke",  "uintr",    "cmpccxadd", "raoint",     "prefetchi", "user_shstk", "syscall",
    "lm"};
// With whatever follows: versions and extensions.
constexpr std::string_view kFamilies[] = {"sse", "avx", "xsave", "xgetbv", "amx_"};
#endif

}  // namespace

bool IsInstructionSet(std::string_view flag) {
#ifdef __x86_64__
  auto begins = [&](std::string_view family) { return flag.starts_with(family); };
  return std::find(std::begin(kInstructionSets), std::end(kInstructionSets), flag) !=
             std::end(kInstructionSets) ||
         std::any_of(std::begin(kFamilies), std::end(kFamilies), begins);
#else
  return !flag.empty();
#endif
}

std::vector<std::string> CpuFeatures() {
  auto text = ReadFile("/proc/cpuinfo", 16 << 20);
  std::vector<std::string> features;
  if (!text) return features;
  size_t at = text->find("\nflags");
  if (at == text->npos) at = text->find("\nFeatures");  // arm64
  if (at == text->npos) return features;
  size_t colon = text->find(':', at);
  std::istringstream words(text->substr(colon + 1, text->find('\n', at + 1) - colon - 1));
  for (std::string word; words >> word;)
    if (IsInstructionSet(word)) features.push_back(word);
  std::sort(features.begin(), features.end());
  return features;
}

std::string ParseBuildId(Bytes file) {
  Elf64_Ehdr header;
  if (!ReadAt(file, 0, &header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(Elf64_Phdr))
    return "";
  for (size_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    if (header.e_phoff > file.size() ||
        !ReadAt(file, static_cast<size_t>(header.e_phoff) + i * sizeof segment, &segment))
      return "";
    if (segment.p_type != PT_NOTE || segment.p_offset >= file.size()) continue;
    Bytes notes = file.subspan(static_cast<size_t>(segment.p_offset));
    notes = notes.first(std::min<uint64_t>(notes.size(), segment.p_filesz));
    if (std::string id = FindInNotes(notes); !id.empty()) return id;
  }
  return "";
}

std::string NeedsReader::BuildIdOf(const std::string& magic_link) {
  struct stat status;
  if (::stat(magic_link.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return "";
  FileKey key{status.st_dev, status.st_ino, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
  {
    auto known = build_ids_.Lock();
    if (auto it = known->find(key); it != known->end()) return it->second;
  }
  auto file = Open(magic_link, O_RDONLY | O_NONBLOCK);
  uint8_t start[kElfStartBytes];
  ssize_t n = file ? ::pread(file->get(), start, sizeof start, 0) : -1;
  std::string id = n > 0 ? ParseBuildId({start, static_cast<size_t>(n)}) : "";
  auto known = build_ids_.Lock();
  if (known->size() >= kMaxRemembered) known->clear();
  known->emplace(key, id);
  return id;
}

Result<Needs> NeedsReader::Read(const std::vector<ProcessInfo>& tree) {
  Needs needs;
  utsname name;
  if (::uname(&name) != 0) return Error::FromErrno(errno, "uname");
  needs.arch = name.machine;
  needs.kernel = name.release;
  static const std::vector<std::string> features = CpuFeatures();  // they do not change
  needs.cpu_features = features;
  std::set<std::string> ids, looked_at;
  for (const ProcessInfo& process : tree) {
    auto maps = ReadFile(fmt::format("/proc/{}/maps", process.id.pid), 64 << 20);
    if (!maps) continue;  // gone, or a zombie: it needs nothing
    std::istringstream lines(*maps);
    for (std::string line; std::getline(lines, line);) {
      size_t space = line.find(' ');
      size_t path = line.find(" /");
      if (space == line.npos || path == line.npos || line.compare(space + 3, 1, "x") != 0) continue;
      // By device, inode and path, so that each file of a large tree is asked for once.
      if (!looked_at.insert(line.substr(space + 15)).second) continue;
      std::string id =
          BuildIdOf(fmt::format("/proc/{}/map_files/{}", process.id.pid, line.substr(0, space)));
      if (!id.empty()) ids.insert(std::move(id));
    }
  }
  needs.build_ids.assign(ids.begin(), ids.end());
  return needs;
}

}  // namespace ckptfs
