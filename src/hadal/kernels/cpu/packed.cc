// PackedMatrix and PackedFfn: checks of the source, memory, and packing on all threads.
#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "hadal/base/check.h"
#include "hadal/kernels/cpu/matmul.h"
#include "hadal/kernels/cpu/panel.h"

namespace hadal::kernels::cpu {
namespace {

constexpr int64_t kFp8Block = 128;
constexpr float kHalfToFp8 = 256.0f;  // panel_float-inl.h reads E4M3 as a half, 2^-8 of its value
constexpr uint64_t kAlignment = 64;

constexpr int64_t fp8_blocks(int64_t elements) { return (elements + kFp8Block - 1) / kFp8Block; }
constexpr uint64_t aligned(uint64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

bool holds_nan(std::span<const std::byte> fp8) {
  bool found = false;
  for (const std::byte b : fp8) found |= (b & std::byte{0x7F}) == std::byte{0x7F};
  return found;
}

// What of a source a caller can get wrong is checked; what a file can get wrong is an error.
Status check_shape(const MatrixSource& source) {
  HADAL_TRY(const PanelForm form, panel_form(source.dtype));
  static_cast<void>(form);
  HADAL_CHECK(!source.parts.empty());
  HADAL_CHECK(source.rows > 0 && source.cols > 0);
  HADAL_CHECK(source.cols % dtype_info(source.dtype).block_elements == 0);
  if (source.dtype != DType::kF8E4M3) return {};
  HADAL_CHECK(source.fp8_scales.size() == source.parts.size());
  for (const std::vector<float>& scales : source.fp8_scales) {
    HADAL_CHECK(static_cast<int64_t>(scales.size()) ==
                fp8_blocks(source.rows) * fp8_blocks(source.cols));
  }
  return {};
}

Status check_bytes(const MatrixSource& source) {
  const uint64_t bytes = static_cast<uint64_t>(source.rows) * row_bytes(source.dtype, source.cols);
  for (const std::span<const std::byte> part : source.parts) {
    HADAL_CHECK(part.size() == bytes);
    if (source.dtype == DType::kF8E4M3 && holds_nan(part)) {
      return fail(Code::kCorrupt, "FP8 weights [" + std::to_string(source.rows) + ", " +
                                      std::to_string(source.cols) + "] hold NaN");
    }
  }
  return {};
}

std::vector<float> fp8_scales(const MatrixSource& source, size_t part) {
  std::vector<float> scales;
  if (source.dtype != DType::kF8E4M3) return scales;
  for (const float scale : source.fp8_scales[part]) scales.push_back(scale * kHalfToFp8);
  return scales;
}

// One part of a source and the place of its panels.
struct Placement {
  const MatrixSource* source;
  size_t part;
  std::byte* data;
  PanelLayout layout;
};

PanelMatrix panel_matrix(const Placement& place, const std::vector<float>& scales) {
  PanelMatrix matrix;
  matrix.dtype = place.source->dtype;
  const PanelForm form = *panel_form(matrix.dtype);
  matrix.wants = activations(form);
  matrix.panel_bytes = panel_bytes(form, place.source->cols);
  matrix.rows = place.source->rows;
  matrix.cols = place.source->cols;
  matrix.data = place.data;
  matrix.layout = place.layout;
  matrix.scales = scales.empty() ? nullptr : scales.data();
  return matrix;
}

void pack_one(const Placement& place, int64_t panel, const std::byte* zero_row) {
  const MatrixSource& source = *place.source;
  const uint64_t bytes = row_bytes(source.dtype, source.cols);
  const std::byte* part = source.parts[place.part].data();
  std::array<const std::byte*, kPanelRows> rows;
  for (int64_t r = 0; r < kPanelRows; ++r) {
    const int64_t row = panel * kPanelRows + r;
    rows[r] = row < source.rows ? part + static_cast<uint64_t>(row) * bytes : zero_row;
  }
  const PanelMatrix target = panel_matrix(place, {});
  pack_panel(source.dtype, rows.data(), source.cols, target.stride(panel),
             place.data + (target.panel(panel) - target.data));
}

// Placements of one source (equal shapes), all panels of all, on every thread.
void pack_all(const std::vector<Placement>& places, ThreadPool& pool) {
  const MatrixSource& source = *places.front().source;
  const int64_t panels = panel_count(source.rows);
  const std::vector<std::byte> zero_row(row_bytes(source.dtype, source.cols));
  pool.parallel_for(places.size() * panels, 8, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) {
      pack_one(places[i / panels], static_cast<int64_t>(i % panels), zero_row.data());
    }
  });
}

// Gate and up of one expert: their panels are partners, or take turns where their types differ.
struct GateUpLayout {
  PanelLayout gate, up;
  uint64_t up_at;  // of up's first panel
  uint64_t bytes;  // of a panel of each
};

PanelLayout with_stride(PanelLayout layout, const PanelStride& stride) {
  layout.even = layout.uneven = layout.lone = stride;
  return layout;
}

GateUpLayout gate_up_layout(const MatrixSource& gate, const MatrixSource& up) {
  const PanelForm gate_form = *panel_form(gate.dtype);
  const PanelForm up_form = *panel_form(up.dtype);
  const uint64_t gate_bytes = panel_bytes(gate_form, gate.cols);
  const uint64_t bytes = gate_bytes + panel_bytes(up_form, up.cols);
  const PanelLayout layout{.pair_stride = 2 * bytes, .odd = bytes};
  if (gate_form.integer && gate.dtype == up.dtype) {
    return {with_stride(layout, partner_stride(gate_form, false)),
            with_stride(layout, partner_stride(gate_form, true)), partner_offset(gate_form), bytes};
  }
  return {gate_form.integer ? with_stride(layout, lone_stride(gate_form)) : layout,
          up_form.integer ? with_stride(layout, lone_stride(up_form)) : layout, gate_bytes, bytes};
}

// An extent of `memory`, or memory of one's own in `own`.
Result<WeightMemory::Extent> take(uint64_t bytes, WeightMemory* memory,
                                  std::unique_ptr<PanelMemory>* own) {
  if (memory != nullptr) return memory->take(bytes);
  *own = PanelMemory::make(bytes);
  if (*own == nullptr) {
    return fail(Code::kExhausted, "no memory for " + std::to_string(bytes) + " bytes of weights");
  }
  return WeightMemory::Extent{(*own)->data(), false};
}

}  // namespace

PackedMatrix::PackedMatrix(const MatrixSource& source)
    : Matrix(static_cast<int64_t>(source.parts.size()), source.rows, source.cols, source.dtype) {}
PackedMatrix::~PackedMatrix() = default;

Result<std::unique_ptr<PackedMatrix>> PackedMatrix::make(const MatrixSource& source,
                                                         ThreadPool& pool, WeightMemory* memory) {
  HADAL_TRY_VOID(check_shape(source));
  auto matrix = std::unique_ptr<PackedMatrix>(new PackedMatrix(source));
  const PanelForm form = *panel_form(source.dtype);
  const PanelLayout layout = paired_layout(form, source.cols);
  const uint64_t part_bytes = aligned(panel_bytes(form, source.cols) * panel_count(source.rows));
  matrix->bytes_ = part_bytes * source.parts.size();
  HADAL_TRY(const WeightMemory::Extent extent, take(matrix->bytes_, memory, &matrix->memory_));
  if (extent.data == nullptr) return matrix;
  if (!extent.packed) HADAL_TRY_VOID(check_bytes(source));

  std::vector<Placement> places;
  for (size_t i = 0; i < source.parts.size(); ++i) {
    places.push_back({&source, i, extent.data + i * part_bytes, layout});
    matrix->scales_.push_back(fp8_scales(source, i));
    matrix->bytes_ += matrix->scales_.back().size() * sizeof(float);
    matrix->parts_.push_back(panel_matrix(places.back(), matrix->scales_.back()));
  }
  if (!extent.packed) pack_all(places, pool);
  return matrix;
}

const PanelMatrix& PackedMatrix::part(int64_t index) const {
  HADAL_CHECK(index >= 0 && index < count_);
  return parts_[index];
}

void PackedMatrix::decode_row(int64_t index, int64_t row, float* target) const {
  unpack_row(part(index), row, target);
}

PackedFfn::PackedFfn(int64_t count, int64_t hidden, int64_t inner) : Ffn(count, hidden, inner) {}
PackedFfn::~PackedFfn() = default;

Result<std::unique_ptr<PackedFfn>> PackedFfn::make(const MatrixSource& gate, const MatrixSource& up,
                                                   const MatrixSource& down, ThreadPool& pool,
                                                   WeightMemory* memory) {
  for (const MatrixSource* source : {&gate, &up, &down}) HADAL_TRY_VOID(check_shape(*source));
  const size_t count = gate.parts.size();
  HADAL_CHECK(up.parts.size() == count && down.parts.size() == count);
  HADAL_CHECK(up.rows == gate.rows && up.cols == gate.cols);
  HADAL_CHECK(down.rows == gate.cols && down.cols == gate.rows);

  auto ffn =
      std::unique_ptr<PackedFfn>(new PackedFfn(static_cast<int64_t>(count), gate.cols, gate.rows));
  const GateUpLayout pair = gate_up_layout(gate, up);
  const PanelForm down_form = *panel_form(down.dtype);
  const PanelLayout down_layout = paired_layout(down_form, down.cols);
  const uint64_t down_at = aligned(pair.bytes * panel_count(gate.rows));
  const uint64_t down_bytes = panel_bytes(down_form, down.cols) * panel_count(down.rows);
  const uint64_t expert = aligned(down_at + down_bytes);
  ffn->bytes_ = expert * count;
  HADAL_TRY(const WeightMemory::Extent extent, take(ffn->bytes_, memory, &ffn->memory_));
  if (extent.data == nullptr) return ffn;
  for (const MatrixSource* source : {&gate, &up, &down}) {
    if (!extent.packed) HADAL_TRY_VOID(check_bytes(*source));
  }

  std::array<std::vector<Placement>, 3> places;
  const auto place = [&](size_t which, const Placement& at, std::vector<PanelMatrix>& matrices) {
    places[which].push_back(at);
    ffn->scales_.push_back(fp8_scales(*at.source, at.part));
    ffn->bytes_ += ffn->scales_.back().size() * sizeof(float);
    matrices.push_back(panel_matrix(at, ffn->scales_.back()));
  };
  for (size_t e = 0; e < count; ++e) {
    std::byte* base = extent.data + e * expert;
    place(0, {&gate, e, base, pair.gate}, ffn->gate_);
    place(1, {&up, e, base + pair.up_at, pair.up}, ffn->up_);
    place(2, {&down, e, base + down_at, down_layout}, ffn->down_);
  }
  if (extent.packed) return ffn;
  for (const std::vector<Placement>& one : places) pack_all(one, pool);
  return ffn;
}

const PanelMatrix& PackedFfn::gate(int64_t index) const {
  HADAL_CHECK(index >= 0 && index < count_);
  return gate_[index];
}
const PanelMatrix& PackedFfn::up(int64_t index) const {
  HADAL_CHECK(index >= 0 && index < count_);
  return up_[index];
}
const PanelMatrix& PackedFfn::down(int64_t index) const {
  HADAL_CHECK(index >= 0 && index < count_);
  return down_[index];
}

const PackedMatrix& of(const Matrix& matrix) {
  const auto* ours = dynamic_cast<const PackedMatrix*>(&matrix);
  HADAL_CHECK(ours != nullptr, "a matrix packed by another backend");
  return *ours;
}

const PackedFfn& of(const Ffn& ffn) {
  const auto* ours = dynamic_cast<const PackedFfn*>(&ffn);
  HADAL_CHECK(ours != nullptr, "an ffn packed by another backend");
  return *ours;
}

}  // namespace hadal::kernels::cpu
