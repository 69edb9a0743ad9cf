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

// Spins until done(), for some microseconds; whether it came to that.
template <class Done>
bool spin_until(const Done& done) {
  const auto until = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      if (done()) return true;
      cpu_relax();
    }
  } while (std::chrono::steady_clock::now() < until);
  return false;
}

// For those who have spun long enough. Whoever makes a wait end calls notify() afterwards, which
// costs one load where nobody is parked. Both sides first write and then read, in one order for
// all, so that one of them sees the other.
class Parking {
 public:
  template <class Done>
  void wait(const Done& done) {
    if (spin_until(done)) return;
    parked_.fetch_add(1, std::memory_order_seq_cst);
    for (;;) {
      const uint32_t old = bell_.load(std::memory_order_seq_cst);
      if (done()) break;
      bell_.wait(old, std::memory_order_acquire);
    }
    parked_.fetch_sub(1, std::memory_order_relaxed);
  }
  void notify() {
    if (parked_.load(std::memory_order_seq_cst) == 0) return;
    bell_.fetch_add(1, std::memory_order_seq_cst);
    bell_.notify_all();
  }

 private:
  std::atomic<uint32_t> parked_{0}, bell_{0};
};

}  // namespace

// One job at a time: the first pieces belong to the threads of the same number, further ones to
// whoever comes first. A worker claims its piece before it begins; when the caller has nothing left
// to do, it claims those that nobody has begun. So a worker that the host has not scheduled yet
// costs nothing: the others have done its share, which is what keeps a busy machine fast.
//
// A cache line takes 0.1 to 0.3 us to another core, as long as a small piece of work. So a job is
// one line, claim and end are one line of each worker, and nothing else is shared on the way.
struct ThreadPool::State {
  // The caller's: the job's number << 16 | pieces that belong to threads. What is behind it is
  // written while no worker has a claim.
  struct alignas(64) Job {
    std::atomic<uint64_t> word{0};
    const std::function<void(int)>* each = nullptr;
    const std::function<void(size_t, size_t, int)>* body = nullptr;  // without `each`
    size_t count = 0, grain = 1;
    bool more = false;  // there are further pieces: from `next`
  };
  // The last job that this worker's piece was claimed of << 1 | whether the worker is at it.
  struct alignas(64) Claim {
    std::atomic<uint64_t> word{0};
  };
  static constexpr int kOwnersBits = 16;
  static_assert(kThreadsMax < 1 << kOwnersBits);

  Job job;
  std::vector<Claim> claims;  // [threads]; the caller's is not used
  alignas(64) std::atomic<size_t> next{0};
  alignas(64) Parking for_jobs;
  Parking for_ends;  // the caller's
  std::atomic<bool> stopping{false};
  std::atomic<bool> busy{false};  // a job is under way
  std::vector<std::thread> workers;

  void do_piece(size_t piece, int thread) const {
    const size_t begin = piece * job.grain;
    (*job.body)(begin, std::min(job.count, begin + job.grain), thread);
  }
  void do_further_pieces(int thread) {
    if (!job.more) return;
    const size_t pieces = (job.count + job.grain - 1) / job.grain;
    for (size_t p; (p = next.fetch_add(1, std::memory_order_relaxed)) < pieces;) {
      do_piece(p, thread);
    }
  }

  // Whether the piece of `worker` was still to be had. `at_it`: by the worker itself.
  bool claim(size_t worker, uint64_t number, bool at_it) {
    std::atomic<uint64_t>& word = claims[worker].word;
    uint64_t last = word.load(std::memory_order_relaxed);
    return last >> 1 < number &&
           word.compare_exchange_strong(last, number << 1 | (at_it ? 1 : 0),
                                        std::memory_order_acq_rel, std::memory_order_relaxed);
  }

  void work(int thread) {
    std::atomic<uint64_t>& mine = claims[static_cast<size_t>(thread)].word;
    uint64_t seen = 0;
    for (;;) {
      for_jobs.wait([&] {
        return job.word.load(std::memory_order_seq_cst) != seen ||
               stopping.load(std::memory_order_seq_cst);
      });
      if (stopping.load(std::memory_order_relaxed)) return;
      seen = job.word.load(std::memory_order_acquire);
      const uint64_t number = seen >> kOwnersBits;
      const auto owners = static_cast<int>(seen & ((1u << kOwnersBits) - 1));
      if (thread >= owners || !claim(static_cast<size_t>(thread), number, true)) continue;
      if (job.each != nullptr) {
        (*job.each)(thread);
      } else {
        do_piece(static_cast<size_t>(thread), thread);
        do_further_pieces(thread);
      }
      mine.store(number << 1, std::memory_order_seq_cst);
      for_ends.notify();
    }
  }

  void begin() {
    HADAL_CHECK(!busy.exchange(true, std::memory_order_acquire),
                "parallel() inside parallel(), or from two threads at once");
  }

  // Calls the workers, does the caller's own share, and returns when all is done.
  void run(size_t owners) {
    const uint64_t number = (job.word.load(std::memory_order_relaxed) >> kOwnersBits) + 1;
    const uint64_t word = number << kOwnersBits | owners;
    if (job.each != nullptr) {
      job.word.store(word, std::memory_order_seq_cst);
      for_jobs.notify();
      (*job.each)(0);
    } else {
      // Without a fence, who falls asleep just now may miss it; then its share is done for it.
      job.word.store(word, std::memory_order_release);
      for_jobs.notify();
      do_piece(0, 0);
      do_further_pieces(0);
    }
    for (size_t worker = 1; worker < owners; ++worker) {
      if (job.each == nullptr && claim(worker, number, false)) {
        do_piece(worker, 0);
        continue;
      }
      const std::atomic<uint64_t>& last = claims[worker].word;
      for_ends.wait([&] { return last.load(std::memory_order_seq_cst) == number << 1; });
    }
    busy.store(false, std::memory_order_release);
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  HADAL_CHECK(threads >= 1 && threads <= kThreadsMax);
  state_->claims = std::vector<State::Claim>(static_cast<size_t>(threads));
  for (int i = 1; i < threads; ++i) state_->workers.emplace_back([this, i] { state_->work(i); });
}

ThreadPool::~ThreadPool() {
  state_->stopping.store(true, std::memory_order_seq_cst);
  state_->for_jobs.notify();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::parallel(const std::function<void(int)>& body) {
  State& state = *state_;
  state.begin();
  state.job.each = &body;
  state.run(static_cast<size_t>(threads()));
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
  const size_t pieces = (count + grain - 1) / grain;
  const size_t owners = std::min(pieces, static_cast<size_t>(threads()));
  state.job.each = nullptr;
  state.job.body = &body;
  state.job.count = count;
  state.job.grain = grain;
  state.job.more = pieces > owners;
  state.next.store(owners, std::memory_order_relaxed);
  state.run(owners);
}

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace hadal
