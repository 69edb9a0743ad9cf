// Rows of a batch by segments: what attention does to each row before any is attended to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "hadal/base/threads.h"
#include "hadal/kernels/op/attention.h"

namespace hadal::kernels::cpu {

// Runs body(segment, i) once for row i of every segment, on the pool's threads: many sequences with
// a row each are shared out as one prompt's rows are.
template <class Body>
void each_segment_row(ThreadPool& pool, std::span<const Segment> segments, const Body& body) {
  constexpr size_t kGrain = 8;
  std::vector<size_t> ends;
  size_t rows = 0;
  for (const Segment& segment : segments) {
    rows += static_cast<size_t>(segment.rows);
    ends.push_back(rows);
  }
  pool.parallel_for(rows, kGrain, [&](size_t begin, size_t end, int) {
    auto at = static_cast<size_t>(std::ranges::upper_bound(ends, begin) - ends.begin());
    for (size_t row = begin; row < end; ++row) {
      while (row >= ends[at]) ++at;
      const auto before = ends[at] - static_cast<size_t>(segments[at].rows);
      body(segments[at], static_cast<int64_t>(row - before));
    }
  });
}

}  // namespace hadal::kernels::cpu
