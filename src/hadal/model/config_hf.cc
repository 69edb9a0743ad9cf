// ModelConfig from a Hugging Face folder's config.json.
#include <algorithm>
#include <cmath>
#include <string>

#include "hadal/base/limits.h"
#include "hadal/model/config.h"
#include "hadal/model/rope.h"

namespace hadal {
namespace {

constexpr int64_t kDimMax = 1 << 24;

Result<int32_t> dim(const JsonConfig& json, std::string_view key,
                    std::optional<int64_t> fallback = std::nullopt, int64_t minimum = 1) {
  HADAL_TRY(const int64_t value, json.integer(key, fallback, minimum, kDimMax));
  return static_cast<int32_t>(value);
}

Result<Architecture> parse_architecture(const HfModel& model) {
  HADAL_TRY(const std::string type, model.config.text("model_type", std::nullopt));
  if (type == "deepseek_v2" || type == "deepseek_v3") return Architecture::kDeepseek2;
  if (type == "llama") return Architecture::kLlama;
  if (type == "qwen2") return Architecture::kQwen2;
  if (type == "qwen3") return Architecture::kQwen3;
  return fail(Code::kUnsupported,
              model.path + "/config.json: model_type: found \"" + type +
                  "\", expected deepseek_v2, deepseek_v3, llama, qwen2 or qwen3");
}

Status read_mla(const JsonConfig& json, ModelConfig* config) {
  MlaConfig& mla = config->latent;
  config->mla = true;
  HADAL_TRY(mla.q_rank, dim(json, "q_lora_rank", 0, 0));
  HADAL_TRY(mla.kv_rank, dim(json, "kv_lora_rank"));
  HADAL_TRY(mla.nope_dim, dim(json, "qk_nope_head_dim"));
  HADAL_TRY(mla.rope_dim, dim(json, "qk_rope_head_dim"));
  HADAL_TRY(mla.v_dim, dim(json, "v_head_dim"));
  config->rope.dims = mla.rope_dim;
  config->rope.style = kernels::RopeStyle::kInterleaved;
  config->attention_scale = 1.0f / std::sqrt(static_cast<float>(mla.nope_dim + mla.rope_dim));
  return {};
}

Status read_moe(const JsonConfig& json, const std::string& path, ModelConfig* config) {
  MoeConfig& moe = config->moe;
  HADAL_TRY(moe.experts, dim(json, "n_routed_experts", 0, 0));
  if (moe.experts == 0) return {};
  HADAL_TRY(moe.gate.experts_used, dim(json, "num_experts_per_tok"));
  HADAL_TRY(moe.inner, dim(json, "moe_intermediate_size"));
  HADAL_TRY(moe.shared, dim(json, "n_shared_experts", 0, 0));
  HADAL_TRY(moe.dense_layers, dim(json, "first_k_dense_replace", 0, 0));
  HADAL_TRY(const std::string function, json.text("scoring_func", "softmax"));
  if (function != "softmax" && function != "sigmoid") {
    return fail(Code::kUnsupported,
                path + ": scoring_func: found \"" + function + "\", expected softmax or sigmoid");
  }
  moe.gate.function =
      function == "sigmoid" ? kernels::GateFunction::kSigmoid : kernels::GateFunction::kSoftmax;
  HADAL_TRY(moe.gate.normalize, json.boolean("norm_topk_prob", false));
  HADAL_TRY(const double scale, json.real("routed_scaling_factor", 1.0));
  moe.gate.scale = static_cast<float>(scale);
  HADAL_TRY(const std::string method, json.text("topk_method", "greedy"));
  if (method == "group_limited_greedy" || method == "noaux_tc") {
    HADAL_TRY(moe.gate.groups, dim(json, "n_group", 1));
    HADAL_TRY(moe.gate.groups_used, dim(json, "topk_group", moe.gate.groups));
  } else if (method != "greedy") {
    return fail(Code::kUnsupported, path + ": topk_method: found \"" + method +
                                        "\", expected greedy, group_limited_greedy or noaux_tc");
  }
  return {};
}

Status read_gqa(const JsonConfig& json, ModelConfig* config) {
  GqaConfig& gqa = config->grouped;
  HADAL_TRY(gqa.kv_heads, dim(json, "num_key_value_heads", config->heads));
  HADAL_TRY(gqa.head_dim, dim(json, "head_dim", config->hidden / config->heads));
  gqa.qkv_bias = config->architecture == Architecture::kQwen2;
  gqa.qk_norm = config->architecture == Architecture::kQwen3;
  config->rope.dims = gqa.head_dim;
  config->rope.style = kernels::RopeStyle::kHalves;
  config->attention_scale = 1.0f / std::sqrt(static_cast<float>(gqa.head_dim));
  return {};
}

Status read_yarn(const JsonConfig& json, double theta, ModelConfig* config) {
  YarnParams yarn;
  HADAL_TRY(yarn.factor, json.real("rope_scaling.factor", std::nullopt));
  HADAL_TRY(yarn.original_context,
            json.real("rope_scaling.original_max_position_embeddings", config->context));
  HADAL_TRY(yarn.beta_fast, json.real("rope_scaling.beta_fast", 32.0));
  HADAL_TRY(yarn.beta_slow, json.real("rope_scaling.beta_slow", 1.0));
  apply_yarn(config->rope.frequencies, theta, yarn);
  const bool two_mscales =
      json.has("rope_scaling.mscale") && json.has("rope_scaling.mscale_all_dim");
  if (!two_mscales) {
    config->rope.magnitude = static_cast<float>(yarn_magnitude(yarn.factor, 1.0));
    return {};
  }
  HADAL_TRY(const double mscale, json.real("rope_scaling.mscale", 1.0));
  HADAL_TRY(const double all_dim, json.real("rope_scaling.mscale_all_dim", 1.0));
  const double on_scores = yarn_magnitude(yarn.factor, all_dim);
  config->rope.magnitude = static_cast<float>(yarn_magnitude(yarn.factor, mscale) / on_scores);
  config->attention_scale *= static_cast<float>(on_scores * on_scores);
  return {};
}

Status read_rope(const JsonConfig& json, const std::string& path, ModelConfig* config) {
  HADAL_TRY(const double theta, json.real("rope_theta", 10000.0));
  if (!(theta > 1.0)) {
    return fail(Code::kCorrupt,
                path + ": rope_theta: found " + std::to_string(theta) + ", expected above 1");
  }
  std::vector<float>& frequencies = config->rope.frequencies;
  frequencies = rope_frequencies(config->rope.dims, theta);
  if (!json.has("rope_scaling")) return {};
  const char* key =
      json.has("rope_scaling.rope_type") ? "rope_scaling.rope_type" : "rope_scaling.type";
  HADAL_TRY(const std::string type, json.text(key, std::nullopt));
  if (type == "default") return {};
  if (type == "yarn") return read_yarn(json, theta, config);
  if (type == "linear") {
    HADAL_TRY(const double factor, json.real("rope_scaling.factor", std::nullopt));
    for (float& frequency : frequencies) frequency /= static_cast<float>(factor);
    return {};
  }
  if (type == "llama3") {
    Llama3RopeParams llama;
    HADAL_TRY(llama.factor, json.real("rope_scaling.factor", std::nullopt));
    HADAL_TRY(llama.low_frequency_factor, json.real("rope_scaling.low_freq_factor", 1.0));
    HADAL_TRY(llama.high_frequency_factor, json.real("rope_scaling.high_freq_factor", 4.0));
    HADAL_TRY(llama.original_context,
              json.real("rope_scaling.original_max_position_embeddings", 8192.0));
    apply_llama3(frequencies, llama);
    return {};
  }
  return fail(Code::kUnsupported, path + ": " + key + ": found \"" + type +
                                      "\", expected default, linear, yarn or llama3");
}

}  // namespace

Result<ModelConfig> config_from_hf(const HfModel& model) {
  const JsonConfig& json = model.config;
  const std::string path = model.path + "/config.json";
  ModelConfig config;
  HADAL_TRY(config.architecture, parse_architecture(model));
  config.name = model.path.substr(model.path.find_last_of('/') + 1);
  HADAL_TRY(config.vocabulary, dim(json, "vocab_size"));
  HADAL_TRY(config.hidden, dim(json, "hidden_size"));
  HADAL_TRY(config.layers, dim(json, "num_hidden_layers"));
  HADAL_TRY(config.heads, dim(json, "num_attention_heads"));
  HADAL_TRY(config.inner, dim(json, "intermediate_size"));
  HADAL_TRY(config.context, dim(json, "max_position_embeddings", 2048));
  HADAL_TRY(const double eps, json.real("rms_norm_eps", 1e-6));
  config.norm_eps = static_cast<float>(eps);
  HADAL_TRY(config.tied_embeddings, json.boolean("tie_word_embeddings", false));
  if (model.tensors.find("lm_head.weight") == nullptr) config.tied_embeddings = true;
  if (config.architecture == Architecture::kDeepseek2) {
    HADAL_TRY(config.mtp_layers, dim(json, "num_nextn_predict_layers", 0, 0));
    const std::string last = "model.layers." + std::to_string(config.layers) + ".eh_proj.weight";
    if (model.tensors.find(last) == nullptr) config.mtp_layers = 0;
    HADAL_TRY_VOID(read_mla(json, &config));
    HADAL_TRY_VOID(read_moe(json, path, &config));
  } else {
    HADAL_TRY_VOID(read_gqa(json, &config));
  }
  HADAL_TRY_VOID(read_rope(json, path, &config));
  HADAL_TRY_VOID(config.validate(path));
  return config;
}

}  // namespace hadal
