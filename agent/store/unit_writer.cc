#include "agent/store/unit_writer.h"

#include <bit>
#include <cstring>

#include "agent/store/names.h"
#include "agent/store/stream_writer.h"

namespace ckptfs {
namespace {
// What the disk may lag behind: enough for writes of several MiB while others are made.
constexpr uint64_t kRingBytes = 14 << 20;
// What looking at pages may lag behind reading them when the policy asks for no buffer.
constexpr uint64_t kLeastIntakeBytes = 4 << 20;
}  // namespace

Result<std::shared_ptr<const JobKeys>> JobKeys::Make(Suite suite, const SecretBytes& data_key) {
  auto cipher = FrameCipher::Make(suite, data_key);
  if (!cipher) return cipher.error();
  auto fingerprinter = Fingerprinter::Make(suite, data_key);
  if (!fingerprinter) return fingerprinter.error();
  return std::shared_ptr<const JobKeys>(new JobKeys{std::move(*cipher), std::move(*fingerprinter)});
}

UnitWriterImpl::UnitWriterImpl(UnitWriterOptions options)
    : options_(std::move(options)), pack_id_(RandomPackId()) {}

UnitWriterImpl::~UnitWriterImpl() {
  // The intake's thread fills the pipeline, which seals from the intake's memory.
  if (intake_) intake_->Abandon();
  pipeline_.reset();
}

Result<std::unique_ptr<UnitWriterImpl>> UnitWriterImpl::Make(UnitWriterOptions options) {
  std::unique_ptr<UnitWriterImpl> unit(new UnitWriterImpl(std::move(options)));
  UnitWriterOptions& given = unit->options_;
  auto pack = PackFile::Create(*given.disk, *given.pool,
                               {.dir_fd = given.packs_dir_fd,
                                .name = ToHex(unit->pack_id_) + ".pack",
                                .ring_bytes = kRingBytes});
  if (!pack) return pack.error();
  unit->pack_ = std::move(*pack);
  Suite suite = given.keys->cipher->suite();
  auto begun = unit->pack_->Append(EncodePackHeader({suite, unit->pack_id_, given.job}));
  if (!begun) return begun.error();
  UnitWriterImpl* self = unit.get();
  auto pipeline = FramePipeline::Make(*unit->pack_, *given.keys->cipher, *given.pool,
                                      {.pack = unit->pack_id_,
                                       .compress = given.unit.compress,
                                       .yield_to_reading = given.unit.buffer_bytes > 0,
                                       .let_go = [self] { self->intake_->LetGoFirst(); }});
  if (!pipeline) return pipeline.error();
  unit->pipeline_ = std::move(*pipeline);
  if (given.parent) {
    unit->index_ = PageIndex(std::move(given.parent->live), std::move(given.parent->fingerprints));
    unit->parent_head_ = std::move(given.parent->head);
    given.parent.reset();
  }
  auto intake = Intake::Make(
      *given.pool,
      {.size_bytes = std::max(given.unit.buffer_bytes, kLeastIntakeBytes),
       .yield_to_reading = given.unit.buffer_bytes > 0},
      [self](StreamState& stream, Bytes pages) { return self->TakePages(stream, pages); },
      [self] { self->pipeline_->Hurry(); });
  if (!intake) return intake.error();
  unit->intake_ = std::move(*intake);
  return unit;
}

Result<std::unique_ptr<ImageSink::Stream>> UnitWriterImpl::Open(std::string_view name) {
  if (!IsStreamName(name) || !names_.insert(std::string(name)).second)
    return Fail(Errc::kInternal, "unit {}: a stream of its image cannot have that name",
                options_.unit.name);
  if (finished_) return Fail(Errc::kInternal, "unit {} is finished", options_.unit.name);
  states_.push_back({.name = std::string(name)});
  ++open_streams_;
  return std::make_unique<StreamWriter>(*this, states_.back());
}

Result<void> UnitWriterImpl::TakePages(StreamState& stream, Bytes pages) {
  std::vector<Extent>& extents = stream.extents;
  for (; !pages.empty(); pages = pages.subspan(kPageBytes)) {
    Bytes page = pages.first(kPageBytes);
    Fingerprint fingerprint = options_.keys->fingerprinter->Of(page);
    PagePosition position = stream.expected;
    bool known = index_.Holds(position, fingerprint);
    if (!known)
      if (auto found = index_.Find(fingerprint)) {
        position = stream.expected = *found;
        known = true;
      }
    if (known) {
      CopyLent();  // what follows does not lie behind it
    } else {
      if (auto placed = IntoFrame(page); !placed) return placed;
      // A page that was changed in place: the next one lies behind the old one.
      position = index_.Add(fingerprint);
    }
    ++stream.expected;
    if (!extents.empty() && extents.back().start + extents.back().pages == position)
      ++extents.back().pages;
    else
      extents.push_back({position, 1});
  }
  return {};
}

Result<void> UnitWriterImpl::IntoFrame(Bytes page) {
  if (frame_ == nullptr) {
    auto frame = pipeline_->NextFrame();
    if (!frame) return frame.error().Add("unit {}", options_.unit.name);
    frame_ = *frame;
    frame_pages_ = 0;
    lent_ = page.data();
    intake_->Hold(lent_);
  }
  if (lent_ != nullptr && lent_ + frame_pages_ * kPageBytes != page.data()) CopyLent();
  if (lent_ == nullptr) std::memcpy(frame_ + frame_pages_ * kPageBytes, page.data(), kPageBytes);
  if (++frame_pages_ < kFramePages) return {};
  if (lent_ != nullptr)
    pipeline_->SubmitLent({lent_, kFrameBytes});
  else
    pipeline_->Submit(kFramePages);
  frame_ = nullptr;
  lent_ = nullptr;
  return {};
}

void UnitWriterImpl::CopyLent() {
  if (lent_ == nullptr) return;
  std::memcpy(frame_, lent_, frame_pages_ * kPageBytes);
  lent_ = nullptr;
  intake_->LetGoLast();
}

uint64_t UnitWriterImpl::written_bytes() const { return written_bytes_; }

Result<void> UnitWriterImpl::Finish(const Needs& needs) {
  if (finished_) return Fail(Errc::kInternal, "unit {} is finished", options_.unit.name);
  if (open_streams_ > 0)
    return Fail(Errc::kIo, "unit {}: {} of its streams were not read to their end",
                options_.unit.name, open_streams_);
  finished_ = true;
  WrittenUnit unit;
  unit.name = options_.unit.name;
  unit.checkpointer = options_.unit.checkpointer;
  unit.needs = needs;
  unit.pack_id = pack_id_;
  auto written = WriteHead(&unit);
  if (written) written = pack_->Finish();
  if (!written) return written.error().Add("unit {}", options_.unit.name);
  written_bytes_ = pack_->size_bytes();
  unit.pack = std::move(pack_);
  index_ = PageIndex();
  options_.finished(std::move(unit));
  return {};
}

Result<void> UnitWriterImpl::WriteHead(WrittenUnit* unit) {
  if (auto drained = intake_->Drain(); !drained) return drained;
  CopyLent();
  for (StreamState& state : states_)
    streams_.push_back({std::move(state.name), state.size_bytes, std::move(state.extents)});
  if (frame_ != nullptr && frame_pages_ > 0) pipeline_->Submit(frame_pages_);
  frame_ = nullptr;
  auto own_frames = pipeline_->Drain();
  intake_.reset();
  if (!own_frames) return own_frames.error();
  index_.DropLookup();

  LiveMasks live;
  Head head = MakeDirectory(std::move(*own_frames), &live);
  std::vector<uint8_t> streams = EncodeStreams(streams_);
  head.table_bytes = streams.size() + CountPages(live) * sizeof(Fingerprint);

  unit->head_offset = pack_->size_bytes();
  unit->head_bytes = head.head_bytes();
  unit->image_bytes = head.image_bytes();
  unit->frames = static_cast<uint32_t>(head.frames.size());
  for (const StreamEntry& stream : streams_) unit->memory_bytes += stream.size_bytes;
  Hasher hasher(head.suite);
  std::vector<uint8_t> encoded = EncodeHead(head);
  hasher.Update(encoded);
  if (auto written = pack_->Append(encoded); !written) return written;
  if (auto written = WriteTable(head, live, streams, &hasher); !written) return written;
  unit->root = hasher.Finish();
  unit->packs = std::move(head.packs);
  return {};
}

Head UnitWriterImpl::MakeDirectory(std::vector<FrameEntry> own_frames, LiveMasks* live) {
  Head head;
  head.suite = options_.keys->cipher->suite();
  head.pack = pack_id_;
  head.job = options_.job;
  live->assign(index_.parent_frames() + own_frames.size(), 0);
  MarkLive(streams_, live);

  // Parent frames that are still referred to keep their order, so that runs of
  // positions over the ends of frames stay runs.
  std::vector<uint32_t> new_index(live->size(), UINT32_MAX);
  std::vector<uint32_t> new_pack(parent_head_.packs.size(), UINT32_MAX);
  size_t kept = 0;
  for (size_t i = 0; i < index_.parent_frames(); ++i) {
    if ((*live)[i] == 0) continue;
    FrameEntry frame = parent_head_.frames[i];
    uint32_t& pack = new_pack[frame.pack];
    if (pack == UINT32_MAX) {
      pack = static_cast<uint32_t>(head.packs.size());
      head.packs.push_back(parent_head_.packs[frame.pack]);
    }
    frame.pack = pack;
    new_index[i] = static_cast<uint32_t>(kept++);
    head.frames.push_back(frame);
  }
  if (!own_frames.empty()) head.packs.push_back(pack_id_);
  for (size_t i = 0; i < own_frames.size(); ++i) {
    own_frames[i].pack = static_cast<uint32_t>(head.packs.size() - 1);
    new_index[index_.parent_frames() + i] = static_cast<uint32_t>(kept++);
    head.frames.push_back(own_frames[i]);
  }
  for (StreamEntry& stream : streams_)
    for (Extent& extent : stream.extents)
      extent.start = new_index[extent.start / kFramePages] * static_cast<uint32_t>(kFramePages) +
                     extent.start % static_cast<uint32_t>(kFramePages);
  return head;
}

// Fills the table's pieces where the pack's ring has room, and seals them there:
// the table of a large job is never in memory as a whole.
Result<void> UnitWriterImpl::WriteTable(const Head& head, const LiveMasks& live,
                                        const std::vector<uint8_t>& streams, Hasher* hasher) {
  Bytes streams_left = streams;
  size_t frame = 0;
  uint64_t mask = live.empty() ? 0 : live[0];
  uint64_t left = head.table_bytes;
  Fingerprint fingerprint{};
  Bytes part;  // of a fingerprint, which may lie across two pieces
  for (uint64_t piece = 0; left > 0; ++piece) {
    size_t size = static_cast<size_t>(std::min<uint64_t>(left, Head::kTablePieceBytes));
    auto room = pack_->Reserve(size + kTagBytes);
    if (!room) return room.error();
    for (size_t filled = 0; filled < size;) {
      if (streams_left.empty() && part.empty()) {
        while (mask == 0) mask = live[++frame];
        fingerprint = index_.At(static_cast<PagePosition>(
            frame * kFramePages + static_cast<size_t>(std::countr_zero(mask))));
        mask &= mask - 1;
        part = fingerprint;
      }
      Bytes& from = streams_left.empty() ? part : streams_left;
      size_t count = std::min(from.size(), size - filled);
      std::memcpy(*room + filled, from.data(), count);
      from = from.subspan(count);
      filled += count;
    }
    MutableBytes sealed(*room, size + kTagBytes);
    options_.keys->cipher->SealInPlace(FrameKind::kTable, {pack_id_, piece}, sealed);
    hasher->Update(sealed);
    pack_->Publish(sealed.size());
    left -= size;
  }
  return {};
}

}  // namespace ckptfs
