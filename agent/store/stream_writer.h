// StreamWriter: one stream on its way into a unit's frames.
//
// Small streams are gathered and appended when they end, so that open ones do
// not fill frames with pages of many beginnings. Larger ones are read straight
// into the unit's intake; only what is less than a page is kept here.
#pragma once

#include "agent/store/unit_writer.h"

namespace ckptfs {

class StreamWriter : public ImageSink::Stream {
 public:
  // Borrows both.
  StreamWriter(UnitWriterImpl& unit, StreamState& state) : unit_(unit), state_(state) {}
  ~StreamWriter() override = default;

  Result<ImageSink::Read> ReadFrom(int fd) override;
  Result<void> Append(Bytes bytes) override;
  Result<void> End() override;

 private:
  void Count(size_t bytes);
  // Copies pending_ to the start of the room and forgets it.
  size_t MovePending(MutableBytes room);
  // Whole pages at the room's start go on; the rest becomes pending_.
  void TakeFilled(MutableBytes room, size_t filled_bytes);
  Result<void> StopGathering();

  UnitWriterImpl& unit_;
  StreamState& state_;
  bool gathering_ = true;
  bool ended_ = false;
  std::vector<uint8_t> pending_;
};

}  // namespace ckptfs
