#include "hadal/gateway/budget_book.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "hadal/base/rng.h"

namespace hadal::gateway {
namespace {

std::shared_ptr<BudgetBook> open(const std::string& path) {
  auto book = BudgetBook::open(path);
  EXPECT_TRUE(book) << book.error().what;
  return *book;
}

std::string fresh(const char* name) {
  const std::string path = testing::TempDir() + name;
  for (const char* end : {"", "-wal", "-shm"}) std::remove((path + end).c_str());
  return path;
}

TEST(BudgetBook, HoldsSettlesAndRemembers) {
  const std::string path = fresh("budget_book.db");
  {
    const auto book = open(path);
    EXPECT_TRUE(*book->hold("cloud", 600, 60, 100));
    EXPECT_FALSE(*book->hold("cloud", 600, 41, 100));
    EXPECT_TRUE(*book->hold("other", 600, 100, 100));
    EXPECT_TRUE(*book->hold("cloud", 601, 100, 100)) << "another month";
    EXPECT_TRUE(book->settle("cloud", 600, 60, 10));
    EXPECT_TRUE(*book->hold("cloud", 600, 90, 100));
  }
  const auto book = open(path);  // as after kill -9: what was held still is
  const auto state = book->state("cloud", 600);
  EXPECT_EQ(state->spent, 10);
  EXPECT_EQ(state->held, 90);
  EXPECT_FALSE(*book->hold("cloud", 600, 1, 100));
  EXPECT_TRUE(*book->hold("cloud", 600, 1, 101)) << "the operator gave more";
}

TEST(BudgetBook, AHoldThatGoesIsSpent) {
  const auto book = open(fresh("budget_hold.db"));
  for (const bool settled : {true, false}) {
    ASSERT_TRUE(*book->hold("cloud", 1, 50, 1'000));
    BudgetHold hold(book, "cloud", 1, 50);
    if (settled) {
      EXPECT_TRUE(hold.settle(20));
      EXPECT_TRUE(hold.settle(999)) << "counts once";
    }
  }
  EXPECT_EQ(book->state("cloud", 1)->spent, 20 + 50);
  EXPECT_EQ(book->state("cloud", 1)->held, 0);
}

TEST(BudgetBook, IsNeverExceededByMany) {
  const std::string path = fresh("budget_many.db");
  constexpr int64_t kLimit = 1'000;
  std::atomic<int64_t> spent{0}, over{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const auto book = open(path);  // a connection of its own, as another process has
      Rng rng(7, t);
      for (int i = 0; i < 60; ++i) {
        const auto most = static_cast<int64_t>(rng.next() % 50 + 1);
        const auto held = book->hold("cloud", 1, most, kLimit);
        ASSERT_TRUE(held) << held.error().what;
        if (!*held) continue;
        const auto state = book->state("cloud", 1);
        if (state->spent + state->held > kLimit) ++over;
        const auto used = static_cast<int64_t>(rng.next() % static_cast<uint64_t>(most + 1));
        ASSERT_TRUE(book->settle("cloud", 1, most, used));
        spent += used;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(over, 0);
  EXPECT_LE(spent, kLimit);
  EXPECT_GT(spent, kLimit / 2);
  const auto state = open(path)->state("cloud", 1);
  EXPECT_EQ(state->spent, spent);
  EXPECT_EQ(state->held, 0);
}

}  // namespace
}  // namespace hadal::gateway
