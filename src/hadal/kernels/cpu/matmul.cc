#include "hadal/kernels/cpu/matmul.h"

#include <algorithm>
#include <cstring>

#include "hadal/base/check.h"
#include "hadal/kernels/cpu/panel.h"
#include "hadal/kernels/cpu/store.h"
#include "hadal/kernels/cpu/tiles.h"

namespace hadal::kernels::cpu {

CpuContext::CpuContext(ThreadPool& threads, Isa set, bool has_bf16_dots)
    : pool(threads),
      isa(set),
      bf16_dots(has_bf16_dots),
      kernels(set == Isa::kAvx512Bf16 ? avx512_bf16_kernels()
              : set == Isa::kAvx512   ? avx512_kernels()
                                      : avx2_kernels()),
      scratch(static_cast<size_t>(threads.threads())) {}

void multiply_panel(const KernelTable& kernels, const PanelMatrix& matrix, int64_t panel,
                    const Tile& tile, float* acc) {
  const std::byte* data = matrix.panel(panel);
  const auto type = static_cast<size_t>(matrix.dtype);
  const PanelStride& stride = matrix.stride(panel);
  if (matrix.wants == Activations::kBlocks) {
    return kernels.integer[type](data, stride, matrix.cols, tile.blocks, tile.columns, acc);
  }
  if (matrix.wants == Activations::kSupers) {
    return kernels.super[type](data, stride, matrix.cols, tile.quarters, tile.columns, acc);
  }
  const float* scales = matrix.scales;
  if (scales != nullptr) scales += panel * kPanelRows / 128 * ((matrix.cols + 127) / 128);
  kernels.floating[type](data, scales, padded_columns(matrix.cols), tile.rows, tile.columns, acc);
}

void multiply_panels(const KernelTable& kernels, const PanelMatrix& first, int64_t first_panel,
                     const PanelMatrix& second, int64_t second_panel, const std::byte* next,
                     const Tile& tile, float* acc_first, float* acc_second) {
  // Panels of one integer type that meet here are partners.
  if (first.wants != Activations::kFloats && first.dtype == second.dtype) {
    const PanelPair pair{first.panel(first_panel), next};
    const auto type = static_cast<size_t>(first.dtype);
    if (first.wants == Activations::kBlocks) {
      return kernels.integer_pair[type](pair, first.cols, tile.blocks, tile.columns, acc_first,
                                        acc_second);
    }
    return kernels.super_pair[type](pair, first.cols, tile.quarters, tile.columns, acc_first,
                                    acc_second);
  }
  multiply_panel(kernels, first, first_panel, tile, acc_first);
  multiply_panel(kernels, second, second_panel, tile, acc_second);
}

Batch::Batch(Scratch& scratch, ConstView x, const float* norm_weight, float norm_eps, Needs needs)
    : x_(x), norm_weight_(norm_weight), norm_eps_(norm_eps) {
  if (needs.blocks) blocks_ = scratch.take<ActBlock>(x.rows * (x.cols / kBlock));
  if (needs.quarters) quarters_ = scratch.take<ActQuarter>(x.rows * (x.cols / kQuarterColumns));
  if (!needs.floats) return;
  rows_ = scratch.take<const float*>(x.rows);
  const int64_t padded = padded_columns(x.cols);
  if (norm_weight != nullptr || needs.copy || padded != x.cols) {
    floats_ = scratch.take<float>(x.rows * row_floats(padded));
  }
  for (int64_t r = 0; r < x.rows; ++r) {
    rows_[r] = floats_ != nullptr ? floats_ + r * row_floats(padded) : x.row(r);
  }
}

void Batch::prepare(const KernelTable& kernels, Scratch& scratch, int64_t begin, int64_t end) {
  const Scratch::Frame frame(scratch);
  const int64_t cols = x_.cols;
  const int64_t padded = padded_columns(cols);
  float* spare =
      floats_ == nullptr && norm_weight_ != nullptr ? scratch.take<float>(cols) : nullptr;
  for (int64_t r = begin; r < end; ++r) {
    const float* h = x_.row(r);
    float* target = floats_ != nullptr ? floats_ + r * row_floats(padded) : spare;
    if (norm_weight_ != nullptr) {
      kernels.rms_norm_row(h, norm_weight_, norm_eps_, cols, target);
      h = target;
    } else if (target != nullptr) {
      std::copy_n(h, cols, target);
    }
    if (floats_ != nullptr) {
      std::fill(target + cols, target + padded, 0.0f);
      kernels.round_row(target, padded, rounded_row(target, padded));
    }
    const int64_t before = r / kTileColumns * kTileColumns;  // rows of earlier tiles
    const int32_t columns = tile_columns(x_.rows, r / kTileColumns);
    if (blocks_ != nullptr) {
      kernels.quantize_row(h, cols, blocks_ + before * (cols / kBlock) + r - before, columns);
    }
    if (quarters_ != nullptr) {
      ActQuarter* first = quarters_ + before * (cols / kQuarterColumns) + r - before;
      kernels.quantize_supers(h, cols, first, columns);
    }
  }
}

Tile Batch::tile(int64_t index) const {
  const int64_t first = index * kTileColumns;
  Tile tile;
  tile.columns = tile_columns(x_.rows, index);
  if (blocks_ != nullptr) tile.blocks = blocks_ + first * (x_.cols / kBlock);
  if (quarters_ != nullptr) tile.quarters = quarters_ + first * (x_.cols / kQuarterColumns);
  if (rows_ != nullptr) tile.rows = rows_ + first;
  return tile;
}

void multiply(CpuContext& context, int thread, const PackedMatrix& matrix, int64_t part,
              ConstView x, View out, bool add) {
  const PanelMatrix& panels = matrix.part(part);
  HADAL_CHECK(x.cols == panels.cols && out.cols == panels.rows && x.rows == out.rows);
  Scratch& scratch = context.scratch[thread];
  const Scratch::Frame frame(scratch);
  Batch::Needs needs;
  needs.add(context.kernels, panels);
  Batch batch(scratch, x, nullptr, 0.0f, needs);
  batch.prepare(context.kernels, scratch, 0, x.rows);
  for (int64_t t = 0; t < batch.tiles(); ++t) {
    const Tile tile = batch.tile(t);
    project_panels(context.kernels, panels, 0, panels.panels(), nullptr, tile,
                   [&](const float* acc, int64_t panel) {
                     store_panel(context.kernels, acc, tile.columns, panel, nullptr, add,
                                 t * kTileColumns, out);
                   });
  }
}

}  // namespace hadal::kernels::cpu
