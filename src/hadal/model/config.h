// What a model is, as data. Built from GGUF keys (config_gguf.cc) or a Hugging Face config.json
// (config_hf.cc); everything below model/ that differs between architectures is a field here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/format/gguf.h"
#include "hadal/format/hf.h"
#include "hadal/kernels/op/attention.h"
#include "hadal/kernels/op/ffn.h"
#include "hadal/model/kv_arena.h"

namespace hadal {

enum class Architecture : uint8_t { kDeepseek2, kLlama, kQwen2, kQwen3 };
std::string_view architecture_name(Architecture architecture);  // "deepseek2", as in GGUF

// Rotary positions after scaling has been folded in: angle of pair j at position p = p *
// frequency[j].
struct RopeConfig {
  int32_t dims = 0;  // rotated elements of a head
  kernels::RopeStyle style = kernels::RopeStyle::kInterleaved;
  std::vector<float> frequencies;  // [dims / 2]
  float magnitude = 1.0f;          // on cos and sin (YaRN)
};

struct MlaConfig {
  int32_t q_rank = 0;  // 0: one q projection (V2-Lite)
  int32_t kv_rank = 0;
  int32_t nope_dim = 0;
  int32_t rope_dim = 0;
  int32_t v_dim = 0;
};

struct GqaConfig {
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
  bool qkv_bias = false;  // Qwen2
  bool qk_norm = false;   // Qwen3
};

struct MoeConfig {
  int32_t experts = 0;  // 0: every layer is dense
  int32_t shared = 0;   // shared experts, run as one block of shared * inner
  int32_t inner = 0;
  int32_t dense_layers = 0;  // leading layers without experts
  kernels::GateConfig gate;
};

struct ModelConfig {
  Architecture architecture = Architecture::kDeepseek2;
  std::string name;
  int32_t vocabulary = 0;
  int32_t hidden = 0;
  int32_t layers = 0;      // without next-token-prediction layers
  int32_t mtp_layers = 0;  // present in the file
  bool drafts = false;     // the first of them is loaded and can run (LoadOptions)
  int32_t heads = 0;
  int32_t inner = 0;    // of dense feed-forward blocks
  int32_t context = 0;  // positions the model was made for
  float norm_eps = 1e-6f;
  bool tied_embeddings = false;
  float attention_scale = 1.0f;  // on scores; YaRN's mscale^2 included
  bool mla = false;
  MlaConfig latent;   // when mla
  GqaConfig grouped;  // when not
  MoeConfig moe;
  RopeConfig rope;

  bool layer_has_experts(int32_t layer) const {
    return moe.experts > 0 && layer >= moe.dense_layers;
  }
  // Cache rows of every layer, in layer order: MLA one stream a layer, GQA keys then values. With
  // `drafts` a last stream for that layer, and a hidden state a block. Without a type the model has
  // its own: int8 for MLA, whose one latent row is normalised and is what a step reads most at long
  // contexts, f16 for keys and values as they are (docs/adr/0005).
  KvLayout kv_layout(std::optional<DType> dtype, int32_t block_tokens) const;
  // Parameters by the architecture's arithmetic: all, and those that one token's step uses.
  uint64_t parameters_total() const;
  uint64_t parameters_active() const;
  // What must hold before any size is computed from the fields; `path` is for the message.
  Status validate(const std::string& path) const;
};

Result<ModelConfig> config_from_gguf(const GgufMeta& meta, const TensorFile& tensors);
Result<ModelConfig> config_from_hf(const HfModel& model);

}  // namespace hadal
