#include "hadal/base/threads.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "hadal/base/check.h"

namespace hadal {
namespace {

// Long enough to bridge the serial code between two operations of a layer, short enough that an
// idle service shows 0 % CPU.
constexpr auto kSpin = std::chrono::microseconds(50);

inline void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Waits until word != old, spinning first.
void wait_changed(const std::atomic<uint32_t>& word, uint32_t old) {
  const auto until = std::chrono::steady_clock::now() + kSpin;
  while (std::chrono::steady_clock::now() < until) {
    for (int i = 0; i < 64; ++i) {
      if (word.load(std::memory_order_acquire) != old) return;
      cpu_relax();
    }
  }
  while (word.load(std::memory_order_acquire) == old) word.wait(old, std::memory_order_acquire);
}

}  // namespace

struct ThreadPool::State {
  std::vector<std::thread> workers;
  std::atomic<uint32_t> generation{0};  // a new one is a new piece of work
  std::atomic<uint32_t> running{0};     // workers that have not finished this generation
  std::atomic<bool> stopping{false};
  std::atomic<bool> busy{false};  // a call of parallel() is under way
  const std::function<void(int)>* body = nullptr;

  void work(int thread) {
    uint32_t seen = 0;
    for (;;) {
      wait_changed(generation, seen);
      seen = generation.load(std::memory_order_acquire);
      if (stopping.load(std::memory_order_relaxed)) return;
      (*body)(thread);
      if (running.fetch_sub(1, std::memory_order_acq_rel) == 1) running.notify_one();
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  HADAL_CHECK(threads >= 1);
  for (int i = 1; i < threads; ++i) state_->workers.emplace_back([this, i] { state_->work(i); });
}

ThreadPool::~ThreadPool() {
  state_->stopping.store(true, std::memory_order_relaxed);
  state_->generation.fetch_add(1, std::memory_order_release);
  state_->generation.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::parallel(const std::function<void(int)>& body) {
  State& state = *state_;
  HADAL_CHECK(!state.busy.exchange(true, std::memory_order_acquire),
              "parallel() inside parallel(), or from two threads at once");
  state.body = &body;
  state.running.store(static_cast<uint32_t>(state.workers.size()), std::memory_order_relaxed);
  if (!state.workers.empty()) {
    state.generation.fetch_add(1, std::memory_order_release);
    state.generation.notify_all();
  }
  body(0);
  for (uint32_t left; (left = state.running.load(std::memory_order_acquire)) != 0;) {
    wait_changed(state.running, left);
  }
  state.busy.store(false, std::memory_order_release);
}

void ThreadPool::parallel_for(size_t count, size_t grain,
                              const std::function<void(size_t, size_t, int)>& body) {
  HADAL_CHECK(grain > 0);
  if (count <= grain || threads() == 1) {
    for (size_t begin = 0; begin < count; begin += std::min(grain, count - begin)) {
      body(begin, begin + std::min(grain, count - begin), 0);
    }
    return;
  }
  std::atomic<size_t> next{0};
  parallel([&](int thread) {
    for (size_t begin; (begin = next.fetch_add(grain, std::memory_order_relaxed)) < count;) {
      body(begin, std::min(count, begin + grain), thread);
    }
  });
}

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace hadal
