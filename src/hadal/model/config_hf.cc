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
  // Folders saved by libraries that know the type leave out what the type implies.
  HADAL_TRY(const std::string type, json.text("model_type", std::nullopt));
  const bool v3 = type == "deepseek_v3";
  HADAL_TRY(const std::string function, json.text("scoring_func", v3 ? "sigmoid" : "softmax"));
  if (function != "softmax" && function != "sigmoid") {
    return fail(Code::kUnsupported,
                path + ": scoring_func: found \"" + function + "\", expected softmax or sigmoid");
  }
  moe.gate.function =
      function == "sigmoid" ? kernels::GateFunction::kSigmoid : kernels::GateFunction::kSoftmax;
  HADAL_TRY(moe.gate.normalize, json.boolean("norm_topk_prob", v3));
  HADAL_TRY(const double scale, json.real("routed_scaling_factor", 1.0));
  moe.gate.scale = static_cast<float>(scale);
  HADAL_TRY(const int32_t frequency, dim(json, "moe_layer_freq", 1));
  if (frequency != 1) {
    return fail(Code::kUnsupported,
                path + ": moe_layer_freq: found " + std::to_string(frequency) + ", expected 1");
  }
  HADAL_TRY(const std::string method, json.text("topk_method", v3 ? "noaux_tc" : "greedy"));
  if (method == "group_limited_greedy" || method == "noaux_tc") {
    HADAL_TRY(moe.gate.groups, dim(json, "n_group", 1));
    HADAL_TRY(moe.gate.groups_used, dim(json, "topk_group", moe.gate.groups));
  } else if (method != "greedy" && method != "gready") {  // so spelled in DeepSeek's own default
    return fail(Code::kUnsupported, path + ": topk_method: found \"" + method +
                                        "\", expected greedy, group_limited_greedy or noaux_tc");
  }
  return {};
}

// What a grouped-query model may ask for and forward() does not do: better no answer than another
// model's. Qwen2 has its biases whatever the file says of them.
Status refuse_variants(const JsonConfig& json, const std::string& path, bool qwen2) {
  for (const char* key : {"attention_bias", "mlp_bias", "use_sliding_window"}) {
    HADAL_TRY(const bool wanted, json.boolean(key, false));
    if (!wanted || (qwen2 && std::string_view(key) == "attention_bias")) continue;
    return fail(Code::kUnsupported, path + ": " + key + ": found true, expected false");
  }
  return {};
}

Status read_gqa(const JsonConfig& json, const std::string& path, ModelConfig* config) {
  HADAL_TRY_VOID(refuse_variants(json, path, config->architecture == Architecture::kQwen2));
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

// The keys of `section`: "rope_scaling", or "rope_parameters" as folders since 2025 say.
class RopeKeys {
 public:
  RopeKeys(const JsonConfig& json, std::string path, std::string section)
      : json_(json), path_(std::move(path)), section_(std::move(section)) {}

  bool has(std::string_view key) const { return json_.has(name(key)); }
  Result<double> real(std::string_view key, std::optional<double> fallback) const {
    return json_.real(name(key), fallback);
  }
  Result<std::string> text(std::string_view key) const {
    return json_.text(name(key), std::nullopt);
  }
  // Above 0: what is divided by, or whose logarithm is taken.
  Result<double> positive(std::string_view key, std::optional<double> fallback) const {
    HADAL_TRY(const double value, json_.real(name(key), fallback));
    if (!(value > 0.0)) return fail(bad(key, value, "above 0"));
    return value;
  }
  Error bad(std::string_view key, double found, const std::string& expected) const {
    return {Code::kCorrupt, path_ + ": " + name(key) + ": found " + std::to_string(found) +
                                ", expected " + expected};
  }
  std::string name(std::string_view key) const { return section_ + "." + std::string(key); }

 private:
  const JsonConfig& json_;
  std::string path_, section_;
};

Status read_yarn(const RopeKeys& keys, double theta, ModelConfig* config) {
  YarnParams yarn;
  HADAL_TRY(yarn.factor, keys.positive("factor", std::nullopt));
  HADAL_TRY(yarn.original_context,
            keys.positive("original_max_position_embeddings", config->context));
  HADAL_TRY(yarn.beta_fast, keys.positive("beta_fast", 32.0));
  HADAL_TRY(yarn.beta_slow, keys.positive("beta_slow", 1.0));
  apply_yarn(config->rope.frequencies, theta, yarn);
  HADAL_TRY(const double mscale, keys.real("mscale", 1.0));
  HADAL_TRY(const double all_dim, keys.real("mscale_all_dim", 0.0));
  // DeepSeek's code squares the second on the scores; the others' know the ratio alone, and take it
  // when both are given.
  const bool ratio = config->mla || (keys.has("mscale") && keys.has("mscale_all_dim"));
  const double on_scores = yarn_magnitude(yarn.factor, all_dim);
  double magnitude =
      ratio ? yarn_magnitude(yarn.factor, mscale) / on_scores : yarn_magnitude(yarn.factor, 1.0);
  if (!config->mla) {
    HADAL_TRY(magnitude, keys.real("attention_factor", magnitude));
  }
  config->rope.magnitude = static_cast<float>(magnitude);
  if (config->mla) config->attention_scale *= static_cast<float>(on_scores * on_scores);
  return {};
}

Status read_llama3(const RopeKeys& keys, std::span<float> frequencies) {
  Llama3RopeParams llama;
  HADAL_TRY(llama.factor, keys.positive("factor", std::nullopt));
  HADAL_TRY(llama.low_frequency_factor, keys.positive("low_freq_factor", 1.0));
  HADAL_TRY(llama.high_frequency_factor, keys.positive("high_freq_factor", 4.0));
  if (llama.high_frequency_factor <= llama.low_frequency_factor) {
    return fail(keys.bad("high_freq_factor", llama.high_frequency_factor,
                         "above low_freq_factor, " + std::to_string(llama.low_frequency_factor)));
  }
  HADAL_TRY(llama.original_context, keys.positive("original_max_position_embeddings", 8192.0));
  apply_llama3(frequencies, llama);
  return {};
}

Status read_rope(const JsonConfig& json, const std::string& path, ModelConfig* config) {
  const char* section = json.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const RopeKeys keys(json, path, section);
  HADAL_TRY(const double inner_theta, keys.real("rope_theta", 10000.0));
  HADAL_TRY(const double theta, json.real("rope_theta", inner_theta));
  if (!(theta > 1.0)) {
    return fail(Code::kCorrupt,
                path + ": rope_theta: found " + std::to_string(theta) + ", expected above 1");
  }
  std::vector<float>& frequencies = config->rope.frequencies;
  frequencies = rope_frequencies(config->rope.dims, theta);
  if (!json.has(section)) return {};
  const char* key = keys.has("rope_type") ? "rope_type" : "type";
  HADAL_TRY(const std::string type, keys.text(key));
  if (type == "default") return {};
  if (type == "yarn") return read_yarn(keys, theta, config);
  if (type == "llama3") return read_llama3(keys, frequencies);
  if (type == "linear") {
    HADAL_TRY(const double factor, keys.positive("factor", std::nullopt));
    for (float& frequency : frequencies) frequency /= static_cast<float>(factor);
    return {};
  }
  return fail(Code::kUnsupported, path + ": " + keys.name(key) + ": found \"" + type +
                                      "\", expected default, linear, yarn or llama3");
}

}  // namespace

Result<ModelConfig> config_from_hf(const HfModel& model) {
  const JsonConfig& json = model.config;
  const std::string path = model.path + "/config.json";
  ModelConfig config;
  HADAL_TRY(config.architecture, parse_architecture(model));
  HADAL_TRY(const std::string activation, json.text("hidden_act", "silu"));
  if (activation != "silu") {
    return fail(Code::kUnsupported,
                path + ": hidden_act: found \"" + activation + "\", expected \"silu\"");
  }
  config.name = model.path.substr(model.path.find_last_of('/') + 1);
  HADAL_TRY(config.vocabulary, dim(json, "vocab_size"));
  HADAL_TRY(config.hidden, dim(json, "hidden_size"));
  HADAL_TRY(config.layers, dim(json, "num_hidden_layers"));
  HADAL_TRY(config.heads, dim(json, "num_attention_heads"));
  HADAL_TRY(config.inner, dim(json, "intermediate_size"));
  HADAL_TRY(config.context, dim(json, "max_position_embeddings", 2048));
  HADAL_TRY(const double eps, json.real("rms_norm_eps", 1e-6));
  config.norm_eps = static_cast<float>(eps);
  // Said, it counts: a head that is missing then is an error, not a reason to use the embedding.
  const bool headless = model.tensors.find("lm_head.weight") == nullptr;
  HADAL_TRY(config.tied_embeddings, json.boolean("tie_word_embeddings", headless));
  if (config.architecture == Architecture::kDeepseek2) {
    HADAL_TRY(config.mtp_layers, dim(json, "num_nextn_predict_layers", 0, 0));
    const std::string last = "model.layers." + std::to_string(config.layers) + ".eh_proj.weight";
    if (model.tensors.find(last) == nullptr) config.mtp_layers = 0;
    HADAL_TRY_VOID(read_mla(json, &config));
    HADAL_TRY_VOID(read_moe(json, path, &config));
  } else {
    HADAL_TRY_VOID(read_gqa(json, path, &config));
  }
  HADAL_TRY_VOID(read_rope(json, path, &config));
  HADAL_TRY_VOID(config.validate(path));
  return config;
}

}  // namespace hadal
