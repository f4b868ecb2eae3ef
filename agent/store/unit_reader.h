// UnitReader: gives a unit's streams back, verified.
#pragma once

#include <memory>

#include "agent/store/frame_cache.h"

namespace ckptfs {

class UnitReader : public ImageSource {
 public:
  // Borrows `pool`, and `progress` if there is one; holds on to `keep`.
  static Result<std::unique_ptr<UnitReader>> Make(std::shared_ptr<const UnitImage> image,
                                                  std::shared_ptr<const JobKeys> keys,
                                                  BufferPool& pool,
                                                  std::shared_ptr<const void> keep,
                                                  Progress* progress);
  ~UnitReader() override;

  std::vector<std::string> Names() const override;
  // Streams borrow this.
  Result<std::unique_ptr<Stream>> Open(std::string_view name) override;
  Result<void> VerifyRest() override;

 private:
  UnitReader(std::shared_ptr<const UnitImage> image, std::shared_ptr<const JobKeys> keys,
             PageTable table, std::unique_ptr<FrameCache> cache, std::shared_ptr<const void> keep,
             Progress* progress);

  std::shared_ptr<const void> keep_;
  std::shared_ptr<const UnitImage> image_;
  std::shared_ptr<const JobKeys> keys_;
  PageTable table_;
  std::unique_ptr<FrameCache> cache_;
  Progress* progress_;
};

}  // namespace ckptfs
