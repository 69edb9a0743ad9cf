// Activations as matrices want them, in tiles of columns; and panels times tiles.
#pragma once

#include <cstdint>

#include "hadal/base/check.h"
#include "hadal/kernels/cpu/kernels.h"
#include "hadal/kernels/cpu/panel.h"
#include "hadal/tensor/view.h"

namespace hadal::kernels::cpu {

// Up to kTileColumns rows of activations.
struct Tile {
  int32_t columns = 0;
  // What the matrices want of them, else null.
  const ActBlock* blocks = nullptr;      // [cols / 32][columns]
  const ActQuarter* quarters = nullptr;  // [cols / 64][columns]
  const float* const* rows = nullptr;    // [columns] of [padded_columns(cols)]
};

// Room for a row of floats and, behind it, the same row in BF16, for sets whose kernels read that.
constexpr int64_t row_floats(int64_t padded) { return padded + padded / 2; }
inline uint16_t* rounded_row(float* row, int64_t padded) {
  return reinterpret_cast<uint16_t*>(row + padded);
}

inline int64_t tile_count(int64_t rows) { return (rows + kTileColumns - 1) / kTileColumns; }
inline int32_t tile_columns(int64_t rows, int64_t tile) {
  const int64_t left = rows - tile * kTileColumns;
  return static_cast<int32_t>(left < kTileColumns ? left : kTileColumns);
}

// acc[c][r], [columns][16] = row 16 panel + r of the matrix times column c. Rows beyond the matrix
// give 0.
void multiply_panel(const KernelTable& kernels, const PanelMatrix& matrix, int64_t panel,
                    const Tile& tile, float* acc);

// Two panels of one tile, both of one matrix, the first an even one, or of an expert's gate and up:
// together where they are partners (panel.h). The bits are those of multiply_panel. `next`: which
// weights this thread will read then.
void multiply_panels(const KernelTable& kernels, const PanelMatrix& first, int64_t first_panel,
                     const PanelMatrix& second, int64_t second_panel, const std::byte* next,
                     const Tile& tile, float* acc_first, float* acc_second);

// Panels [begin, end) times a tile, two at a time: store(acc, panel) in ascending order. `begin` is
// even. `next`: which weights this thread will read then; null: those behind these.
template <class Store>
void project_panels(const KernelTable& kernels, const PanelMatrix& matrix, int64_t begin,
                    int64_t end, const std::byte* next, const Tile& tile, const Store& store) {
  constexpr int64_t kAcc = kTileColumns * kPanelRows;
  alignas(64) float acc[2 * kAcc];
  HADAL_CHECK(begin % 2 == 0);  // partners
  for (; begin + 2 <= end; begin += 2) {
    const bool last = begin + 3 >= end && next != nullptr;
    multiply_panels(kernels, matrix, begin, matrix, begin + 1,
                    last ? next : matrix.panel(begin + 2), tile, acc, acc + kAcc);
    store(acc, begin);
    store(acc + kAcc, begin + 1);
  }
  if (begin == end) return;
  multiply_panel(kernels, matrix, begin, tile, acc);
  store(acc, begin);
}

// The activations of a batch, laid out once and read by every projection.
class Batch {
 public:
  // What the matrices that will meet it are.
  struct Needs {
    bool blocks = false, quarters = false, floats = false;
    bool copy = false;  // x is overwritten before every matrix has read it
    void add(const KernelTable& kernels, const PanelMatrix& matrix) {
      blocks |= matrix.wants == Activations::kBlocks;
      quarters |= matrix.wants == Activations::kSupers;
      floats |= matrix.wants == Activations::kFloats;
      copy |= matrix.wants == Activations::kFloats && kernels.reads_rounded;
    }
  };

  // Memory from `scratch`, valid until the enclosing frame ends. prepare() fills it.
  Batch(Scratch& scratch, ConstView x, const float* norm_weight, float norm_eps, Needs needs);

  // Rows [begin, end); any thread, each row once.
  void prepare(const KernelTable& kernels, Scratch& scratch, int64_t begin, int64_t end);

  int64_t tiles() const { return tile_count(x_.rows); }
  Tile tile(int64_t index) const;

 private:
  ConstView x_;
  const float* norm_weight_;
  float norm_eps_;
  ActBlock* blocks_ = nullptr;      // tile after tile
  ActQuarter* quarters_ = nullptr;  // tile after tile
  float* floats_ = nullptr;         // [rows][row_floats(padded)], or null: x itself serves
  const float** rows_ = nullptr;    // [rows]
};

}  // namespace hadal::kernels::cpu
