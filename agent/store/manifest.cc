#include "agent/store/manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/store/names.h"

namespace ckptfs {
namespace {

// Keeps the order in which fields are put in.
using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "ckptfs-1";
constexpr size_t kMaxText = 256;
constexpr size_t kMaxList = 4096;
constexpr size_t kMaxWrappedBytes = 256;
constexpr int kMaxDepth = 8;
// What JSON numbers hold exactly everywhere.
constexpr uint64_t kMaxNumber = (uint64_t{1} << 53) - 1;

// Reads fields and remembers the first that is not as it should be.
class Fields {
 public:
  explicit Fields(std::string* wrong) : wrong_(wrong) {}

  const Json& At(const Json& object, const char* key) {
    static const Json nothing;
    auto found = object.is_object() ? object.find(key) : object.end();
    if (object.is_object() && found != object.end()) return *found;
    Wrong(key);
    return nothing;
  }
  std::string Text(const Json& object, const char* key, size_t limit = kMaxText) {
    return TextOf(At(object, key), key, limit);
  }
  std::string TextOf(const Json& value, const char* key, size_t limit = kMaxText) {
    if (value.is_string())
      if (const auto& text = value.get_ref<const std::string&>(); IsPlainText(text, limit))
        return text;
    Wrong(key);
    return {};
  }
  std::string Name(const Json& object, const char* key) {
    std::string name = Text(object, key);
    if (!CheckName(name, key)) Wrong(key);
    return name;
  }
  uint64_t Number(const Json& object, const char* key, uint64_t most = kMaxNumber) {
    const Json& value = At(object, key);
    if (value.is_number_unsigned())
      if (uint64_t number = value.get<uint64_t>(); number <= most) return number;
    Wrong(key);
    return 0;
  }
  template <size_t N>
  std::array<uint8_t, N> Hex(const Json& object, const char* key) {
    std::array<uint8_t, N> out{};
    if (!FromHex(Text(object, key), out)) Wrong(key);
    return out;
  }
  const Json& List(const Json& object, const char* key) {
    static const Json empty = Json::array();
    const Json& value = At(object, key);
    if (value.is_array() && value.size() <= kMaxList) return value;
    Wrong(key);
    return empty;
  }
  std::vector<std::string> Texts(const Json& object, const char* key) {
    std::vector<std::string> out;
    for (const Json& value : List(object, key)) out.push_back(TextOf(value, key));
    return out;
  }
  void Wrong(const char* key) {
    if (wrong_->empty()) *wrong_ = key;
  }

 private:
  std::string* wrong_;
};

Json ToJson(const ManifestUnit& unit) {
  return Json{{"name", unit.name},
              {"checkpointer", unit.checkpointer},
              {"root", ToHex(unit.root)},
              {"pack", ToHex(unit.pack)},
              {"head_bytes", unit.head_bytes},
              {"image_bytes", unit.image_bytes},
              {"memory_bytes", unit.memory_bytes},
              {"frames", unit.frames},
              {"needs",
               {{"arch", unit.needs.arch},
                {"kernel", unit.needs.kernel},
                {"cpu_features", unit.needs.cpu_features},
                {"build_ids", unit.needs.build_ids}}}};
}

// Serialises without looking at whether the texts are good.
std::string Dump(const Manifest& manifest) {
  Json units = Json::array();
  for (const ManifestUnit& unit : manifest.units) units.push_back(ToJson(unit));
  Json keys = Json::array();
  for (const WrappedKey& key : manifest.data_keys)
    keys.push_back(Json{{"recipient", key.recipient}, {"wrapped", ToBase64(key.wrapped)}});
  Json json{
      {"format", kFormat},
      {"job", manifest.job},
      {"job_id", ToHex(manifest.job_id)},
      {"version", manifest.version},
      {"parent", manifest.parent},
      {"created_unix_ms", manifest.created_unix_ms},
      {"node", manifest.node},
      {"suite", SuiteName(manifest.suite)},
      {"owner",
       {{"uid", manifest.owner_uid}, {"gid", manifest.owner_gid}, {"name", manifest.owner_name}}},
      {"units", std::move(units)},
      {"data_keys", std::move(keys)}};
  // Bytes that are no UTF-8 are replaced, not thrown over: the caller compares.
  return json.dump(1, ' ', true, Json::error_handler_t::replace) + "\n";
}

ManifestUnit UnitFrom(Fields& fields, const Json& json) {
  ManifestUnit unit;
  unit.name = fields.Name(json, "name");
  unit.checkpointer = fields.Name(json, "checkpointer");
  unit.root = fields.Hex<32>(json, "root");
  unit.pack = fields.Hex<16>(json, "pack");
  unit.head_bytes = fields.Number(json, "head_bytes");
  unit.image_bytes = fields.Number(json, "image_bytes");
  unit.memory_bytes = fields.Number(json, "memory_bytes");
  unit.frames = static_cast<uint32_t>(fields.Number(json, "frames", UINT32_MAX));
  const Json& needs = fields.At(json, "needs");
  unit.needs.arch = fields.Text(needs, "arch");
  unit.needs.kernel = fields.Text(needs, "kernel");
  unit.needs.cpu_features = fields.Texts(needs, "cpu_features");
  unit.needs.build_ids = fields.Texts(needs, "build_ids");
  return unit;
}

bool IsKeyId(std::string_view text) {
  return text.size() == 16 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
         });
}

Manifest ManifestFrom(Fields& fields, const Json& json) {
  Manifest manifest;
  manifest.job = fields.Name(json, "job");
  manifest.job_id = fields.Hex<16>(json, "job_id");
  manifest.version = fields.Number(json, "version");
  manifest.parent = fields.Number(json, "parent");
  if (manifest.version == 0) fields.Wrong("version");
  if (manifest.parent >= std::max<uint64_t>(manifest.version, 1)) fields.Wrong("parent");
  manifest.created_unix_ms = static_cast<int64_t>(fields.Number(json, "created_unix_ms"));
  manifest.node = fields.Name(json, "node");
  const Json& owner = fields.At(json, "owner");
  manifest.owner_uid = static_cast<uint32_t>(fields.Number(owner, "uid", UINT32_MAX));
  manifest.owner_gid = static_cast<uint32_t>(fields.Number(owner, "gid", UINT32_MAX));
  manifest.owner_name = fields.Text(owner, "name");
  for (const Json& unit : fields.List(json, "units")) {
    manifest.units.push_back(UnitFrom(fields, unit));
    size_t count = manifest.units.size();
    if (count > 1 && manifest.units[count - 2].name >= manifest.units[count - 1].name)
      fields.Wrong("units");
  }
  if (manifest.units.empty()) fields.Wrong("units");
  for (const Json& key : fields.List(json, "data_keys")) {
    WrappedKey wrapped{.recipient = fields.Text(key, "recipient"), .wrapped = {}};
    auto bytes = FromBase64(fields.Text(key, "wrapped", 2 * kMaxWrappedBytes), kMaxWrappedBytes);
    if (!bytes || !IsKeyId(wrapped.recipient))
      fields.Wrong("data_keys");
    else
      wrapped.wrapped = std::move(*bytes);
    manifest.data_keys.push_back(std::move(wrapped));
  }
  return manifest;
}

}  // namespace

Result<std::string> FormatManifest(const Manifest& manifest) {
  std::string text = Dump(manifest);
  if (text.size() > kMaxManifestBytes)
    return Fail(Errc::kTooBig, "the manifest would have {} bytes", text.size());
  // The parser is the judge of what may be in one: what it refuses is never written.
  if (auto parsed = ParseManifest(text); !parsed)
    return Fail(Errc::kInvalid, "the manifest cannot be written: {}", parsed.error().message());
  return text;
}

Result<Manifest> ParseManifest(std::string_view text) {
  if (text.size() > kMaxManifestBytes)
    return Fail(Errc::kCorrupt, "the manifest is longer than {} bytes", kMaxManifestBytes);
  bool too_deep = false;
  auto bounded = [&](int depth, Json::parse_event_t, Json&) {
    too_deep |= depth > kMaxDepth;
    return !too_deep;
  };
  Json json = Json::parse(text.begin(), text.end(), bounded, /*allow_exceptions=*/false);
  if (too_deep || json.is_discarded() || !json.is_object())
    return Fail(Errc::kCorrupt, "the manifest is no JSON object");
  std::string wrong;
  Fields fields(&wrong);
  if (std::string format = fields.Text(json, "format"); wrong.empty() && format != kFormat)
    return Fail(Errc::kUnsupported, "the manifest is of format '{}', this program knows {}", format,
                kFormat)
        .WithRemedy("use a newer ckptfs");
  std::string suite_name = fields.Text(json, "suite");
  if (!wrong.empty()) return Fail(Errc::kCorrupt, "the manifest's '{}' is malformed", wrong);
  auto suite = ParseSuite(suite_name);
  if (!suite)
    return Error(Errc::kUnsupported, "the manifest's 'suite': " + suite.error().message(),
                 suite.error().code() == Errc::kUnsupported
                     ? suite.error().remedy()
                     : "read it with the ckptfs that made it, or a newer one");
  Manifest manifest = ManifestFrom(fields, json);
  manifest.suite = *suite;
  if (!wrong.empty()) return Fail(Errc::kCorrupt, "the manifest's '{}' is malformed", wrong);
  if (Dump(manifest) != text)
    return Fail(Errc::kCorrupt, "the manifest is not in the one form that manifests have");
  return manifest;
}

VersionInfo InfoOf(const Manifest& manifest) {
  VersionInfo info;
  info.job = manifest.job;
  info.job_id = ToHex(manifest.job_id);
  info.version = manifest.version;
  info.parent = manifest.parent;
  info.node = manifest.node;
  info.suite = SuiteName(manifest.suite);
  info.owner_uid = manifest.owner_uid;
  info.owner_gid = manifest.owner_gid;
  info.owner_name = manifest.owner_name;
  info.created_unix_ms = manifest.created_unix_ms;
  for (const ManifestUnit& unit : manifest.units)
    info.units.push_back({.name = unit.name,
                          .checkpointer = unit.checkpointer,
                          .image_bytes = unit.image_bytes,
                          .memory_bytes = unit.memory_bytes,
                          .needs = unit.needs});
  return info;
}

}  // namespace ckptfs
