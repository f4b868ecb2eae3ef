#include "agent/checkpointer_set.h"

namespace ckptfs {

CheckpointerSet::CheckpointerSet(std::vector<std::unique_ptr<Checkpointer>> checkpointers)
    : all_(std::move(checkpointers)) {
  for (const auto& each : all_) (void)Look(*each, true);
}

Availability CheckpointerSet::Look(const Checkpointer& checkpointer, bool again) const {
  if (!again) return (*found_.Lock())[std::string(checkpointer.name())];
  Availability availability = checkpointer.Probe();
  (*found_.Lock())[std::string(checkpointer.name())] = availability;
  return availability;
}

std::vector<CheckpointerStatus> CheckpointerSet::Statuses() const {
  std::vector<CheckpointerStatus> statuses;
  for (const auto& each : all_)
    statuses.push_back({std::string(each->name()), Look(*each, false), each->capabilities()});
  return statuses;
}

Checkpointer* CheckpointerSet::Get(std::string_view name) const {
  for (const auto& each : all_)
    if (each->name() == name) return each.get();
  return nullptr;
}

Result<Checkpointer*> CheckpointerSet::Find(std::string_view name) const {
  Checkpointer* found = Get(name);
  if (found == nullptr) {
    std::string names;
    for (const auto& each : all_) names += " " + std::string(each->name());
    return Fail(Errc::kUnsupported, "this node has no checkpointer {}", name)
        .WithRemedy("it has:" + names);
  }
  Availability availability = Look(*found, false);
  if (!availability.available) availability = Look(*found, true);
  if (!availability.available)
    return Fail(Errc::kUnsupported, "the checkpointer {} cannot be used: {}", name,
                availability.why_not)
        .WithRemedy(availability.remedy);
  return found;
}

Result<Checkpointer*> CheckpointerSet::Choose(std::string_view chosen, uid_t owner) const {
  if (chosen != "auto") return Find(chosen);
  std::optional<Error> why_not;
  for (const auto& each : all_) {
    Capabilities can = each->capabilities();
    if (!can.attach || can.needs_launch || (owner != 0 && !can.unprivileged)) continue;
    auto found = Find(each->name());
    if (found) return found;
    if (!why_not) why_not = found.error();
  }
  if (why_not) return *why_not;
  return Fail(Errc::kUnsupported, "no checkpointer of this node fits");
}

}  // namespace ckptfs
