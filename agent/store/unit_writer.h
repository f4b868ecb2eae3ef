// UnitWriter: takes the streams of one unit and makes its pack: new pages into
// frames, pages that are known into references, and the head at the end.
#pragma once

#include <functional>
#include <memory>
#include <unordered_set>

#include "agent/store/frame_pipeline.h"
#include "agent/store/page_index.h"
#include "agent/store/store.h"

namespace ckptfs {

// What a job's data key gives.
struct JobKeys {
  std::unique_ptr<FrameCipher> cipher;
  std::unique_ptr<Fingerprinter> fingerprinter;
  static Result<std::shared_ptr<const JobKeys>> Make(Suite suite, const SecretBytes& data_key);
};

// What a unit's image was in the parent version.
struct ParentUnit {
  Head head;
  LiveMasks live;
  std::vector<Fingerprint> fingerprints;  // of the live slots, in order
};

// A unit whose pack is whole and on the disk.
struct WrittenUnit {
  std::string name, checkpointer;
  Needs needs;
  std::unique_ptr<PackFile> pack;  // goes with this, unless kept
  PackId pack_id{};
  Digest root{};
  uint64_t head_offset = 0, head_bytes = 0, image_bytes = 0, memory_bytes = 0;
  uint32_t frames = 0;
  std::vector<PackId> packs;  // that it refers to, as in its head
};

struct UnitWriterOptions {
  VersionWriter::UnitOptions unit;
  JobId job{};
  std::shared_ptr<const JobKeys> keys;
  std::optional<ParentUnit> parent;
  int packs_dir_fd = -1;
  const Disk* disk = nullptr;
  BufferPool* pool = nullptr;
  // Called by Finish with what it made.
  std::function<void(WrittenUnit)> finished;
};

class StreamWriter;

class UnitWriterImpl : public VersionWriter::UnitWriter {
 public:
  static Result<std::unique_ptr<UnitWriterImpl>> Make(UnitWriterOptions options);
  ~UnitWriterImpl() override;

  Result<std::unique_ptr<Stream>> Open(std::string_view name) override;
  Result<void> Finish(const Needs& needs) override;
  uint64_t written_bytes() const override;

 private:
  friend class StreamWriter;
  explicit UnitWriterImpl(UnitWriterOptions options);

  // The free part of the frame being filled: at least a page.
  Result<MutableBytes> Room();
  // Of the room's start, `pages` pages are filled. Known ones are dropped, the
  // others moved together. `expected` is where the next page lies if it is known.
  void TakePages(size_t pages, PagePosition* expected, std::vector<Extent>* extents);
  Result<void> WriteHead(WrittenUnit* unit);
  // The directory for what the streams refer to; moves their extents to it.
  Head MakeDirectory(std::vector<FrameEntry> own_frames, LiveMasks* live);
  Result<void> WriteTable(const Head& head, const LiveMasks& live,
                          const std::vector<uint8_t>& streams, Hasher* hasher);

  UnitWriterOptions options_;
  PackId pack_id_;
  std::unique_ptr<PackFile> pack_;
  std::unique_ptr<FramePipeline> pipeline_;
  PageIndex index_;
  Head parent_head_;
  std::vector<StreamEntry> streams_;
  std::unordered_set<std::string> names_;
  size_t open_streams_ = 0;
  bool finished_ = false;
  uint64_t written_bytes_ = 0;
  uint8_t* frame_ = nullptr;  // being filled; null: none
  size_t frame_pages_ = 0;
};

}  // namespace ckptfs
