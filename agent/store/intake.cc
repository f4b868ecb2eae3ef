#include "agent/store/intake.h"

#include <algorithm>
#include <cstring>

namespace ckptfs {
namespace {

// As much as a pipe holds: a read that finds it full takes it at once.
constexpr uint64_t kMostRoomBytes = 1 << 20;
// The looking thread sleeps until it is worth waking it.
constexpr uint64_t kWorthWakingBytes = 512 << 10;

}  // namespace

Result<std::unique_ptr<Intake>> Intake::Make(BufferPool& pool, const Options& options, Take take,
                                             std::function<void()> hurry) {
  auto ring = pool.Take(options.size_bytes);
  if (!ring) return ring.error();
  return std::unique_ptr<Intake>(
      new Intake(options, std::move(take), std::move(hurry), std::move(*ring)));
}

Intake::Intake(const Options& options, Take take, std::function<void()> hurry, Buffer ring)
    : options_(options),
      take_(std::move(take)),
      hurry_(std::move(hurry)),
      ring_(std::move(ring)),
      ring_bytes_(ring_.size_bytes() / kPageBytes * kPageBytes) {
  looker_ = std::thread([this] { LookLoop(); });
}

Intake::~Intake() {
  Abandon();
  ::explicit_bzero(ring_.data(), most_filled_);
}

void Intake::Abandon() {
  shared_.Lock()->abandoned = true;
  Stop();
}

void Intake::Stop() {
  work_.notify_all();
  if (looker_.joinable()) looker_.join();
}

void Intake::Hurry() {
  if (hurried_) return;
  hurried_ = true;
  yielding_.Hurry();
  hurry_();
}

Result<MutableBytes> Intake::Room() {
  auto free = [&](const Shared& shared) {
    return ring_bytes_ - (shared.filled - shared.free_to());
  };
  auto shared = shared_.Lock();
  if (free(*shared) == 0 && !shared->failed) {
    // From here on it is the looking that the job waits for.
    shared->full = true;
    Hurry();
    work_.notify_one();
    shared.Wait(room_, [&] { return shared->failed || free(*shared) > 0; });
    shared->full = false;
  }
  if (shared->failed) return *shared->failed;
  uint64_t at = shared->filled % ring_bytes_;
  return MutableBytes(ring_.data() + at,
                      std::min({free(*shared), ring_bytes_ - at, kMostRoomBytes}));
}

void Intake::Submit(StreamState& stream, size_t pages) {
  if (pages == 0) return;
  size_t size_bytes = pages * kPageBytes;
  bool worth_waking;
  {
    auto shared = shared_.Lock();
    most_filled_ = std::max(most_filled_, shared->filled % ring_bytes_ + size_bytes);
    // Two runs that follow each other are one, unless the first is too large already.
    Run* last = shared->runs.empty() ? nullptr : &shared->runs.back();
    if (last != nullptr && last->stream == &stream && shared->filled % ring_bytes_ != 0 &&
        last->size_bytes < kWorthWakingBytes)
      last->size_bytes += size_bytes;
    else
      shared->runs.push_back({&stream, shared->filled, size_bytes});
    shared->filled += size_bytes;
    worth_waking = shared->filled - shared->taken >= kWorthWakingBytes;
  }
  if (worth_waking) work_.notify_one();
}

Result<void> Intake::Drain() {
  Hurry();
  shared_.Lock()->draining = true;
  Stop();
  auto shared = shared_.Lock();
  if (shared->failed) return *shared->failed;
  return {};
}

template <typename Change>
void Intake::Free(Change change) {
  bool waited_for;
  {
    auto shared = shared_.Lock();
    change(*shared);
    waited_for = shared->full;
  }
  if (waited_for) room_.notify_one();
}

void Intake::Hold(const uint8_t* page) {
  const uint8_t* start = ring_.data() + run_.start % ring_bytes_;
  shared_.Lock()->held.push_back(run_.start + static_cast<uint64_t>(page - start));
}

void Intake::LetGoLast() {
  Free([](Shared& shared) { shared.held.pop_back(); });
}

void Intake::LetGoFirst() {
  Free([](Shared& shared) { shared.held.pop_front(); });
}

void Intake::LookLoop() {
  if (options_.yield_to_reading) yielding_.Begin();
  for (;;) {
    {
      auto shared = shared_.Lock();
      shared.Wait(work_, [&] {
        bool worth_it = shared->full || shared->filled - shared->taken >= kWorthWakingBytes;
        return shared->abandoned || shared->draining || (worth_it && !shared->runs.empty());
      });
      if (shared->abandoned || shared->runs.empty()) break;
      run_ = shared->runs.front();
      shared->runs.pop_front();
    }
    auto taken = take_(*run_.stream, {ring_.data() + run_.start % ring_bytes_, run_.size_bytes});
    Free([&](Shared& shared) {
      shared.taken = run_.start + run_.size_bytes;
      if (!taken) shared.failed = taken.error();
    });
    if (!taken) break;
  }
  yielding_.Leave();
}

}  // namespace ckptfs
