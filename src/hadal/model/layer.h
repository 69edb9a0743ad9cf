// The weights of one decoder layer, and how they are read from a file.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "hadal/base/log.h"
#include "hadal/base/result.h"
#include "hadal/kernels/backend.h"
#include "hadal/model/config.h"
#include "hadal/model/weight_source.h"

namespace hadal {

using MatrixPtr = std::unique_ptr<kernels::Matrix>;
using FfnPtr = std::unique_ptr<kernels::Ffn>;

struct MlaWeights {
  MatrixPtr q;                   // without q_rank
  MatrixPtr q_a, q_b;            // with
  std::vector<float> q_a_norm;   // [q_rank]
  MatrixPtr kv_a;                // [rank + rope, hidden]
  std::vector<float> kv_a_norm;  // [rank]
  MatrixPtr k_up, v_up;          // per head
  // Of both, for the naive form; null: absorbed alone.
  std::unique_ptr<kernels::Expansion> expansion;
};

struct GqaWeights {
  MatrixPtr q, k, v;
  std::vector<float> q_bias, k_bias, v_bias;  // empty without
  std::vector<float> q_norm, k_norm;          // [head_dim], empty without
};

struct FfnWeights {
  FfnPtr dense;                    // a dense layer has this alone
  std::vector<float> router;       // [experts, hidden]
  std::vector<float> router_bias;  // [experts], empty without
  FfnPtr experts, shared;
};

struct LayerWeights {
  std::vector<float> attention_norm, ffn_norm;  // [hidden]
  MlaWeights mla;
  GqaWeights gqa;
  MatrixPtr output;  // attention's
  FfnWeights ffn;
};

// Of memory held by packed weights; 0 for one that is not there.
template <class Packed>
uint64_t bytes_of(const Packed& packed) {
  return packed ? packed->bytes() : 0;
}
uint64_t bytes_without_experts(const LayerWeights& layer);

// A next-token-prediction layer (DeepSeek-V3 report, section 2.2). From the hidden state behind
// position p and the token at p + 1:
//   x = projection [rms_norm(embedding of the token) | rms_norm(hidden)], then a decoder layer;
//   logits of the token at p + 2 = head rms_norm(x), with the model's own embedding and head
struct NextTokenWeights {
  std::vector<float> embedding_norm, hidden_norm, head_norm;  // [hidden]
  MatrixPtr projection;                                       // [hidden, 2 hidden]
  LayerWeights layer;
};

// Packs beside the weights of latent attention what its naive form needs, and returns its bytes; 0
// where there is no such form. The log says which: operators who asked for it should know.
Result<uint64_t> add_naive_form(kernels::Backend& backend, std::span<LayerWeights> layers,
                                LayerWeights* next_token, int32_t rows_min, const LogSink& log);

// Reads and packs, layer by layer, reporting the file's bytes as they are done with.
class WeightLoader {
 public:
  // `memory`: for packed weights, see Backend::pack; may be null.
  WeightLoader(const WeightSource& source, const ModelConfig& config, kernels::Backend& backend,
               kernels::WeightMemory* memory, std::function<void(uint64_t bytes)> done);

  Result<LayerWeights> layer(int32_t number);
  Result<NextTokenWeights> next_token(int32_t number);
  Result<MatrixPtr> matrix(const std::string& name, int64_t rows, int64_t cols,
                           MatrixRole role = MatrixRole::kBody);
  Result<std::vector<float>> floats(const std::string& name, int64_t count);
  Result<std::vector<float>> floats(const std::string& name, int64_t rows, int64_t cols);

 private:
  Result<MatrixPtr> pack(const LoadedMatrix& loaded);
  Result<FfnPtr> pack_ffn(const LoadedMatrix& gate, const LoadedMatrix& up,
                          const LoadedMatrix& down);
  void finish(const LoadedMatrix& loaded);
  Result<FfnPtr> ffn_block(int32_t layer, const std::string& suffix, int64_t count, int64_t inner);
  Result<MlaWeights> mla(int32_t layer);
  Result<GqaWeights> gqa(int32_t layer);
  Result<FfnWeights> ffn(int32_t layer);

  const WeightSource& source_;
  const ModelConfig& config_;
  kernels::Backend& backend_;
  kernels::WeightMemory* memory_;
  bool shapes_only_;  // and the backend packs no shapes
  std::function<void(uint64_t)> done_;
};

}  // namespace hadal
