// Rows of a cache: where they lie, and how they are written.
#include "hadal/base/check.h"
#include "hadal/kernels/cpu/attention_core.h"

namespace hadal::kernels::cpu {

PartForm part_form(const CachePages& pages) {
  return {pages.dtype, pages.width / pages.parts, pages.dtype == DType::kI8 ? pages.fine : 0};
}

void store_cache_row(CpuContext& context, const CachePages& pages, const Segment& segment,
                     int64_t position, float* x) {
  const AttentionKernels& kernels = attention_kernels(context.isa);
  const PartForm form = part_form(pages);
  const auto bytes = static_cast<int64_t>(cache_row_bytes(pages)) / pages.parts;
  std::byte* target = cache_row(pages, segment, position);
  for (int32_t part = 0; part < pages.parts; ++part, x += form.count, target += bytes) {
    if (form.dtype == DType::kI8) kernels.hadamard(x, form.coarse());
    kernels.store_row(form, x, target);
  }
}

std::byte* cache_row(const CachePages& pages, const Segment& segment, int64_t position) {
  const int64_t page = position / pages.page_tokens;
  HADAL_CHECK(page < static_cast<int64_t>(segment.blocks.size()));
  const int64_t slot = position % pages.page_tokens;
  const int64_t row = static_cast<int64_t>(segment.blocks[page]) * pages.page_tokens + slot;
  return pages.data + row * cache_row_bytes(pages);
}

void rotate(const RopeRows& rope, int64_t row, float* x) {
  const int64_t pairs = rope.dims / 2;
  const float* cos = rope.cos + row * pairs;
  const float* sin = rope.sin + row * pairs;
  const int64_t step = rope.style == RopeStyle::kInterleaved ? 2 : 1;
  const int64_t other = rope.style == RopeStyle::kInterleaved ? 1 : pairs;
  for (int64_t j = 0; j < pairs; ++j) {
    const float a = x[step * j];
    const float b = x[step * j + other];
    x[step * j] = a * cos[j] - b * sin[j];
    x[step * j + other] = a * sin[j] + b * cos[j];
  }
}

}  // namespace hadal::kernels::cpu
