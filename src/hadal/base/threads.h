// A pool for work that is split over cores within one step. One caller at a time; the caller works
// too.
//
// Threads: parallel() and parallel_for() are called by one thread at a time and not from inside a
// body (checked). A body must not throw. Between calls the workers spin for some microseconds and
// then park on a futex, so that an idle process uses no CPU.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace hadal {

class ThreadPool {
 public:
  static constexpr int kThreadsMax = 4096;

  // `threads` counts the caller: 1 means no workers. At least 1, at most kThreadsMax.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  // Runs body(thread) once on every thread, thread in [0, threads()); returns when all have
  // returned.
  void parallel(const std::function<void(int thread)>& body);

  // Runs body(begin, end, thread) over pieces of [0, count) of at most `grain`, taken from a shared
  // counter, so that a thread that the host slowed down takes fewer. Which thread takes which piece
  // is not fixed: a body's result must not depend on it. One piece, or one thread: in order, by the
  // caller.
  void parallel_for(size_t count, size_t grain,
                    const std::function<void(size_t begin, size_t end, int thread)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Cores that this process may run on (its affinity mask), at least 1.
int usable_cores();

}  // namespace hadal
