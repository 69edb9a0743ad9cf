// SwiGLU blocks, dense and mixtures of experts, as one procedure over groups: a group is one expert
// (or the shared one, last) and the rows that go to it.
//
// clang-format off
//   rows      norm, router, choice                                    by rows
//   regroup   the rows of each expert become its tiles                by groups
//   up        silu(gate h) * (up h), in blocks of 32 at once          by pairs of panels, all groups
//   round     super-blocks of 256, where `down` wants them            by rows
//   down      out += weight * down(...)                               by panels of `hidden`
// clang-format on
//
// In the last phase a thread owns output columns and goes through the groups in ascending order, so
// contributions meet in one order and no two threads meet at all.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <span>
#include <vector>

#include "hadal/base/check.h"
#include "hadal/kernels/cpu/gate.h"
#include "hadal/kernels/cpu/matmul.h"
#include "hadal/kernels/cpu/panel.h"
#include "hadal/kernels/cpu/tiles.h"
#include "hadal/kernels/cpu/units.h"

namespace hadal::kernels::cpu {
namespace {

// Two panels make one block of activations for `down`.
constexpr int64_t kPairRows = 2 * kPanelRows;
static_assert(kPairRows == kBlock);

constexpr int64_t kGateNumbers = 16;  // choosing by one expert's logit takes as long as so many

struct Group {
  const PanelMatrix* gate;
  const PanelMatrix* up;
  const PanelMatrix* down;
  int64_t first = 0;  // of entries
  int64_t count = 0;
};

class Experts {
 public:
  Experts(CpuContext& context, ConstView x, View out, int64_t inner)
      : context_(context), kernels_(context.kernels), x_(x), out_(out), inner_(inner) {
    HADAL_CHECK(out.rows == x.rows && out.cols == x.cols);
  }

  void add_group(const PackedFfn& ffn, int64_t index, std::span<const RowWeight> entries);
  // Rows normalised (or as they are) to h, and as blocks where a matrix wants them.
  void prepare_rows(const float* norm_weight, float norm_eps);
  const float* h(int64_t row) const { return h_ + row * row_floats(padded_); }
  void run();

  // Before prepare_rows: which form of rows the groups will want.
  void note(const PackedFfn& ffn);

 private:
  Tile input_tile(const Group& group, int64_t tile) const;
  Tile inner_tile(const Group& group, int64_t tile) const;
  void regroup();
  void regroup_tile(const Group& group, int64_t tile);
  void take_inner();
  std::vector<const Group*> up_order() const;
  void up_all();
  void up_pairs(const Group& group, int64_t begin, int64_t end, const std::byte* next,
                Scratch& scratch);
  void up_pair(const Group& group, int64_t tile, int64_t pair, const std::byte* next, float* acc);
  void round_inner();
  void down_panels(int64_t begin, int64_t end);
  int64_t most_tiles() const;

  CpuContext& context_;
  const KernelTable& kernels_;
  ConstView x_;
  View out_;
  int64_t inner_;
  int64_t padded_ = 0;        // of h
  Batch::Needs wants_;        // gate and up
  bool wants_inner_[3] = {};  // down, by Activations
  std::vector<Group> groups_;
  std::vector<RowWeight> entries_;
  float* h_ = nullptr;                  // [rows][row_floats(padded_)]
  ActBlock* row_blocks_ = nullptr;      // [rows][hidden / 32]
  ActQuarter* row_quarters_ = nullptr;  // [rows][hidden / 64]
  // By entry, a group's tiles one after another.
  ActBlock* blocks_ = nullptr;
  ActQuarter* quarters_ = nullptr;
  const float** floats_ = nullptr;
  ActBlock* inner_block_data_ = nullptr;
  ActQuarter* inner_quarters_ = nullptr;
  float** inner_rows_ = nullptr;  // of groups whose `down` wants floats or super-blocks
};

void Experts::note(const PackedFfn& ffn) {
  wants_.add(kernels_, ffn.gate(0));
  wants_.add(kernels_, ffn.up(0));
  wants_inner_[static_cast<int>(ffn.down(0).wants)] = true;
  inner_ = std::max(inner_, ffn.inner());
  HADAL_CHECK(ffn.hidden() == x_.cols);
}

void Experts::prepare_rows(const float* norm_weight, float norm_eps) {
  padded_ = padded_columns(x_.cols);
  h_ = context_.shared.take<float>(x_.rows * row_floats(padded_));
  const int64_t row_blocks = x_.cols / kBlock;
  const int64_t row_quarters = x_.cols / kQuarterColumns;
  if (wants_.blocks) row_blocks_ = context_.shared.take<ActBlock>(x_.rows * row_blocks);
  if (wants_.quarters) row_quarters_ = context_.shared.take<ActQuarter>(x_.rows * row_quarters);
  for_rows(context_.pool, x_.rows, x_.cols, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      float* row = h_ + r * row_floats(padded_);
      if (norm_weight != nullptr) {
        kernels_.rms_norm_row(x_.row(r), norm_weight, norm_eps, x_.cols, row);
      } else {
        std::copy_n(x_.row(r), x_.cols, row);
      }
      std::fill(row + x_.cols, row + padded_, 0.0f);
      if (wants_.floats) kernels_.round_row(row, padded_, rounded_row(row, padded_));
      if (wants_.blocks) kernels_.quantize_row(row, x_.cols, row_blocks_ + r * row_blocks, 1);
      if (wants_.quarters) {
        kernels_.quantize_supers(row, x_.cols, row_quarters_ + r * row_quarters, 1);
      }
    }
  });
}

void Experts::add_group(const PackedFfn& ffn, int64_t index, std::span<const RowWeight> entries) {
  groups_.push_back({&ffn.gate(index), &ffn.up(index), &ffn.down(index),
                     static_cast<int64_t>(entries_.size()), static_cast<int64_t>(entries.size())});
  entries_.insert(entries_.end(), entries.begin(), entries.end());
}

// Where a group of one row is that row itself, nothing is copied.
Tile Experts::input_tile(const Group& group, int64_t tile) const {
  const int64_t first = group.first + tile * kTileColumns;
  Tile result;
  result.columns = tile_columns(group.count, tile);
  if (wants_.blocks) {
    const int64_t row_blocks = x_.cols / kBlock;
    result.blocks = result.columns == 1 ? row_blocks_ + entries_[first].row * row_blocks
                                        : blocks_ + first * row_blocks;
  }
  if (wants_.quarters) {
    const int64_t row_quarters = x_.cols / kQuarterColumns;
    result.quarters = result.columns == 1 ? row_quarters_ + entries_[first].row * row_quarters
                                          : quarters_ + first * row_quarters;
  }
  if (wants_.floats) result.rows = floats_ + first;
  return result;
}

Tile Experts::inner_tile(const Group& group, int64_t tile) const {
  const int64_t first = group.first + tile * kTileColumns;
  Tile result;
  result.columns = tile_columns(group.count, tile);
  if (inner_block_data_ != nullptr) {
    result.blocks = inner_block_data_ + first * (inner_ / kBlock);
  }
  if (inner_quarters_ != nullptr) {
    result.quarters = inner_quarters_ + first * (inner_ / kQuarterColumns);
  }
  if (inner_rows_ != nullptr) result.rows = inner_rows_ + first;
  return result;
}

// A row's blocks become column c of a tile.
template <class T>
void spread(const T* row, int64_t count, int32_t columns, T* column) {
  for (int64_t b = 0; b < count; ++b) column[b * columns] = row[b];
}

void Experts::regroup_tile(const Group& group, int64_t tile) {
  const int64_t first = group.first + tile * kTileColumns;
  const int32_t columns = tile_columns(group.count, tile);
  const int64_t row_blocks = x_.cols / kBlock;
  const int64_t row_quarters = x_.cols / kQuarterColumns;
  for (int32_t c = 0; c < columns; ++c) {
    const int32_t row = entries_[first + c].row;
    if (wants_.floats) floats_[first + c] = h(row);
    if (columns == 1) continue;
    if (wants_.blocks) {
      spread(row_blocks_ + row * row_blocks, row_blocks, columns, blocks_ + first * row_blocks + c);
    }
    if (wants_.quarters) {
      spread(row_quarters_ + row * row_quarters, row_quarters, columns,
             quarters_ + first * row_quarters + c);
    }
  }
}

void Experts::take_inner() {
  const auto count = static_cast<int64_t>(entries_.size());
  Scratch& shared = context_.shared;
  const auto wants = [this](Activations form) { return wants_inner_[static_cast<int>(form)]; };
  if (wants(Activations::kBlocks)) {
    inner_block_data_ = shared.take<ActBlock>(count * (inner_ / kBlock));
  }
  if (wants(Activations::kSupers)) {
    inner_quarters_ = shared.take<ActQuarter>(count * (inner_ / kQuarterColumns));
  }
  if (!wants(Activations::kFloats) && !wants(Activations::kSupers)) return;
  inner_rows_ = shared.take<float*>(count);
  for (const Group& group : groups_) {
    if (group.down->wants == Activations::kBlocks) continue;
    const int64_t padded = padded_columns(group.down->cols);
    float* rows = shared.take<float>(group.count * row_floats(padded));
    for (int64_t i = 0; i < group.count; ++i) {
      inner_rows_[group.first + i] = rows + i * row_floats(padded);
    }
  }
}

void Experts::regroup() {
  const auto count = static_cast<int64_t>(entries_.size());
  Scratch& shared = context_.shared;
  if (wants_.blocks) blocks_ = shared.take<ActBlock>(count * (x_.cols / kBlock));
  if (wants_.quarters) quarters_ = shared.take<ActQuarter>(count * (x_.cols / kQuarterColumns));
  if (wants_.floats) floats_ = shared.take<const float*>(count);
  take_inner();
  const auto all_tiles = [this](const Group& group) {
    for (int64_t t = 0; t < tile_count(group.count); ++t) regroup_tile(group, t);
  };
  if (count * x_.cols <= kNumbersAlone) {
    for (const Group& group : groups_) all_tiles(group);
    return;
  }
  context_.pool.parallel_for(groups_.size(), 1, [&](size_t begin, size_t end, int) {
    for (size_t g = begin; g < end; ++g) all_tiles(groups_[g]);
  });
}

// Panels 2 pair and 2 pair + 1 of gate and up, one tile: 32 numbers of each row's inner
// activations. acc: [3][kTileColumns][16], then [kTileColumns][32].
void Experts::up_pair(const Group& group, int64_t tile, int64_t pair, const std::byte* next,
                      float* acc) {
  const Tile input = input_tile(group, tile);
  const int64_t first = group.first + tile * kTileColumns;
  constexpr int64_t kAcc = kTileColumns * kPanelRows;
  float* gate = acc;
  float* up = acc + kAcc;
  float* joined = acc + 2 * kAcc;  // [columns][32]
  const int64_t inner = group.gate->rows;
  const int64_t begin = pair * kPairRows;
  const int64_t width = std::min(kPairRows, inner - begin);
  for (int64_t half = 0; half * kPanelRows < width; ++half) {
    const int64_t panel = 2 * pair + half;
    multiply_panels(kernels_, *group.gate, panel, *group.up, panel,
                    half == 0 ? group.gate->panel(panel + 1) : next, input, gate, up);
    kernels_.silu_multiply(gate, up, input.columns * kPanelRows, gate);
    for (int32_t c = 0; c < input.columns; ++c) {
      std::memcpy(joined + c * kPairRows + half * kPanelRows, gate + c * kPanelRows,
                  kPanelRows * sizeof(float));
    }
  }
  if (group.down->wants == Activations::kBlocks) {
    ActBlock* target = inner_block_data_ + first * (inner_ / kBlock) + pair * input.columns;
    kernels_.quantize_row(joined, input.columns * kBlock, target, 1);
    return;
  }
  const int64_t padded = padded_columns(inner);
  const int64_t padded_width = std::min(kPairRows, padded - begin);
  for (int32_t c = 0; c < input.columns; ++c) {
    float* row = inner_rows_[first + c];
    float* target = row + begin;
    std::copy_n(joined + c * kPairRows, width, target);
    std::fill(target + width, target + padded_width, 0.0f);
    if (group.down->wants == Activations::kSupers) continue;
    kernels_.round_row(target, padded_width, rounded_row(row, padded) + begin);
  }
}

void Experts::up_pairs(const Group& group, int64_t begin, int64_t end, const std::byte* next,
                       Scratch& scratch) {
  const Scratch::Frame frame(scratch);
  float* acc = scratch.take<float>(4 * kTileColumns * kPanelRows);
  for (int64_t t = 0; t < tile_count(group.count); ++t) {
    const std::byte* after = t + 1 < tile_count(group.count) ? group.gate->panel(2 * begin) : next;
    for (int64_t pair = begin; pair < end; ++pair) {
      up_pair(group, t, pair, pair + 1 < end ? group.gate->panel(2 * pair + 2) : after, acc);
    }
  }
}

// Groups of many rows are bound by arithmetic, those of few by memory. The first half of the
// threads begins with the former and the other half with the latter, so that neither waits for its
// turn.
std::vector<const Group*> Experts::up_order() const {
  std::vector<const Group*> order;
  for (const Group& group : groups_) order.push_back(&group);
  const auto more_rows = [](const Group* a, const Group* b) { return a->count > b->count; };
  if (std::ranges::is_sorted(order, more_rows)) return order;  // all alike, as with one row
  std::ranges::stable_sort(order, more_rows);
  std::reverse(order.begin() + static_cast<std::ptrdiff_t>(order.size() / 2), order.end());
  return order;
}

void Experts::up_all() {
  const std::vector<const Group*> order = up_order();
  std::vector<int64_t> ends;  // of groups, in pairs
  int64_t total = 0;
  uint64_t bytes = 0, work = 0;
  for (const Group* group : order) {
    const int64_t pairs = (group->gate->panels() + 1) / 2;
    const uint64_t size =
        2 * static_cast<uint64_t>(pairs) * (group->gate->panel_bytes + group->up->panel_bytes);
    total += pairs;
    bytes += size;
    work += streamed_bytes(size, group->count);
    ends.push_back(total);
  }
  PanelRun run{total, bytes / static_cast<uint64_t>(total), piece_bytes(most_tiles())};
  run.step = 1;
  run.work = work;
  for_panels(context_.pool, run, [&](int64_t begin, int64_t end, int thread) {
    for (size_t i = 0; begin < end; ++i) {
      if (begin >= ends[i]) continue;
      const Group& group = *order[i];
      const int64_t first = i == 0 ? 0 : ends[i - 1];
      const int64_t stop = std::min(end, ends[i]);
      const std::byte* next = stop == ends[i] && i + 1 < order.size()
                                  ? order[i + 1]->gate->data
                                  : group.gate->panel(2 * (stop - first));
      up_pairs(group, begin - first, stop - first, next, context_.scratch[thread]);
      begin = stop;
    }
  });
}

// A super-block is made by several pairs of panels, so it waits for all of them.
void Experts::round_inner() {
  if (inner_quarters_ == nullptr) return;
  struct Row {
    const float* floats;
    int64_t cols, stride;
    ActQuarter* target;
  };
  std::vector<Row> rows;
  for (const Group& group : groups_) {
    if (group.down->wants != Activations::kSupers) continue;
    for (int64_t i = 0; i < group.count; ++i) {
      const int64_t tile = i / kTileColumns;
      const int64_t first = group.first + tile * kTileColumns;
      rows.push_back({inner_rows_[group.first + i], group.down->cols,
                      tile_columns(group.count, tile),
                      inner_quarters_ + first * (inner_ / kQuarterColumns) + i % kTileColumns});
    }
  }
  for_rows(context_.pool, static_cast<int64_t>(rows.size()), inner_,
           [&](int64_t begin, int64_t end, int) {
             for (int64_t r = begin; r < end; ++r) {
               const Row& row = rows[static_cast<size_t>(r)];
               kernels_.quantize_supers(row.floats, row.cols, row.target, row.stride);
             }
           });
}

void Experts::down_panels(int64_t begin, int64_t end) {
  for (size_t g = 0; g < groups_.size(); ++g) {
    const Group& group = groups_[g];
    const int64_t tiles = tile_count(group.count);
    for (int64_t t = 0; t < tiles; ++t) {
      const Tile tile = inner_tile(group, t);
      const RowWeight* entries = entries_.data() + group.first + t * kTileColumns;
      // After the last group comes the next piece, which is likely the one behind this.
      const std::byte* next = t + 1 < tiles            ? group.down->panel(begin)
                              : g + 1 < groups_.size() ? groups_[g + 1].down->panel(begin)
                                                       : groups_[0].down->panel(end);
      project_panels(kernels_, *group.down, begin, end, next, tile,
                     [&](const float* acc, int64_t p) {
                       kernels_.add_weighted(acc, entries, tile.columns,
                                             std::min(kPanelRows, out_.cols - p * kPanelRows),
                                             out_.data + p * kPanelRows, out_.stride);
                     });
    }
  }
}

int64_t Experts::most_tiles() const {
  int64_t most = 0;
  for (const Group& group : groups_) most = std::max(most, tile_count(group.count));
  return most;
}

void Experts::run() {
  regroup();
  up_all();
  round_inner();
  const int64_t panels = panel_count(out_.cols);
  uint64_t bytes = 0, work = 0;  // of a panel, all groups
  for (const Group& group : groups_) {
    bytes += group.down->panel_bytes;
    work += streamed_bytes(group.down->panel_bytes, group.count);
  }
  PanelRun run{panels, bytes};
  run.work = work * static_cast<uint64_t>(panels);
  if (most_tiles() > 1) run.longest = piece_bytes(most_tiles()) * groups_.size();
  for_panels(context_.pool, run, [&](int64_t begin, int64_t end, int) { down_panels(begin, end); });
}

std::vector<RowWeight> all_rows(int64_t rows) {
  std::vector<RowWeight> entries;
  for (int64_t r = 0; r < rows; ++r) entries.push_back({static_cast<int32_t>(r), 1.0f});
  return entries;
}

// logits[r][e] of every row.
void route(CpuContext& context, const MoeArgs& args, const Experts& work, int64_t experts,
           float* logits) {
  constexpr int64_t kRows = 16;
  constexpr int64_t kExperts = 8;
  const int64_t row_pieces = (args.x.rows + kRows - 1) / kRows;
  const int64_t expert_pieces = (experts + kExperts - 1) / kExperts;
  const int64_t pieces = row_pieces * expert_pieces;
  const uint64_t bytes = static_cast<uint64_t>(experts * args.x.cols) * sizeof(float);
  const bool alone = bytes < kBytesAlone && args.x.rows * experts * args.x.cols <= kFloatMaddsAlone;
  PanelRun run{pieces, kExperts * static_cast<uint64_t>(args.x.cols) * sizeof(float)};
  run.step = 1;
  run.work = alone ? 0 : UINT64_MAX;
  for_panels(context.pool, run, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t end_row = std::min((i / expert_pieces + 1) * kRows, args.x.rows);
      const int64_t first = i % expert_pieces * kExperts;
      for (int64_t r = i / expert_pieces * kRows; r < end_row; r += kDotRows) {
        const int count = static_cast<int>(std::min<int64_t>(kDotRows, end_row - r));
        const float* rows[kDotRows];
        for (int j = 0; j < count; ++j) rows[j] = work.h(r + j);
        for (int64_t e = first; e < std::min(first + kExperts, experts); ++e) {
          float dots[kDotRows];
          context.kernels.dot_rows(args.router + e * args.x.cols, rows, count, args.x.cols, dots);
          for (int j = 0; j < count; ++j) logits[(r + j) * experts + e] = dots[j];
        }
      }
    }
  });
}

// choices[r][experts_used], ascending.
void choose(CpuContext& context, const MoeArgs& args, int64_t experts, const float* logits,
            ref::Choice* choices) {
  const int64_t used = args.gate.experts_used;
  const std::span<const float> bias(args.router_bias, args.router_bias != nullptr ? experts : 0);
  for_rows(context.pool, args.x.rows, experts * kGateNumbers,
           [&](int64_t begin, int64_t end, int thread) {
             Scratch& scratch = context.scratch[thread];
             for (int64_t r = begin; r < end; ++r) {
               choose_experts(args.gate, std::span(logits + r * experts, experts), bias, scratch,
                              choices + r * used);
             }
           });
}

}  // namespace

void ffn(CpuContext& context, const FfnArgs& args) {
  if (args.x.rows == 0) return;
  const PackedFfn& packed = of(*args.ffn);
  const Scratch::Frame frame(context.shared);
  Experts work(context, args.x, args.out, 0);
  work.note(packed);
  work.prepare_rows(args.norm_weight, args.norm_eps);
  work.add_group(packed, 0, all_rows(args.x.rows));
  work.run();
}

void moe(CpuContext& context, const MoeArgs& args) {
  if (args.x.rows == 0) return;
  const PackedFfn& packed = of(*args.experts);
  const Scratch::Frame frame(context.shared);
  Experts work(context, args.x, args.out, 0);
  work.note(packed);
  if (args.shared != nullptr) work.note(of(*args.shared));
  work.prepare_rows(args.norm_weight, args.norm_eps);

  const int64_t experts = packed.count();
  const int64_t used = args.gate.experts_used;
  auto* logits = context.shared.take<float>(args.x.rows * experts);
  route(context, args, work, experts, logits);
  auto* choices = context.shared.take<ref::Choice>(args.x.rows * used);
  choose(context, args, experts, logits, choices);

  // Rows sorted by expert: where each expert's end is, counted first.
  const auto chosen = static_cast<size_t>(args.x.rows * used);
  const std::span ends(context.shared.take<int64_t>(experts), static_cast<size_t>(experts));
  std::ranges::fill(ends, 0);
  for (size_t i = 0; i < chosen; ++i) ++ends[choices[i].expert];
  std::exclusive_scan(ends.begin(), ends.end(), ends.begin(), int64_t{0});
  const std::span members(context.shared.take<RowWeight>(args.x.rows * used), chosen);
  for (size_t i = 0; i < chosen; ++i) {
    const auto row = static_cast<int32_t>(static_cast<int64_t>(i) / used);
    members[ends[choices[i].expert]++] = {row, choices[i].weight};
  }
  for (int64_t e = 0, begin = 0; e < experts; begin = ends[e++]) {
    const int64_t count = ends[e] - begin;
    if (args.expert_rows != nullptr) args.expert_rows[e] += count;
    if (count > 0) work.add_group(packed, e, members.subspan(begin, count));
  }
  if (args.shared != nullptr) work.add_group(of(*args.shared), 0, all_rows(args.x.rows));
  work.run();
}

}  // namespace hadal::kernels::cpu
