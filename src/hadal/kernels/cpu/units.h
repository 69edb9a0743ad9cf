// How work is cut into pieces for the pool. Results do not depend on the cut.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "hadal/base/threads.h"

namespace hadal::kernels::cpu {

// Sharing work out costs the caller one to three microseconds, and the others' caches what it
// wrote: what takes less than about twice that it does alone. Below, in bytes of weights that a
// thread streams meanwhile.
inline constexpr uint64_t kBytesAlone = uint64_t{256} << 10;
// The same in numbers of rows that are normalised or rounded, and in multiply-adds of floats.
inline constexpr int64_t kNumbersAlone = int64_t{16} << 10;
inline constexpr int64_t kFloatMaddsAlone = int64_t{128} << 10;

// `bytes` of weights times `columns` rows of activations, as bytes that take as long to stream.
constexpr uint64_t streamed_bytes(uint64_t bytes, int64_t columns) {
  return bytes + bytes / 8 * static_cast<uint64_t>(columns);
}

// Work on rows of `cols` numbers, each of which is passed over a few times.
template <class Body>
void for_rows(ThreadPool& pool, int64_t rows, int64_t cols, const Body& body) {
  if (rows * cols <= kNumbersAlone) return body(0, rows, 0);
  const int64_t grain = std::clamp<int64_t>(rows / (4 * pool.threads()), 1, 16);
  pool.parallel_for(static_cast<size_t>(rows), static_cast<size_t>(grain),
                    [&](size_t begin, size_t end, int thread) {
                      body(static_cast<int64_t>(begin), static_cast<int64_t>(end), thread);
                    });
}

// Runs body(begin, end, thread) over panels, or whatever else, [0, count) that lie one after
// another in memory. Each thread owns a contiguous share and takes it front to back, so that its
// stream of prefetches runs on from piece to piece (threads that alternate pieces of 128 KB read a
// sixth less a second); one that is done helps the others. Pieces begin at a quarter of what is
// left of a share, at most `longest` bytes, and shrink to `shortest`, so that nobody waits long at
// the end. Pieces begin at multiples of `step`.
struct PanelRun {
  int64_t count = 0;
  uint64_t bytes_each = 1;
  uint64_t longest = UINT64_MAX;
  uint64_t shortest = uint64_t{32} << 10;
  int64_t step = 2;
  uint64_t work = UINT64_MAX;  // in streamed_bytes(); little is not shared out
};

class PanelShares {
 public:
  PanelShares(const PanelRun& run, int threads);
  int shares() const { return shares_; }
  // The next piece of `share`, or false.
  bool take(int share, int64_t* begin, int64_t* end);

 private:
  int64_t rounded(int64_t panels) const { return (panels + step_ - 1) / step_ * step_; }

  static constexpr int kMaxShares = 64;
  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };
  Share share_[kMaxShares];
  int shares_;
  int64_t step_, shortest_, longest_;  // panels
};

template <class Body>
void for_panels(ThreadPool& pool, const PanelRun& run, const Body& body) {
  if (run.count == 0) return;
  if (run.work < kBytesAlone) return body(0, run.count, 0);
  PanelShares shares(run, pool.threads());
  const int count = shares.shares();
  pool.parallel_for(static_cast<size_t>(count), 1, [&](size_t first, size_t, int thread) {
    int64_t begin, end;
    for (int i = 0; i < count; ++i) {
      const int share = static_cast<int>((first + static_cast<size_t>(i)) % count);
      while (shares.take(share, &begin, &end)) body(begin, end, thread);
    }
  });
}

// Where a piece is read once for each tile of columns, it should stay in the second-level cache.
constexpr uint64_t piece_bytes(int64_t tiles) {
  return tiles <= 1 ? UINT64_MAX : uint64_t{128} << 10;
}

}  // namespace hadal::kernels::cpu
