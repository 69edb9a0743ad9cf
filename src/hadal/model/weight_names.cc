#include "hadal/model/weight_names.h"

#include <array>
#include <charconv>
#include <utility>

namespace hadal {
namespace {

using Pair = std::pair<std::string_view, std::string_view>;

constexpr std::array kGlobal = {
    Pair{"token_embd.weight", "model.embed_tokens.weight"},
    Pair{"output_norm.weight", "model.norm.weight"},
    Pair{"output.weight", "lm_head.weight"},
};

// After "blk.N." and "model.layers.N.".
constexpr std::array kLayer = {
    Pair{"attn_norm.weight", "input_layernorm.weight"},
    Pair{"ffn_norm.weight", "post_attention_layernorm.weight"},
    Pair{"attn_q.weight", "self_attn.q_proj.weight"},
    Pair{"attn_k.weight", "self_attn.k_proj.weight"},
    Pair{"attn_v.weight", "self_attn.v_proj.weight"},
    Pair{"attn_q.bias", "self_attn.q_proj.bias"},
    Pair{"attn_k.bias", "self_attn.k_proj.bias"},
    Pair{"attn_v.bias", "self_attn.v_proj.bias"},
    Pair{"attn_q_norm.weight", "self_attn.q_norm.weight"},
    Pair{"attn_k_norm.weight", "self_attn.k_norm.weight"},
    Pair{"attn_output.weight", "self_attn.o_proj.weight"},
    Pair{"attn_q_a.weight", "self_attn.q_a_proj.weight"},
    Pair{"attn_q_a_norm.weight", "self_attn.q_a_layernorm.weight"},
    Pair{"attn_q_b.weight", "self_attn.q_b_proj.weight"},
    Pair{"attn_kv_a_mqa.weight", "self_attn.kv_a_proj_with_mqa.weight"},
    Pair{"attn_kv_a_norm.weight", "self_attn.kv_a_layernorm.weight"},
    Pair{"attn_kv_b.weight", "self_attn.kv_b_proj.weight"},
    Pair{"ffn_gate.weight", "mlp.gate_proj.weight"},
    Pair{"ffn_up.weight", "mlp.up_proj.weight"},
    Pair{"ffn_down.weight", "mlp.down_proj.weight"},
    Pair{"ffn_gate_inp.weight", "mlp.gate.weight"},
    Pair{"exp_probs_b.bias", "mlp.gate.e_score_correction_bias"},
    Pair{"ffn_gate_exps.weight", "mlp.experts.E.gate_proj.weight"},
    Pair{"ffn_up_exps.weight", "mlp.experts.E.up_proj.weight"},
    Pair{"ffn_down_exps.weight", "mlp.experts.E.down_proj.weight"},
    Pair{"nextn.eh_proj.weight", "eh_proj.weight"},
    Pair{"nextn.enorm.weight", "enorm.weight"},
    Pair{"nextn.hnorm.weight", "hnorm.weight"},
    Pair{"nextn.shared_head_norm.weight", "shared_head.norm.weight"},
    Pair{"ffn_gate_shexp.weight", "mlp.shared_experts.gate_proj.weight"},
    Pair{"ffn_up_shexp.weight", "mlp.shared_experts.up_proj.weight"},
    Pair{"ffn_down_shexp.weight", "mlp.shared_experts.down_proj.weight"},
};

}  // namespace

std::string layer_tensor(int32_t layer, std::string_view name) {
  return "blk." + std::to_string(layer) + "." + std::string(name);
}

std::string hf_tensor_name(std::string_view gguf_name, std::optional<int32_t> expert) {
  for (const auto& [from, to] : kGlobal) {
    if (gguf_name == from) return std::string(to);
  }
  constexpr std::string_view kPrefix = "blk.";
  if (!gguf_name.starts_with(kPrefix)) return "";
  const size_t dot = gguf_name.find('.', kPrefix.size());
  if (dot == std::string_view::npos) return "";
  const std::string_view layer = gguf_name.substr(kPrefix.size(), dot - kPrefix.size());
  for (const auto& [from, to] : kLayer) {
    if (gguf_name.substr(dot + 1) != from) continue;
    std::string name = "model.layers." + std::string(layer) + "." + std::string(to);
    constexpr std::string_view kExpert = ".E.";
    const size_t at = name.find(kExpert);
    if (at == std::string::npos) return name;
    if (!expert) return "";
    return name.replace(at + 1, 1, std::to_string(*expert));
  }
  return "";
}

std::optional<int32_t> layer_of(std::string_view stored_name) {
  for (const std::string_view prefix : {"blk.", "model.layers."}) {
    if (!stored_name.starts_with(prefix)) continue;
    const std::string_view rest = stored_name.substr(prefix.size());
    int32_t layer = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
    if (error == std::errc() && end != rest.data() + rest.size() && *end == '.') return layer;
  }
  return std::nullopt;
}

bool is_redundant(std::string_view stored_name) {
  return stored_name == "rope_freqs.weight" || stored_name.ends_with(".rotary_emb.inv_freq") ||
         stored_name.ends_with(".attn_rot_embd.weight");
}

}  // namespace hadal
