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

// One job at a time: pieces of [0, count) from a shared counter. A worker joins while the gate is
// open; the caller closes it when no piece is left and waits only for those who joined. So a worker
// that the host has not scheduled yet costs nothing: the others have done its share, which is what
// keeps a busy machine fast.
struct ThreadPool::State {
  static constexpr uint32_t kClosed = 1u << 31;

  std::vector<std::thread> workers;
  std::atomic<uint32_t> generation{0};  // a new one is a new job
  std::atomic<uint32_t> gate{kClosed};  // kClosed, and how many workers are inside
  std::atomic<bool> stopping{false};
  std::atomic<bool> busy{false};  // a job is under way

  // Written by the caller while nobody is inside. Either `each` is set, or the rest.
  uint32_t job = 0;  // the generation that it becomes
  const std::function<void(int)>* each = nullptr;
  std::atomic<uint32_t> left{0};  // workers that have not run `each` yet
  const std::function<void(size_t, size_t, int)>* body = nullptr;
  size_t count = 0, grain = 1;
  std::atomic<size_t> next{0};

  void do_share(int thread) {
    if (each == nullptr) return take_pieces(thread);
    (*each)(thread);
    if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) left.notify_one();
  }

  void take_pieces(int thread) {
    for (size_t begin; (begin = next.fetch_add(grain, std::memory_order_relaxed)) < count;) {
      (*body)(begin, std::min(count, begin + grain), thread);
    }
  }

  void work(int thread) {
    uint32_t seen = 0, done = 0;
    for (;;) {
      wait_changed(generation, seen);
      seen = generation.load(std::memory_order_acquire);
      if (stopping.load(std::memory_order_relaxed)) return;
      const bool open = (gate.fetch_add(1, std::memory_order_acq_rel) & kClosed) == 0;
      if (open && job != done) {  // late for one job, a worker may find the next one's gate
        done = job;
        do_share(thread);
      }
      if (gate.fetch_sub(1, std::memory_order_acq_rel) == (kClosed | 1)) gate.notify_one();
    }
  }

  void begin() {
    HADAL_CHECK(!busy.exchange(true, std::memory_order_acquire),
                "parallel() inside parallel(), or from two threads at once");
    job = generation.load(std::memory_order_relaxed) + 1;
  }

  // Lets the workers in, does the caller's own share, and returns when nobody is inside.
  void run() {
    if (!workers.empty()) {
      gate.fetch_and(~kClosed, std::memory_order_acq_rel);
      generation.fetch_add(1, std::memory_order_release);
      generation.notify_all();
    }
    if (each != nullptr) {
      (*each)(0);
      for (uint32_t n; (n = left.load(std::memory_order_acquire)) != 0;) wait_changed(left, n);
    } else {
      take_pieces(0);
    }
    uint32_t inside = gate.fetch_or(kClosed, std::memory_order_acq_rel) | kClosed;
    while (inside != kClosed) {
      wait_changed(gate, inside);
      inside = gate.load(std::memory_order_acquire);
    }
    busy.store(false, std::memory_order_release);
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
  state.begin();
  state.each = &body;
  state.left.store(static_cast<uint32_t>(state.workers.size()), std::memory_order_relaxed);
  state.run();
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
  State& state = *state_;
  state.begin();
  state.each = nullptr;
  state.body = &body;
  state.count = count;
  state.grain = grain;
  state.next.store(0, std::memory_order_relaxed);
  state.run();
}

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace hadal
