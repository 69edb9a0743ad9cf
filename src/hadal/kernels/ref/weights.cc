#include "hadal/kernels/ref/weights.h"

#include <utility>

#include "hadal/base/check.h"
#include "hadal/tensor/quant.h"

namespace hadal::kernels::ref {
namespace {

constexpr int64_t kFp8Block = 128;

int64_t fp8_blocks(int64_t elements) { return (elements + kFp8Block - 1) / kFp8Block; }

}  // namespace

RefMatrix::RefMatrix(const MatrixSource& source)
    : Matrix(static_cast<int64_t>(source.parts.size()), source.rows, source.cols, source.dtype) {
  const uint64_t part_bytes = static_cast<uint64_t>(rows_) * row_bytes(dtype_, cols_);
  for (const std::span<const std::byte> part : source.parts) {
    HADAL_CHECK(part.size() == part_bytes);
    parts_.emplace_back(part.begin(), part.end());
    bytes_ += part_bytes;
  }
  if (dtype_ != DType::kF8E4M3) return;
  HADAL_CHECK(source.fp8_scales.size() == source.parts.size());
  for (const std::vector<float>& scales : source.fp8_scales) {
    HADAL_CHECK(static_cast<int64_t>(scales.size()) == fp8_blocks(rows_) * fp8_blocks(cols_));
    bytes_ += scales.size() * sizeof(float);
  }
  fp8_scales_ = source.fp8_scales;
}

Result<std::unique_ptr<RefMatrix>> RefMatrix::make(const MatrixSource& source) {
  if (source.dtype == DType::kI32 || source.dtype == DType::kI64 ||
      source.dtype == DType::kI8) {
    return fail(Code::kUnsupported,
                "weights of type " + std::string(dtype_name(source.dtype)) + ", expected numbers");
  }
  HADAL_CHECK(!source.parts.empty());
  HADAL_CHECK(source.rows > 0 && source.cols > 0);
  HADAL_CHECK(source.cols % dtype_info(source.dtype).block_elements == 0);
  return std::unique_ptr<RefMatrix>(new RefMatrix(source));
}

void RefMatrix::decode_row(int64_t part, int64_t row, float* target) const {
  HADAL_CHECK(part >= 0 && part < count_);
  HADAL_CHECK(row >= 0 && row < rows_);
  const std::byte* bytes = parts_[part].data() + row * row_bytes(dtype_, cols_);
  dequantize(dtype_, bytes, target, static_cast<size_t>(cols_));
  if (dtype_ != DType::kF8E4M3) return;
  const float* scales = fp8_scales_[part].data() + row / kFp8Block * fp8_blocks(cols_);
  for (int64_t c = 0; c < cols_; ++c) target[c] *= scales[c / kFp8Block];
}

RefFfn::RefFfn(std::unique_ptr<RefMatrix> gate, std::unique_ptr<RefMatrix> up,
               std::unique_ptr<RefMatrix> down)
    : Ffn(gate->count(), gate->cols(), gate->rows()),
      gate_(std::move(gate)),
      up_(std::move(up)),
      down_(std::move(down)) {
  bytes_ = gate_->bytes() + up_->bytes() + down_->bytes();
}

Result<std::unique_ptr<RefFfn>> RefFfn::make(const MatrixSource& gate, const MatrixSource& up,
                                             const MatrixSource& down) {
  HADAL_TRY(auto packed_gate, RefMatrix::make(gate));
  HADAL_TRY(auto packed_up, RefMatrix::make(up));
  HADAL_TRY(auto packed_down, RefMatrix::make(down));
  HADAL_CHECK(up.parts.size() == gate.parts.size() && down.parts.size() == gate.parts.size());
  HADAL_CHECK(up.rows == gate.rows && up.cols == gate.cols);
  HADAL_CHECK(down.rows == gate.cols && down.cols == gate.rows);
  return std::unique_ptr<RefFfn>(
      new RefFfn(std::move(packed_gate), std::move(packed_up), std::move(packed_down)));
}

const RefMatrix& of(const Matrix& matrix) {
  const auto* ours = dynamic_cast<const RefMatrix*>(&matrix);
  HADAL_CHECK(ours != nullptr, "a matrix packed by another backend");
  return *ours;
}

const RefFfn& of(const Ffn& ffn) {
  const auto* ours = dynamic_cast<const RefFfn*>(&ffn);
  HADAL_CHECK(ours != nullptr, "an ffn packed by another backend");
  return *ours;
}

}  // namespace hadal::kernels::ref
