#include "hadal/model/weight_source.h"

#include <algorithm>
#include <string>
#include <utility>

#include "hadal/base/checksum.h"
#include "hadal/model/weight_names.h"
#include "hadal/tensor/quant.h"

namespace hadal {
namespace {

constexpr int64_t kFp8Block = 128;

std::string shape_text(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

std::string expected_text(const MatrixShape& shape) {
  const std::string body = std::to_string(shape.rows) + ", " + std::to_string(shape.cols) + "]";
  return shape.count == 1 ? "[" + body : "[" + std::to_string(shape.count) + ", " + body;
}

// Trailing dimensions are what counts: [1, rows, cols] is [rows, cols].
bool has_shape(const TensorRecord& tensor, const MatrixShape& shape) {
  std::vector<int64_t> want = {shape.count, shape.rows, shape.cols};
  std::vector<int64_t> found(tensor.shape);
  while (found.size() < 3) found.insert(found.begin(), 1);
  return found == want;
}

bool is_scale_type(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 ||
         dtype == DType::kF8E8M0;
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The type a matrix gets when the user asked for `wanted`: what its row length allows. The head
// keeps more bits, as every published recipe does, and the embedding is looked up, not multiplied.
std::optional<DType> target_type(DType wanted, MatrixRole role, int64_t cols) {
  if (role == MatrixRole::kEmbedding && wanted == DType::kQ4_K) wanted = DType::kQ8_0;
  if (role == MatrixRole::kHead && wanted == DType::kQ4_K) wanted = DType::kQ6_K;
  if (cols % dtype_info(wanted).block_elements == 0) return wanted;
  if (wanted == DType::kQ4_K && cols % 32 == 0) return DType::kQ5_0;
  if (cols % 32 == 0) return DType::kQ8_0;
  return std::nullopt;
}

void for_rows(ThreadPool* pool, int64_t rows, const std::function<void(int64_t, int64_t)>& body) {
  constexpr size_t kGrain = 64;
  if (pool == nullptr) return body(0, rows);
  pool->parallel_for(static_cast<size_t>(rows), kGrain, [&](size_t begin, size_t end, int) {
    body(static_cast<int64_t>(begin), static_cast<int64_t>(end));
  });
}

}  // namespace

void decode_part(const kernels::MatrixSource& source, size_t part, int64_t first_row, int64_t rows,
                 float* target) {
  const size_t stride = row_bytes(source.dtype, static_cast<uint64_t>(source.cols));
  const std::byte* bytes = source.parts[part].data() + static_cast<size_t>(first_row) * stride;
  dequantize(source.dtype, bytes, target, static_cast<size_t>(rows * source.cols));
  if (source.dtype != DType::kF8E4M3) return;
  const std::vector<float>& scales = source.fp8_scales[part];
  const int64_t scale_cols = ceil_div(source.cols, kFp8Block);
  for (int64_t r = 0; r < rows; ++r) {
    const float* scale = scales.data() + (first_row + r) / kFp8Block * scale_cols;
    float* row = target + r * source.cols;
    for (int64_t c = 0; c < source.cols; ++c) row[c] *= scale[c / kFp8Block];
  }
}

WeightSource::WeightSource(const ModelFiles& files, std::optional<DType> quantize, ThreadPool* pool,
                           Reading reading)
    : files_(files),
      tensors_(files.tensors()),
      hugging_face_(std::holds_alternative<HfModel>(files.model)),
      quantize_(quantize),
      pool_(pool),
      reading_(reading) {}

std::string WeightSource::stored_name(std::string_view name, std::optional<int32_t> expert) const {
  if (!hugging_face_) return std::string(name);
  std::string stored = hf_tensor_name(name, expert);
  return stored.empty() ? std::string(name) : stored;
}

bool WeightSource::has(std::string_view name) const {
  return tensors_.find(stored_name(name)) != nullptr ||
         tensors_.find(stored_name(name, 0)) != nullptr;
}

Result<const TensorRecord*> WeightSource::record(const std::string& name) const {
  const TensorRecord* tensor = tensors_.find(name);
  if (tensor == nullptr)
    return fail(Code::kCorrupt, files_.path + ": " + name + ": tensor is missing");
  read_.insert(tensor);
  order_ = checksum64(name, order_);
  return tensor;
}

Result<std::vector<float>> WeightSource::fp8_scales(const TensorRecord& tensor,
                                                    const MatrixShape& part) const {
  HADAL_TRY(const TensorRecord* scale, record(tensor.name + "_scale_inv"));
  const MatrixShape want{1, ceil_div(part.rows, kFp8Block), ceil_div(part.cols, kFp8Block)};
  if (!has_shape(*scale, want)) {
    return fail(Code::kCorrupt, files_.path + ": " + scale->name + ": found shape " +
                                    shape_text(scale->shape) + ", expected " + expected_text(want) +
                                    " (one scale per 128x128 block)");
  }
  if (!is_scale_type(scale->dtype)) {
    return fail(Code::kUnsupported, files_.path + ": " + scale->name + ": found type " +
                                        std::string(dtype_name(scale->dtype)) +
                                        ", expected f32, f16, bf16 or f8_e8m0");
  }
  std::vector<float> values(static_cast<size_t>(want.rows * want.cols));
  if (reading_ == Reading::kNothing) return values;
  dequantize(scale->dtype, scale->data.data(), values.data(), values.size());
  return values;
}

Status WeightSource::add_part(const TensorRecord& tensor, const MatrixShape& part,
                              LoadedMatrix* matrix) const {
  kernels::MatrixSource& source = matrix->source;
  if (source.parts.empty()) source.dtype = tensor.dtype;
  if (tensor.dtype == DType::kI32 || tensor.dtype == DType::kI64) {
    return fail(Code::kUnsupported, files_.path + ": " + tensor.name + ": found type " +
                                        std::string(dtype_name(tensor.dtype)) +
                                        ", expected a float or quantised one");
  }
  if (tensor.dtype != source.dtype) {
    return fail(Code::kUnsupported, files_.path + ": " + tensor.name + ": found type " +
                                        std::string(dtype_name(tensor.dtype)) + ", expected " +
                                        std::string(dtype_name(source.dtype)) +
                                        " as the experts before it");
  }
  const size_t size =
      row_bytes(tensor.dtype, static_cast<uint64_t>(part.cols)) * static_cast<size_t>(part.rows);
  for (int64_t i = 0; i < part.count; ++i) {
    source.parts.push_back(tensor.data.subspan(static_cast<size_t>(i) * size, size));
  }
  if (tensor.dtype == DType::kF8E4M3) {
    HADAL_TRY(std::vector<float> scales, fp8_scales(tensor, part));
    source.fp8_scales.push_back(std::move(scales));
  }
  matrix->records.push_back(&tensor);
  return {};
}

Result<LoadedMatrix> WeightSource::file_matrix(std::string_view name,
                                               const MatrixShape& shape) const {
  LoadedMatrix matrix;
  matrix.source.rows = shape.rows;
  matrix.source.cols = shape.cols;
  const bool one_each = hugging_face_ && hf_tensor_name(name).empty();
  const MatrixShape part{one_each ? 1 : shape.count, shape.rows, shape.cols};
  const int32_t tensors = one_each ? static_cast<int32_t>(shape.count) : 1;
  for (int32_t i = 0; i < tensors; ++i) {
    HADAL_TRY(const TensorRecord* tensor, record(stored_name(name, i)));
    if (!has_shape(*tensor, part)) {
      return fail(Code::kCorrupt, files_.path + ": " + tensor->name + ": found shape " +
                                      shape_text(tensor->shape) + ", expected " +
                                      expected_text(part));
    }
    HADAL_TRY_VOID(add_part(*tensor, part, &matrix));
  }
  return matrix;
}

Result<LoadedMatrix> WeightSource::matrix(std::string_view name, const MatrixShape& shape,
                                          MatrixRole role) const {
  HADAL_TRY(LoadedMatrix matrix, file_matrix(name, shape));
  requantize(role, &matrix);
  return matrix;
}

void WeightSource::requantize(MatrixRole role, LoadedMatrix* matrix) const {
  kernels::MatrixSource& source = matrix->source;
  if (!quantize_ || dtype_info(source.dtype).quantized) return;
  const std::optional<DType> target = target_type(*quantize_, role, source.cols);
  if (!target) return;
  const size_t row_size = row_bytes(*target, static_cast<uint64_t>(source.cols));
  std::vector<std::span<const std::byte>> parts;
  if (reading_ != Reading::kAll) parts.resize(source.parts.size());
  for (size_t part = 0; part < source.parts.size() && reading_ == Reading::kAll; ++part) {
    std::vector<std::byte>& bytes =
        matrix->owned.emplace_back(row_size * static_cast<size_t>(source.rows));
    for_rows(pool_, source.rows, [&](int64_t begin, int64_t end) {
      std::vector<float> values(static_cast<size_t>((end - begin) * source.cols));
      decode_part(source, part, begin, end - begin, values.data());
      quantize(*target, values.data(), bytes.data() + static_cast<size_t>(begin) * row_size,
               values.size());
    });
    parts.emplace_back(bytes);
  }
  source.parts = std::move(parts);
  source.fp8_scales.clear();
  source.dtype = *target;
}

Result<std::vector<float>> WeightSource::floats(std::string_view name, int64_t count) const {
  HADAL_TRY(const TensorRecord* tensor, record(stored_name(name)));
  if (tensor->elements() != count) {
    return fail(Code::kCorrupt, files_.path + ": " + tensor->name + ": found shape " +
                                    shape_text(tensor->shape) + ", expected " +
                                    std::to_string(count) + " values");
  }
  if (tensor->dtype == DType::kI32 || tensor->dtype == DType::kI64 ||
      tensor->dtype == DType::kF8E4M3) {
    return fail(Code::kUnsupported, files_.path + ": " + tensor->name + ": found type " +
                                        std::string(dtype_name(tensor->dtype)) +
                                        ", expected f32, f16 or bf16");
  }
  if (reading_ == Reading::kNothing) return std::vector<float>();
  std::vector<float> values(static_cast<size_t>(count));
  dequantize(tensor->dtype, tensor->data.data(), values.data(), values.size());
  return values;
}

Result<std::vector<float>> WeightSource::floats(std::string_view name, int64_t rows,
                                                int64_t cols) const {
  HADAL_TRY(const TensorRecord* tensor, record(stored_name(name)));
  const MatrixShape want{1, rows, cols};
  if (!has_shape(*tensor, want)) {
    return fail(Code::kCorrupt, files_.path + ": " + tensor->name + ": found shape " +
                                    shape_text(tensor->shape) + ", expected " +
                                    expected_text(want));
  }
  return floats(name, rows * cols);
}

Status WeightSource::check_all_read(const ModelConfig& config) const {
  for (const TensorRecord& tensor : tensors_.tensors()) {
    if (read_.contains(&tensor) || is_redundant(tensor.name)) continue;
    const int32_t layer = layer_of(tensor.name).value_or(-1);
    if (layer >= config.layers && layer < config.layers + config.mtp_layers) continue;
    if (config.tied_embeddings && tensor.name == "lm_head.weight") continue;
    // Some files hold kv_b joined and split.
    const bool joined = tensor.name.ends_with(".attn_kv_b.weight");
    if (joined && has(layer_tensor(layer, "attn_k_b.weight"))) continue;
    return fail(Code::kUnsupported, files_.path + ": " + tensor.name + ": found a tensor that " +
                                        std::string(architecture_name(config.architecture)) +
                                        " with " + std::to_string(config.layers) +
                                        " layers does not use, expected none");
  }
  return {};
}

Result<WeightSource::MlaUp> WeightSource::mla_up(int32_t layer, int32_t heads,
                                                 const MlaConfig& mla) const {
  if (!has(layer_tensor(layer, "attn_k_b.weight"))) {
    HADAL_TRY(MlaUp up, split_kv_b(layer, heads, mla));
    requantize(MatrixRole::kBody, &up.k_up);
    requantize(MatrixRole::kBody, &up.v_up);
    return up;
  }
  MlaUp up;
  HADAL_TRY(up.k_up,
            matrix(layer_tensor(layer, "attn_k_b.weight"), {heads, mla.kv_rank, mla.nope_dim}));
  HADAL_TRY(up.v_up,
            matrix(layer_tensor(layer, "attn_v_b.weight"), {heads, mla.v_dim, mla.kv_rank}));
  return up;
}

Result<WeightSource::MlaUp> WeightSource::split_kv_b(int32_t layer, int32_t heads,
                                                     const MlaConfig& mla) const {
  const int64_t per_head = mla.nope_dim + mla.v_dim;
  HADAL_TRY(const LoadedMatrix joined, file_matrix(layer_tensor(layer, "attn_kv_b.weight"),
                                                   {1, heads * per_head, mla.kv_rank}));
  const DType stored = joined.source.dtype;
  const bool quantized = dtype_info(stored).quantized;
  // A float type is kept, so that nothing is lost; FP8 with its scales needs more bits than FP8
  // has.
  DType k_type = stored == DType::kF8E4M3 ? DType::kF32 : stored;
  if (quantized) k_type = mla.nope_dim % 32 == 0 ? DType::kQ8_0 : DType::kF16;
  const DType v_type = stored == DType::kF8E4M3 ? DType::kF32 : stored;

  MlaUp up;
  up.k_up.source = {k_type, mla.kv_rank, mla.nope_dim, {}, {}};
  up.v_up.source = {v_type, mla.v_dim, mla.kv_rank, {}, {}};
  up.k_up.records = joined.records;
  if (reading_ != Reading::kAll) {
    up.k_up.source.parts.resize(static_cast<size_t>(heads));
    up.v_up.source.parts.resize(static_cast<size_t>(heads));
    return up;
  }
  const size_t rank = static_cast<size_t>(mla.kv_rank);
  const size_t k_size = row_bytes(k_type, static_cast<uint64_t>(mla.nope_dim)) * rank;
  const size_t v_size = row_bytes(v_type, rank) * static_cast<size_t>(mla.v_dim);
  std::vector<float> rows(static_cast<size_t>(per_head) * rank);
  std::vector<float> transposed(static_cast<size_t>(mla.nope_dim) * rank);
  for (int32_t head = 0; head < heads; ++head) {
    decode_part(joined.source, 0, head * per_head, per_head, rows.data());
    for (size_t n = 0; n < static_cast<size_t>(mla.nope_dim); ++n) {
      for (size_t r = 0; r < rank; ++r)
        transposed[r * static_cast<size_t>(mla.nope_dim) + n] = rows[n * rank + r];
    }
    std::vector<std::byte>& k = up.k_up.owned.emplace_back(k_size);
    quantize(k_type, transposed.data(), k.data(), transposed.size());
    up.k_up.source.parts.emplace_back(k);
    const size_t v_begin = static_cast<size_t>(mla.nope_dim) * rank;
    if (stored == v_type) {  // the file's own rows, untouched
      const size_t row_size = row_bytes(stored, rank);
      const size_t first = static_cast<size_t>(head * per_head + mla.nope_dim);
      up.v_up.source.parts.push_back(joined.source.parts[0].subspan(first * row_size, v_size));
      continue;
    }
    std::vector<std::byte>& v = up.v_up.owned.emplace_back(v_size);
    quantize(v_type, rows.data() + v_begin, v.data(), static_cast<size_t>(mla.v_dim) * rank);
    up.v_up.source.parts.emplace_back(v);
  }
  return up;
}

void WeightSource::release(const LoadedMatrix& matrix) const {
  if (reading_ != Reading::kAll) return;
  for (const TensorRecord* tensor : matrix.records) tensors_.release(*tensor);
}

uint64_t WeightSource::bytes_of(const LoadedMatrix& matrix) const {
  uint64_t sum = 0;
  for (const TensorRecord* tensor : matrix.records) sum += tensor->data.size();
  return sum;
}

}  // namespace hadal
