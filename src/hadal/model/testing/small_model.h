// For tests: models of random weights, small enough to write and run in milliseconds, as GGUF or as
// a Hugging Face folder, so that a test can change any key or tensor before writing.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "hadal/format/gguf.h"
#include "hadal/model/model.h"

namespace hadal::testing {

struct SmallTensor {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  // outermost first
  std::vector<float> values;
};

using SmallTensors = std::map<std::string, SmallTensor, std::less<>>;

struct SmallGguf {
  std::map<std::string, GgufValue, std::less<>> keys;
  SmallTensors tensors;

  // By the key's last part: set("block_count", 2) is "<architecture>.block_count".
  void set(std::string_view key, GgufValue value);
  void erase(std::string_view key);
  std::string prefix() const;  // "llama."
  void write(const std::string& path) const;
};

struct SmallFolder {
  std::map<std::string, std::string, std::less<>> config;  // key to JSON text
  SmallTensors tensors;

  std::string json() const;
  void write(const std::string& folder) const;  // an existing folder
};

inline constexpr int32_t kSmallVocabulary = 48;
inline constexpr int32_t kSmallHidden = 256;

// Two layers, 4 heads over 2 of keys; deepseek2: q_lora_rank, one dense layer, 8 sigmoid experts in
// 4 groups, attn_kv_b joined. Weights are f32 and large enough for every part to matter.
SmallGguf small_gguf(Architecture architecture, uint64_t seed = 1);

// The same model as Hugging Face stores it: other names, one tensor an expert, and for llama the
// rows of q and k in halves' order.
SmallFolder small_folder(const SmallGguf& gguf);

// Row 2i of every head's block goes to row i, 2i + 1 to i + dims / 2 (Hugging Face's order), of a
// matrix [heads * dims, cols] or a bias.
std::vector<float> to_halves(const std::vector<float>& values, int64_t heads, int64_t dims);

struct RunOptions {
  std::byte stale = {};  // every byte of the cache, before
  int32_t chunk = 0;     // rows of one call of forward(); 0: all
};
// Logits of every position; kF32 cache.
std::vector<float> all_logits(Model& model, kernels::Backend& backend,
                              const std::vector<int32_t>& tokens, const RunOptions& options = {});

double largest_difference(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace hadal::testing
