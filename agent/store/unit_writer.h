// UnitWriter: takes the streams of one unit and makes its pack: new pages into
// frames, pages that are known into references, and the head at the end.
//
// Four stages, each with its own thread: reading (the caller's), looking at pages
// (Intake), sealing (FramePipeline) and writing (PackFile).
#pragma once

#include <functional>
#include <memory>
#include <unordered_set>

#include "agent/store/frame_pipeline.h"
#include "agent/store/intake.h"
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

// What one stream has become so far.
struct StreamState {
  std::string name;
  uint64_t size_bytes = 0;      // the reading thread's
  std::vector<Extent> extents;  // this and the next: the looking thread's
  PagePosition expected = 0;    // where the next page lies if it is known
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

  // In the intake's thread: known pages become references, others go into a frame.
  Result<void> TakePages(StreamState& stream, Bytes pages);
  Result<void> IntoFrame(Bytes page);
  // The frame's pages, if they are lent, are copied into it.
  void CopyLent();
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
  std::deque<StreamState> states_;  // of open and ended streams: they keep their places
  std::unique_ptr<Intake> intake_;  // ends before what its thread uses
  std::vector<StreamEntry> streams_;
  std::unordered_set<std::string> names_;
  size_t open_streams_ = 0;
  bool finished_ = false;
  uint64_t written_bytes_ = 0;
  uint8_t* frame_ = nullptr;  // being filled, by the intake's thread; null: none
  size_t frame_pages_ = 0;
  const uint8_t* lent_ = nullptr;  // where all of its pages lie in the intake; null: copied
};

}  // namespace ckptfs
