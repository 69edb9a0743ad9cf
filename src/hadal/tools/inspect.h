// What is in a model file, and what it needs to run: the body of `hadal inspect`. Reads headers,
// not weights.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/format/model_files.h"
#include "hadal/model/config.h"

namespace hadal {

struct InspectOptions {
  int32_t context = 0;            // positions per sequence; 0: the model's own
  int32_t sequences = 1;          // at once
  std::optional<DType> kv_dtype;  // as ModelConfig::kv_layout()
  std::optional<DType> quantize;  // as serve --quantize: what the weights would take
};

// Tensors with one job and one type.
struct TensorGroup {
  std::string name;  // "attention", "routed experts", ...
  DType dtype = DType::kF32;
  int64_t tensors = 0;
  int64_t elements = 0;
  uint64_t bytes = 0;

  double bits_per_weight() const {
    return elements == 0 ? 0.0 : 8.0 * static_cast<double>(bytes) / static_cast<double>(elements);
  }
};

struct MemoryNeed {
  int32_t context = 0;
  int32_t sequences = 0;
  uint64_t weights = 0;       // bytes, as stored
  uint64_t kv_per_token = 0;  // bytes of all layers
  uint64_t kv = 0;            // context * sequences tokens, in whole blocks
  uint64_t activations = 0;   // bytes, estimate for steps of 512 rows
  uint64_t total() const { return weights + kv + activations; }
};

struct InspectReport {
  std::string path;
  std::string container;  // "GGUF", "GGUF in 3 parts", "Hugging Face folder"
  ModelConfig config;
  std::vector<TensorGroup> groups;  // in a model's order
  uint64_t tensor_bytes = 0;
  std::string tokenizer;  // one line; says why when there is none
  std::string chat_form;  // likewise
  MemoryNeed memory;
};

Result<InspectReport> inspect_model(const ModelFiles& files, const InspectOptions& options);

std::string inspect_text(const InspectReport& report);  // readable, ends with a newline
std::string inspect_json(const InspectReport& report);  // one object, ends with a newline

}  // namespace hadal
