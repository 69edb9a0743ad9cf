#include "hadal/base/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <numeric>
#include <thread>
#include <vector>

namespace hadal {
namespace {

class ThreadPoolTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1, 2, 3, 8));

TEST_P(ThreadPoolTest, RunsTheBodyOnceOnEveryThread) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.threads(), GetParam());
  std::vector<int> runs(static_cast<size_t>(GetParam()));
  std::vector<std::thread::id> ids(runs.size());
  pool.parallel([&](int thread) {
    ++runs[static_cast<size_t>(thread)];
    ids[static_cast<size_t>(thread)] = std::this_thread::get_id();
  });
  EXPECT_EQ(runs, std::vector<int>(runs.size(), 1));
  EXPECT_EQ(ids[0], std::this_thread::get_id());
  for (size_t i = 1; i < ids.size(); ++i) {
    for (size_t j = 0; j < i; ++j) EXPECT_NE(ids[i], ids[j]);
  }
}

// Plain ints: what one call's workers wrote, the next call's workers and the caller must see. Under
// the thread sanitizer this is the test of the pool's memory order.
TEST_P(ThreadPoolTest, ManyTinyCallsSeeEachOthersWrites) {
  ThreadPool pool(GetParam());
  std::vector<int> counts(static_cast<size_t>(GetParam()));
  int total = 0;
  constexpr int kCalls = 5'000;
  for (int call = 0; call < kCalls; ++call) {
    pool.parallel([&](int thread) {
      // Each thread extends its neighbour's count of the call before.
      const size_t mine = static_cast<size_t>(thread + call) % counts.size();
      ++counts[mine];
    });
    total = std::accumulate(counts.begin(), counts.end(), 0);
    ASSERT_EQ(total, (call + 1) * GetParam());
  }
}

TEST_P(ThreadPoolTest, WakesParkedWorkers) {
  ThreadPool pool(GetParam());
  for (int i = 0; i < 20; ++i) {
    std::atomic<int> runs{0};
    pool.parallel([&](int) { ++runs; });
    EXPECT_EQ(runs, GetParam());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // beyond the spinning
  }
}

TEST_P(ThreadPoolTest, WaitsForTheSlowestWorker) {
  ThreadPool pool(GetParam());
  std::atomic<int> finished{0};
  pool.parallel([&](int thread) {
    if (thread > 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ++finished;
  });
  EXPECT_EQ(finished, GetParam());
}

TEST_P(ThreadPoolTest, ForCoversEachIndexExactlyOnceInBoundedPieces) {
  ThreadPool pool(GetParam());
  for (const size_t count : {0u, 1u, 2u, 7u, 64u, 1000u, 1001u}) {
    for (const size_t grain : {1u, 2u, 3u, 7u, 64u, 1000u, 5000u}) {
      std::vector<std::atomic<int>> seen(count);
      std::atomic<bool> bounded{true};
      pool.parallel_for(count, grain, [&](size_t begin, size_t end, int thread) {
        if (begin >= end || end - begin > grain || end > count) bounded = false;
        if (thread < 0 || thread >= GetParam()) bounded = false;
        for (size_t i = begin; i < end; ++i) ++seen[i];
      });
      EXPECT_TRUE(bounded) << count << " by " << grain;
      for (size_t i = 0; i < count; ++i)
        ASSERT_EQ(seen[i], 1) << i << " of " << count << " by " << grain;
    }
  }
}

TEST_P(ThreadPoolTest, CanBeMadeAndDestroyedAtAnyMoment) {
  for (int i = 0; i < 100; ++i) {
    ThreadPool pool(GetParam());
    if (i % 2 == 0) pool.parallel([](int) {});
  }
}

double process_cpu_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Seven workers that spun for these 0.3 s would use most of every core. The bound is about parking,
// not about speed.
TEST(ThreadPool, AnIdlePoolUsesNoCpu) {
  ThreadPool pool(8);
  pool.parallel([](int) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const double before = process_cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(process_cpu_seconds() - before, 0.1);
}

TEST(ThreadPoolDeathTest, NestedCallsAndNoThreadsAreBugs) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const int threads : {1, 2}) {
    EXPECT_DEATH(
        {
          ThreadPool pool(threads);
          pool.parallel([&](int thread) {
            if (thread == 0) pool.parallel([](int) {});
          });
        },
        "inside parallel");
  }
  EXPECT_DEATH(ThreadPool(0), "threads >= 1");
}

TEST(UsableCores, AreAtLeastOneAndAtMostTheMachines) {
  EXPECT_GE(usable_cores(), 1);
  EXPECT_LE(usable_cores(), static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace hadal
