// How well a model foresees a text: the body of `hadal bench --perplexity`. What a change of types
// (weights, cache) costs in quality is the ratio of two such numbers on one text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "hadal/base/result.h"
#include "hadal/kernels/backend.h"
#include "hadal/model/model.h"
#include "hadal/text/tokenizer.h"

namespace hadal {

struct PerplexityOptions {
  int32_t window = 512;  // tokens that are seen together, at least 2; the first is not foreseen
  int32_t step_rows = 128;
  std::optional<DType> kv_dtype;  // as ModelConfig::kv_layout()
};

struct PerplexityReport {
  std::string model;
  DType kv_dtype = DType::kF16;
  int32_t window = 0;
  int64_t tokens = 0;         // foreseen
  double entropy = 0.0;       // mean of -ln p, in nats
  double perplexity() const;  // e^entropy
};

// `text` is cut into windows without overlap; special tokens in it are recognised by their names. A
// window ends before every beginning-of-sequence token, so that several documents may follow one
// another, and where the text has DeepSeek's assistant marks, only what the assistant says is
// counted: chat models are not made to foresee questions.
// Prepares the model. kInvalidInput: no token to foresee, or a window beyond the model's context.
// kExhausted: no memory for the cache.
Result<PerplexityReport> measure_perplexity(Model& model, kernels::Backend& backend,
                                            const Tokenizer& tokenizer, std::string_view text,
                                            const PerplexityOptions& options);

std::string perplexity_text(const PerplexityReport& report);
std::string perplexity_json(const PerplexityReport& report);

}  // namespace hadal
