#include "agent/store/page_index.h"

#include <bit>
#include <cassert>
#include <cstring>

namespace ckptfs {
namespace {

// Fingerprints are keyed and uniform: any bits of them serve as the hash.
uint32_t HashOf(const Fingerprint& fingerprint) {
  uint32_t hash;
  std::memcpy(&hash, fingerprint.data(), sizeof hash);
  return hash;
}

uint32_t TagOf(const Fingerprint& fingerprint) {
  uint32_t tag;
  std::memcpy(&tag, fingerprint.data() + 4, sizeof tag);
  return tag;
}

}  // namespace

PageIndex::PageIndex(LiveMasks parent_live, std::vector<Fingerprint> fingerprints)
    : live_(std::move(parent_live)), parent_(std::move(fingerprints)) {
  before_.reserve(live_.size());
  uint32_t count = 0;
  Resize(parent_.size() + parent_.size() / 2 + 64);
  for (size_t frame = 0; frame < live_.size(); ++frame) {
    before_.push_back(count);
    for (uint64_t mask = live_[frame]; mask != 0; mask &= mask - 1)
      Insert(parent_[count++],
             static_cast<PagePosition>(frame * kFramePages +
                                       static_cast<size_t>(std::countr_zero(mask))));
  }
  assert(count == parent_.size());
}

const Fingerprint& PageIndex::At(PagePosition position) const {
  size_t frame = position / kFramePages;
  if (frame >= live_.size()) {
    size_t own = position - live_.size() * kFramePages;
    return (*own_[own / kChunk])[own % kChunk];
  }
  uint64_t below = live_[frame] & ((uint64_t{1} << (position % kFramePages)) - 1);
  return parent_[before_[frame] + static_cast<size_t>(std::popcount(below))];
}

bool PageIndex::Holds(PagePosition position, const Fingerprint& fingerprint) const {
  size_t frame = position / kFramePages;
  if (frame >= live_.size()) {
    if (position - live_.size() * kFramePages >= own_count_) return false;
  } else if ((live_[frame] >> (position % kFramePages) & 1) == 0) {
    return false;
  }
  return At(position) == fingerprint;
}

std::optional<PagePosition> PageIndex::Find(const Fingerprint& fingerprint) const {
  if (slots_.empty()) return std::nullopt;
  uint32_t tag = TagOf(fingerprint);
  for (size_t at = static_cast<size_t>(uint64_t{HashOf(fingerprint)} * slots_.size() >> 32);;
       at = at + 1 == slots_.size() ? 0 : at + 1) {
    const Slot& slot = slots_[at];
    if (slot.position_plus_1 == 0) return std::nullopt;
    if (slot.tag == tag && At(slot.position_plus_1 - 1) == fingerprint)
      return slot.position_plus_1 - 1;
  }
}

PagePosition PageIndex::Add(const Fingerprint& fingerprint) {
  if (own_count_ % kChunk == 0) own_.push_back(std::make_unique<std::array<Fingerprint, kChunk>>());
  (*own_.back())[own_count_ % kChunk] = fingerprint;
  PagePosition position = static_cast<PagePosition>(live_.size() * kFramePages + own_count_);
  ++own_count_;
  if (used_ + used_ / 4 >= slots_.size()) Resize(slots_.size() + slots_.size() / 2 + 4096);
  Insert(fingerprint, position);
  return position;
}

void PageIndex::Insert(const Fingerprint& fingerprint, PagePosition position) {
  size_t at = static_cast<size_t>(uint64_t{HashOf(fingerprint)} * slots_.size() >> 32);
  while (slots_[at].position_plus_1 != 0) at = at + 1 == slots_.size() ? 0 : at + 1;
  slots_[at] = {TagOf(fingerprint), position + 1};
  ++used_;
}

void PageIndex::Resize(size_t slots) {
  std::vector<Slot> old = std::move(slots_);
  slots_.assign(slots, Slot{});
  used_ = 0;
  for (const Slot& slot : old)
    if (slot.position_plus_1 != 0) Insert(At(slot.position_plus_1 - 1), slot.position_plus_1 - 1);
}

void PageIndex::DropLookup() { std::vector<Slot>().swap(slots_); }

}  // namespace ckptfs
