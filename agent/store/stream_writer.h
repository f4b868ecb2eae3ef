// StreamWriter: one stream on its way into a unit's frames.
//
// Small streams are gathered and appended when they end, so that open ones do
// not fill frames with pages of many beginnings. Larger ones are read straight
// into the frame being filled; only what is less than a page is kept here.
#pragma once

#include "agent/store/unit_writer.h"

namespace ckptfs {

class StreamWriter : public ImageSink::Stream {
 public:
  // Borrows `unit`; `index` is of its list of streams.
  StreamWriter(UnitWriterImpl& unit, size_t index) : unit_(unit), index_(index) {}
  ~StreamWriter() override = default;

  Result<ImageSink::Read> ReadFrom(int fd) override;
  Result<void> Append(Bytes bytes) override;
  Result<void> End() override;

 private:
  StreamEntry& entry() { return unit_.streams_[index_]; }
  void Count(size_t bytes);
  // Copies pending_ to the start of the unit's room and forgets it.
  size_t MovePending(MutableBytes room);
  // Whole pages at the room's start go on; the rest becomes pending_.
  void TakeFilled(MutableBytes room, size_t filled_bytes);
  Result<void> StopGathering();

  UnitWriterImpl& unit_;
  size_t index_;
  bool gathering_ = true;
  bool ended_ = false;
  std::vector<uint8_t> pending_;
  PagePosition expected_ = 0;
};

}  // namespace ckptfs
