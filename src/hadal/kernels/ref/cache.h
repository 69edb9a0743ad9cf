// Paged caches, one row at a time, and the rotation of rows; see op/attention.h for the layouts.
#pragma once

#include <cstdint>
#include <vector>

#include "hadal/kernels/op/attention.h"

namespace hadal::kernels::ref {

// Rounds values[0, width) to the cache's type and stores them as position `position` of the
// segment.
void write_cache(const CachePages& cache, const Segment& segment, int64_t position,
                 const double* values);

// The stored row.
std::vector<float> read_cache(const CachePages& cache, const Segment& segment, int64_t position);

// Turns x[0, rope.dims) by the angles of batch row `row`.
void rotate(const RopeRows& rope, int64_t row, double* x);

// scores become softmax(scores).
void softmax(std::vector<double>& scores);

}  // namespace hadal::kernels::ref
