#include "hadal/model/config.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "hadal/base/limits.h"

namespace hadal {

std::string_view architecture_name(Architecture architecture) {
  switch (architecture) {
    case Architecture::kDeepseek2:
      return "deepseek2";
    case Architecture::kLlama:
      return "llama";
    case Architecture::kQwen2:
      return "qwen2";
    case Architecture::kQwen3:
      return "qwen3";
  }
  return "unknown";
}

KvLayout ModelConfig::kv_layout(std::optional<DType> dtype, int32_t block_tokens) const {
  KvLayout layout{dtype.value_or(mla ? DType::kI8 : DType::kF16), block_tokens, {}};
  for (int32_t layer = 0; layer < layers; ++layer) {
    if (mla) {
      layout.streams.push_back({layer, latent.kv_rank + latent.rope_dim, 1, latent.rope_dim});
    } else {
      const int64_t width = static_cast<int64_t>(grouped.kv_heads) * grouped.head_dim;
      layout.streams.push_back({layer, width, grouped.kv_heads, 0});
      layout.streams.push_back({layer, width, grouped.kv_heads, 0});
    }
  }
  if (drafts) {
    layout.streams.push_back(layout.streams.back());
    layout.streams.back().layer = layers;
    layout.block_floats = hidden;
  }
  return layout;
}

namespace {

uint64_t attention_parameters(const ModelConfig& c) {
  const uint64_t hidden = c.hidden;
  const uint64_t heads = c.heads;
  if (c.mla) {
    const MlaConfig& m = c.latent;
    const uint64_t q_width = heads * (m.nope_dim + m.rope_dim);
    const uint64_t q = m.q_rank > 0 ? (hidden + 1 + q_width) * m.q_rank : hidden * q_width;
    const uint64_t kv = hidden * (m.kv_rank + m.rope_dim) + m.kv_rank;
    return q + kv + heads * (m.nope_dim + m.v_dim) * m.kv_rank + heads * m.v_dim * hidden;
  }
  const uint64_t q_width = heads * c.grouped.head_dim;
  const uint64_t kv_width = static_cast<uint64_t>(c.grouped.kv_heads) * c.grouped.head_dim;
  return 2 * hidden * q_width + 2 * hidden * kv_width +
         (c.grouped.qkv_bias ? q_width + 2 * kv_width : 0) +
         (c.grouped.qk_norm ? 2 * static_cast<uint64_t>(c.grouped.head_dim) : 0);
}

// Of one layer; `experts` is how many routed experts are counted.
uint64_t ffn_parameters(const ModelConfig& c, int32_t layer, uint64_t experts) {
  const uint64_t hidden = c.hidden;
  if (!c.layer_has_experts(layer)) return 3 * hidden * c.inner;
  const uint64_t gate =
      hidden * c.moe.experts +
      (c.moe.gate.function == kernels::GateFunction::kSigmoid ? c.moe.experts : 0);
  return gate + 3 * hidden * c.moe.inner * (experts + c.moe.shared);
}

uint64_t parameters(const ModelConfig& c, uint64_t experts, bool all) {
  const uint64_t table = static_cast<uint64_t>(c.vocabulary) * c.hidden;
  const uint64_t norms = 2 * static_cast<uint64_t>(c.hidden);
  uint64_t sum = table + (c.tied_embeddings ? 0 : table) + c.hidden;
  if (!all) sum = table + c.hidden;  // a step multiplies by the head and looks one embedding row up
  const int32_t layers = c.layers + (all ? c.mtp_layers : 0);
  for (int32_t layer = 0; layer < layers; ++layer) {
    sum += norms + attention_parameters(c) + ffn_parameters(c, layer, experts);
    if (layer >= c.layers) sum += 2 * static_cast<uint64_t>(c.hidden) * c.hidden + 3 * c.hidden;
  }
  return sum;
}

}  // namespace

uint64_t ModelConfig::parameters_total() const { return parameters(*this, moe.experts, true); }

uint64_t ModelConfig::parameters_active() const {
  return parameters(*this, moe.gate.experts_used, false);
}

namespace {

struct Bound {
  const char* field;
  int64_t value, minimum, maximum;
};

Status check_bounds(const std::string& path, std::initializer_list<Bound> bounds) {
  for (const Bound& bound : bounds) {
    if (bound.value >= bound.minimum && bound.value <= bound.maximum) continue;
    return fail(Code::kCorrupt, path + ": " + bound.field + ": found " +
                                    std::to_string(bound.value) + ", expected " +
                                    std::to_string(bound.minimum) + " to " +
                                    std::to_string(bound.maximum));
  }
  return {};
}

Status validate_rope(const std::string& path, const ModelConfig& c) {
  const bool finite =
      std::isfinite(c.attention_scale) && std::isfinite(c.rope.magnitude) &&
      std::ranges::all_of(c.rope.frequencies, [](float f) { return std::isfinite(f); });
  if (finite) return {};
  return fail(Code::kCorrupt,
              path +
                  ": rope scaling: found parameters that give a frequency or factor that is not "
                  "finite, expected finite ones");
}

Status validate_experts(const std::string& path, const ModelConfig& c) {
  const MoeConfig& moe = c.moe;
  const kernels::GateConfig& gate = moe.gate;
  HADAL_TRY_VOID(check_bounds(
      path,
      {{"expert_count (n_routed_experts)", moe.experts, 1, limits::kExpertsMax},
       {"expert_group_count (n_group)", gate.groups, 1, moe.experts},
       {"expert_feed_forward_length (moe_intermediate_size)", moe.inner, 1, 1 << 20},
       {"expert_shared_count (n_shared_experts)", moe.shared, 0, 64},
       {"leading_dense_block_count (first_k_dense_replace)", moe.dense_layers, 0, c.layers}}));
  if (!std::isfinite(gate.scale)) {
    return fail(Code::kCorrupt, path +
                                    ": expert_weights_scale (routed_scaling_factor): found a "
                                    "number beyond single precision, expected a finite one");
  }
  const int64_t in_group = moe.experts / gate.groups;
  return check_bounds(
      path, {{"expert_count, remainder by expert_group_count", moe.experts % gate.groups, 0, 0},
             {"expert_group_used_count (topk_group)", gate.groups_used, 1, gate.groups},
             {"expert_used_count (num_experts_per_tok)", gate.experts_used, 1,
              in_group * std::min<int64_t>(std::max(gate.groups_used, 1), gate.groups)}});
}

}  // namespace

Status ModelConfig::validate(const std::string& path) const {
  constexpr int64_t kWidthMax = 1 << 20;
  // Fields by their GGUF key and, where it differs, Hugging Face's.
  HADAL_TRY_VOID(
      check_bounds(path, {{"vocab_size", vocabulary, 1, limits::kVocabularyMax},
                          {"embedding_length (hidden_size)", hidden, 1, kWidthMax},
                          {"block_count (num_hidden_layers)", layers, 1, limits::kLayersMax},
                          {"nextn_predict_layers", mtp_layers, 0, 8},
                          {"attention.head_count (num_attention_heads)", heads, 1, 4096},
                          {"feed_forward_length (intermediate_size)", inner, 1, kWidthMax},
                          {"context_length (max_position_embeddings)", context, 1, 1 << 24},
                          {"rope.dimension_count (qk_rope_head_dim)", rope.dims, 2, 4096},
                          {"rope.dimension_count, remainder by 2", rope.dims % 2, 0, 0}}));
  if (!(norm_eps >= 0.0f && norm_eps < 1.0f)) {
    return fail(Code::kCorrupt, path + ": attention.layer_norm_rms_epsilon (rms_norm_eps): found " +
                                    std::to_string(norm_eps) + ", expected 0 to 1");
  }
  HADAL_TRY_VOID(validate_rope(path, *this));
  if (mla) {
    HADAL_TRY_VOID(check_bounds(
        path, {{"attention.q_lora_rank", latent.q_rank, 0, kWidthMax},
               {"attention.kv_lora_rank", latent.kv_rank, 1, 1 << 16},
               {"attention.key_length without rope (qk_nope_head_dim)", latent.nope_dim, 1, 4096},
               {"attention.value_length (v_head_dim)", latent.v_dim, 1, 4096}}));
  } else {
    HADAL_TRY_VOID(check_bounds(
        path, {{"attention.head_count_kv (num_key_value_heads)", grouped.kv_heads, 1, heads},
               {"attention.key_length (head_dim)", grouped.head_dim, 2, 4096},
               {"rope.dimension_count", rope.dims, 2, std::max<int64_t>(grouped.head_dim, 2)}}));
    HADAL_TRY_VOID(
        check_bounds(path, {{"attention.head_count, remainder by attention.head_count_kv",
                             heads % grouped.kv_heads, 0, 0}}));
  }
  return moe.experts == 0 ? Status() : validate_experts(path, *this);
}

}  // namespace hadal
