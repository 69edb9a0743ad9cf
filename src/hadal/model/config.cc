#include "hadal/model/config.h"

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

KvLayout ModelConfig::kv_layout(DType dtype, int32_t block_tokens) const {
  KvLayout layout{dtype, block_tokens, {}};
  for (int32_t layer = 0; layer < layers; ++layer) {
    if (mla) {
      layout.streams.push_back({layer, latent.kv_rank + latent.rope_dim});
    } else {
      const int64_t width = static_cast<int64_t>(grouped.kv_heads) * grouped.head_dim;
      layout.streams.push_back({layer, width});
      layout.streams.push_back({layer, width});
    }
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

}  // namespace

Status ModelConfig::validate(const std::string& path) const {
  constexpr int64_t kWidthMax = 1 << 20;
  HADAL_TRY_VOID(check_bounds(path, {{"vocabulary", vocabulary, 1, limits::kVocabularyMax},
                                     {"hidden size", hidden, 1, kWidthMax},
                                     {"layers", layers, 1, limits::kLayersMax},
                                     {"next-token layers", mtp_layers, 0, 8},
                                     {"attention heads", heads, 1, 4096},
                                     {"feed-forward size", inner, 1, kWidthMax},
                                     {"context", context, 1, 1 << 24},
                                     {"rope dimensions", rope.dims, 2, 4096},
                                     {"rope dimensions, odd part", rope.dims % 2, 0, 0}}));
  if (!(norm_eps >= 0.0f && norm_eps < 1.0f)) {
    return fail(Code::kCorrupt,
                path + ": norm epsilon: found " + std::to_string(norm_eps) + ", expected 0 to 1");
  }
  if (!std::isfinite(attention_scale) || !std::isfinite(rope.magnitude)) {
    return fail(Code::kCorrupt, path + ": rope scaling: found a factor that is not finite");
  }
  if (mla) {
    HADAL_TRY_VOID(check_bounds(path, {{"q_lora_rank", latent.q_rank, 0, kWidthMax},
                                       {"kv_lora_rank", latent.kv_rank, 1, 1 << 16},
                                       {"key length without rope", latent.nope_dim, 1, 4096},
                                       {"value length", latent.v_dim, 1, 4096}}));
  } else {
    HADAL_TRY_VOID(
        check_bounds(path, {{"key and value heads", grouped.kv_heads, 1, heads},
                            {"heads per key head, remainder", heads % grouped.kv_heads, 0, 0},
                            {"head size", grouped.head_dim, 2, 4096},
                            {"rope dimensions", rope.dims, 2, grouped.head_dim}}));
  }
  if (moe.experts == 0) return {};
  const kernels::GateConfig& gate = moe.gate;
  HADAL_TRY_VOID(check_bounds(path, {{"experts", moe.experts, 1, limits::kExpertsMax},
                                     {"expert groups", gate.groups, 1, moe.experts},
                                     {"expert feed-forward size", moe.inner, 1, kWidthMax},
                                     {"shared experts", moe.shared, 0, 64},
                                     {"leading dense layers", moe.dense_layers, 0, layers}}));
  const int64_t in_group = moe.experts / gate.groups;
  return check_bounds(path, {{"experts per group, remainder", moe.experts % gate.groups, 0, 0},
                             {"expert groups used", gate.groups_used, 1, gate.groups},
                             {"experts used", gate.experts_used, 1, in_group * gate.groups_used}});
}

}  // namespace hadal
