// How work is cut into pieces for the pool. Results do not depend on the cut.
#pragma once

#include <algorithm>
#include <cstdint>

#include "hadal/base/threads.h"

namespace hadal::kernels::cpu {

// Work on rows that costs about a microsecond each: a few are done at once by the caller, because
// waking the others would take as long.
template <class Body>
void for_rows(ThreadPool& pool, int64_t rows, const Body& body) {
  if (rows <= 2) return body(0, rows, 0);
  const int64_t grain = std::clamp<int64_t>(rows / (4 * pool.threads()), 1, 16);
  pool.parallel_for(static_cast<size_t>(rows), static_cast<size_t>(grain),
                    [&](size_t begin, size_t end, int thread) {
                      body(static_cast<int64_t>(begin), static_cast<int64_t>(end), thread);
                    });
}

// Panels in a piece: about 128 KB of weights, so that each thread reads long sequential runs, but
// enough pieces that a thread which was slowed down can be helped.
inline int64_t panels_per_unit(int64_t panels, uint64_t bytes_per_panel, int threads) {
  constexpr uint64_t kUnitBytes = uint64_t{128} << 10;
  const auto longest = static_cast<int64_t>(kUnitBytes / std::max<uint64_t>(1, bytes_per_panel));
  const int64_t fair = (panels + 8 * threads - 1) / (8 * threads);
  return std::max<int64_t>(1, std::min(longest, fair));
}

}  // namespace hadal::kernels::cpu
