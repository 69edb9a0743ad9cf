// Non-owning matrices of activations. A view says where its numbers live: model code passes views
// from one operation to the next and never looks inside, so that a device may hold them.
#pragma once

#include <cstdint>

#include "hadal/base/check.h"

namespace hadal {

enum class Device : uint8_t { kCpu, kCuda };

// Row-major float32, `rows` rows of `cols`, consecutive rows `stride` elements apart (>= cols).
template <class T>
struct BasicView {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;
  Device device = Device::kCpu;

  T* row(int64_t r) const { return data + r * stride; }
  // Columns [begin, begin + count) of every row.
  BasicView columns(int64_t begin, int64_t count) const {
    HADAL_DCHECK(begin >= 0 && begin + count <= cols);
    return {data + begin, rows, count, stride, device};
  }
  BasicView first_rows(int64_t count) const {
    HADAL_DCHECK(count <= rows);
    return {data, count, cols, stride, device};
  }
  BasicView some_rows(int64_t begin, int64_t end) const {
    HADAL_DCHECK(begin >= 0 && begin <= end && end <= rows);
    return {row(begin), end - begin, cols, stride, device};
  }
  operator BasicView<const T>() const { return {data, rows, cols, stride, device}; }
};
// A stride for rows of `cols` floats that are written a few columns at a time, all rows in turn: an
// odd number of cache lines, so that such columns do not meet in a few sets of the caches.
constexpr int64_t spread_stride(int64_t cols) {
  constexpr int64_t kLineFloats = 16;
  return ((cols + kLineFloats - 1) / kLineFloats | 1) * kLineFloats;
}

using View = BasicView<float>;
using ConstView = BasicView<const float>;

}  // namespace hadal
