#include "agent/store/intake.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <thread>

#include "agent/store/unit_writer.h"

namespace ckptfs {
namespace {

constexpr uint64_t kRingBytes = 2 << 20;

uint64_t NumberOf(Bytes page) {
  uint64_t number;
  std::memcpy(&number, page.data(), sizeof number);
  return number;
}

class IntakeTest : public ::testing::Test {
 protected:
  std::unique_ptr<Intake> Make(Intake::Take take, bool yield = false) {
    auto made = Intake::Make(pool_, {.size_bytes = kRingBytes, .yield_to_reading = yield},
                             std::move(take), [this] { ++hurries_; });
    EXPECT_TRUE(made) << made.error().Text();
    return std::move(*made);
  }
  // Fills `pages` pages of a stream, each beginning with its number.
  static Result<void> Feed(Intake& intake, StreamState& stream, uint64_t* number, size_t pages) {
    while (pages > 0) {
      auto room = intake.Room();
      if (!room) return room.error();
      size_t count = std::min(pages, room->size() / kPageBytes);
      for (size_t i = 0; i < count; ++i, ++*number)
        std::memcpy(room->data() + i * kPageBytes, number, sizeof *number);
      intake.Submit(stream, count);
      pages -= count;
    }
    return {};
  }

  BufferPool pool_;
  int hurries_ = 0;
};

TEST_F(IntakeTest, PagesOfManyStreamsComeInTheirOrderOverTheRingsEnd) {
  struct Seen {
    StreamState* stream;
    uint64_t number;
  };
  std::vector<Seen> seen;
  auto intake = Make([&](StreamState& stream, Bytes pages) -> Result<void> {
    for (; !pages.empty(); pages = pages.subspan(kPageBytes))
      seen.push_back({&stream, NumberOf(pages)});
    return {};
  });
  StreamState first{.name = "first"}, second{.name = "second"};
  uint64_t number = 0;
  std::vector<StreamState*> expected;
  for (size_t round = 0; round < 200; ++round) {
    StreamState& stream = round % 3 == 0 ? second : first;
    size_t pages = 1 + round * 7 % 61;
    ASSERT_TRUE(Feed(*intake, stream, &number, pages));
    expected.insert(expected.end(), pages, &stream);
  }
  ASSERT_TRUE(intake->Drain());
  ASSERT_EQ(seen.size(), expected.size());
  for (size_t i = 0; i < seen.size(); ++i) {
    ASSERT_EQ(seen[i].number, i);
    ASSERT_EQ(seen[i].stream, expected[i]) << "page " << i;
  }
}

// As the writer does it: some frames are lent to another thread, which lets them go in their
// order and later; others are begun and then copied.
TEST_F(IntakeTest, WhatIsHeldStaysUntilItIsLetGo) {
  constexpr size_t kHeldPages = 7;
  struct Lent {
    const uint8_t* pages;
    uint64_t number;  // of the first
  };
  struct Queue {
    std::deque<Lent> lent;
    bool ended = false;
  };
  Guarded<Queue> queue;
  std::condition_variable changed;
  std::atomic<size_t> wrong{0}, let_go{0};
  Intake* intake = nullptr;
  auto sound = [](Bytes pages, uint64_t number) {
    for (; !pages.empty(); pages = pages.subspan(kPageBytes))
      if (NumberOf(pages) != number++) return false;
    return true;
  };
  uint64_t expected = 0;
  auto made = Make([&](StreamState&, Bytes pages) -> Result<void> {
    while (!pages.empty()) {
      size_t bytes = std::min(pages.size(), kHeldPages * kPageBytes);
      Bytes frame = pages.first(bytes);
      pages = pages.subspan(bytes);
      intake->Hold(frame.data());
      if (!sound(frame, expected)) ++wrong;
      if (expected % 5 < 2) {
        intake->LetGoLast();
      } else {
        queue.Lock()->lent.push_back({frame.data(), expected});
        changed.notify_one();
      }
      expected += bytes / kPageBytes;
    }
    return {};
  });
  intake = made.get();
  std::thread user([&] {
    for (;;) {
      Lent next;
      {
        auto held = queue.Lock();
        held.Wait(changed, [&] { return held->ended || !held->lent.empty(); });
        if (held->lent.empty()) return;
        next = held->lent.front();
        held->lent.pop_front();
      }
      if (NumberOf({next.pages, kPageBytes}) != next.number) ++wrong;
      intake->LetGoFirst();
      ++let_go;
    }
  });
  StreamState stream{.name = "s"};
  uint64_t number = 0;
  auto fed = Feed(*intake, stream, &number, 200 * kRingBytes / kPageBytes);
  auto drained = intake->Drain();
  queue.Lock()->ended = true;
  changed.notify_one();
  user.join();
  ASSERT_TRUE(fed && drained);
  EXPECT_EQ(expected, number);
  EXPECT_EQ(wrong, 0u);
  EXPECT_GT(let_go, 1000u);
}

TEST_F(IntakeTest, AYieldingLookerHurriesWhenThereIsNoRoomLeft) {
  std::atomic<size_t> taken{0};
  auto intake = Make(
      [&](StreamState&, Bytes pages) -> Result<void> {
        taken += pages.size();
        return {};
      },
      true);
  StreamState stream{.name = "s"};
  uint64_t number = 0;
  ASSERT_TRUE(Feed(*intake, stream, &number, 16 * kRingBytes / kPageBytes));
  ASSERT_TRUE(intake->Drain());
  EXPECT_EQ(taken, 16 * kRingBytes);
  EXPECT_EQ(hurries_, 1);
}

TEST_F(IntakeTest, WhatTheLookerSaysEndsTheReading) {
  auto intake = Make(
      [](StreamState&, Bytes) -> Result<void> { return Fail(Errc::kNoSpace, "the disk is full"); });
  StreamState stream{.name = "s"};
  uint64_t number = 0;
  auto fed = Feed(*intake, stream, &number, 16 * kRingBytes / kPageBytes);
  ASSERT_FALSE(fed);
  EXPECT_EQ(fed.error().code(), Errc::kNoSpace);
  auto drained = intake->Drain();
  ASSERT_FALSE(drained);
  EXPECT_EQ(drained.error().code(), Errc::kNoSpace);
}

TEST_F(IntakeTest, AnAbandonedOneEndsAndLeavesNoPageBehind) {
  StreamState stream{.name = "s"};
  uint64_t number = 1;
  {
    auto intake = Make([](StreamState&, Bytes) -> Result<void> { return {}; });
    ASSERT_TRUE(Feed(*intake, stream, &number, 300));
  }
  auto again = pool_.Take(kRingBytes);
  ASSERT_TRUE(again);
  EXPECT_TRUE(std::all_of(again->data(), again->data() + again->size_bytes(),
                          [](uint8_t byte) { return byte == 0; }));
}

}  // namespace
}  // namespace ckptfs
