// PageIndex: finds a page by its content's fingerprint, among the pages that the
// parent refers to and those that the version being made has already.
//
// A million pages (4 GiB) cost 16 MB of fingerprints and 10 to 20 MB of hash
// table. Positions are those of the directory in the making: the parent's frames
// first, with the parent's own numbering, then the new ones.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "agent/store/page_table.h"

namespace ckptfs {

class PageIndex {
 public:
  PageIndex() = default;
  // `fingerprints` are of the live slots, in order of position.
  PageIndex(LiveMasks parent_live, std::vector<Fingerprint> fingerprints);

  size_t parent_frames() const { return live_.size(); }
  // Whether the page at `position` is there and has this content. Cheaper than
  // Find: pages that follow each other in memory mostly did so in the parent.
  bool Holds(PagePosition position, const Fingerprint& fingerprint) const;
  std::optional<PagePosition> Find(const Fingerprint& fingerprint) const;
  // The next new page: positions from parent_frames() * 64 on, without gaps.
  PagePosition Add(const Fingerprint& fingerprint);
  // Of a page that is there.
  const Fingerprint& At(PagePosition position) const;
  // Frees what Find needs; At still works.
  void DropLookup();

 private:
  struct Slot {
    uint32_t tag = 0;
    uint32_t position_plus_1 = 0;  // 0: empty
  };
  static constexpr size_t kChunk = 4096;

  void Insert(const Fingerprint& fingerprint, PagePosition position);
  void Resize(size_t slots);

  LiveMasks live_;
  std::vector<uint32_t> before_;  // live pages in all frames before this one
  std::vector<Fingerprint> parent_;
  // In chunks, so that growing never copies.
  std::vector<std::unique_ptr<std::array<Fingerprint, kChunk>>> own_;
  size_t own_count_ = 0;
  std::vector<Slot> slots_;
  size_t used_ = 0;
};

}  // namespace ckptfs
