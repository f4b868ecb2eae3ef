#include "agent/store/packs.h"

namespace ckptfs {
namespace {
constexpr std::string_view kSuffix = ".pack";
}

std::string ContainerName(const ContainerId& id) { return ToHex(id) + std::string(kSuffix); }

std::optional<ContainerId> ParseContainerName(std::string_view name) {
  ContainerId id{};
  if (!name.ends_with(kSuffix) || !FromHex(name.substr(0, name.size() - kSuffix.size()), id))
    return std::nullopt;
  return id;
}

Result<std::shared_ptr<const ContainerFile>> Packs::Open(const ContainerId& id) const {
  std::string name = ContainerName(id);
  return ContainerFile::Open(dir_.get(), name, "packs/" + name);
}

Result<std::vector<ContainerId>> Packs::List() const {
  auto names = ListDir(dir_.get());
  if (!names) return names.error();
  std::vector<ContainerId> ids;
  for (const std::string& name : *names)
    if (auto id = ParseContainerName(name)) ids.push_back(*id);
  return ids;
}

std::optional<Packs::PinnedVersion> Packs::Pin(const Catalogue& catalogue, const std::string& job,
                                               uint64_t version) {
  std::shared_lock<std::shared_mutex> still(changing_);
  auto record = catalogue.Find(job, version);
  if (!record) return std::nullopt;
  std::set<ContainerId> ids = record->containers();
  {
    auto pins = pins_.Lock();
    for (const ContainerId& id : ids) ++(*pins)[id];
  }
  return PinnedVersion{std::move(*record), std::make_shared<const Pins>(*this, std::move(ids))};
}

Packs::Pins::~Pins() {
  std::vector<ContainerId> released;
  {
    auto pins = packs_.pins_.Lock();
    for (const ContainerId& id : ids_) {
      auto found = pins->find(id);
      if (--found->second > 0) continue;
      pins->erase(found);
      released.push_back(id);
    }
  }
  for (const ContainerId& id : released) packs_.released_(id);
}

}  // namespace ckptfs
