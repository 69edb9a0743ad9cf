// ModelConfig from the keys of a GGUF file.
#include <algorithm>
#include <cmath>
#include <string>

#include "hadal/base/limits.h"
#include "hadal/model/config.h"
#include "hadal/model/rope.h"

namespace hadal {
namespace {

constexpr int64_t kDimMax = 1 << 20;

// Reads `<architecture>.<key>` with bounds.
class Keys {
 public:
  Keys(const GgufMeta& meta, std::string prefix) : meta_(meta), prefix_(std::move(prefix) + ".") {}

  Result<int32_t> dim(std::string_view key) const { return integer(key, std::nullopt, 1); }
  Result<int32_t> dim_or(std::string_view key, int64_t fallback, int64_t minimum = 0) const {
    return integer(key, fallback, minimum);
  }
  Result<double> real(std::string_view key, std::optional<double> fallback) const {
    return meta_.real(prefix_ + std::string(key), fallback);
  }
  // Above 0: what is divided by, or whose logarithm is taken.
  Result<double> positive(std::string_view key, double fallback) const {
    HADAL_TRY(const double value, real(key, fallback));
    if (!(value > 0.0)) return fail(bad(key, std::to_string(value), "above 0"));
    return value;
  }
  Result<bool> boolean(std::string_view key, bool fallback) const {
    return meta_.boolean(prefix_ + std::string(key), fallback);
  }
  Result<std::string> text(std::string_view key) const {
    return meta_.text(prefix_ + std::string(key), "");
  }
  bool has(std::string_view key) const { return meta_.has(prefix_ + std::string(key)); }
  Error bad(std::string_view key, const std::string& found, const std::string& expected) const {
    return {Code::kCorrupt, meta_.path + ": " + prefix_ + std::string(key) + ": found " + found +
                                ", expected " + expected};
  }

 private:
  Result<int32_t> integer(std::string_view key, std::optional<int64_t> fallback,
                          int64_t minimum) const {
    HADAL_TRY(const int64_t value,
              meta_.integer(prefix_ + std::string(key), fallback, minimum, kDimMax * 16));
    return static_cast<int32_t>(value);
  }
  const GgufMeta& meta_;
  std::string prefix_;
};

Result<Architecture> parse_architecture(const GgufMeta& meta) {
  HADAL_TRY(const std::string name, meta.text("general.architecture", std::nullopt));
  for (Architecture known : {Architecture::kDeepseek2, Architecture::kLlama, Architecture::kQwen2,
                             Architecture::kQwen3}) {
    if (name == architecture_name(known)) return known;
  }
  return fail(Code::kUnsupported, meta.path + ": general.architecture: found \"" + name +
                                      "\", expected deepseek2, llama, qwen2 or qwen3");
}

Status read_rope(const Keys& keys, ModelConfig* config) {
  HADAL_TRY(const double theta, keys.real("rope.freq_base", 10000.0));
  if (!(theta > 1.0)) return fail(keys.bad("rope.freq_base", std::to_string(theta), "above 1"));
  RopeConfig& rope = config->rope;
  rope.frequencies = rope_frequencies(rope.dims, theta);
  HADAL_TRY(const std::string type, keys.text("rope.scaling.type"));
  if (type.empty() || type == "none") return {};
  HADAL_TRY(const double factor, keys.positive("rope.scaling.factor", 1.0));
  if (type == "linear") {
    for (float& frequency : rope.frequencies) frequency /= static_cast<float>(factor);
    return {};
  }
  if (type != "yarn") {
    return fail(Code::kUnsupported,
                keys.bad("rope.scaling.type", "\"" + type + "\"", "none, linear or yarn").what);
  }
  YarnParams yarn;
  yarn.factor = factor;
  HADAL_TRY(yarn.original_context,
            keys.positive("rope.scaling.original_context_length", config->context));
  HADAL_TRY(yarn.beta_fast, keys.positive("rope.scaling.yarn_beta_fast", 32.0));
  HADAL_TRY(yarn.beta_slow, keys.positive("rope.scaling.yarn_beta_slow", 1.0));
  apply_yarn(rope.frequencies, theta, yarn);
  if (config->mla) {
    // The file holds 0.1 * mscale_all_dim. DeepSeek's two mscales cancel in cos and sin and stay,
    // squared, on the scores.
    HADAL_TRY(const double log_multiplier, keys.real("rope.scaling.yarn_log_multiplier", 0.0));
    const double mscale = yarn_magnitude(factor, 10.0 * log_multiplier);
    config->attention_scale *= static_cast<float>(mscale * mscale);
  } else {
    HADAL_TRY(const double attention_factor, keys.real("rope.scaling.attn_factor", 1.0));
    rope.magnitude = static_cast<float>(attention_factor * yarn_magnitude(factor, 1.0));
  }
  return {};
}

Status read_mla(const Keys& keys, ModelConfig* config) {
  MlaConfig& mla = config->latent;
  config->mla = true;
  HADAL_TRY(mla.q_rank, keys.dim_or("attention.q_lora_rank", 0));
  HADAL_TRY(mla.kv_rank, keys.dim("attention.kv_lora_rank"));
  HADAL_TRY(mla.rope_dim, keys.dim("rope.dimension_count"));
  // Files since April 2025 describe the absorbed cache in key_length and keep the real sizes apart.
  const bool absorbed = keys.has("attention.key_length_mla");
  HADAL_TRY(const int32_t key,
            keys.dim(absorbed ? "attention.key_length_mla" : "attention.key_length"));
  HADAL_TRY(mla.v_dim,
            keys.dim(absorbed ? "attention.value_length_mla" : "attention.value_length"));
  if (key <= mla.rope_dim || mla.rope_dim % 2 != 0) {
    return fail(
        keys.bad("attention.key_length", std::to_string(key),
                 "more than an even rope.dimension_count (" + std::to_string(mla.rope_dim) + ")"));
  }
  mla.nope_dim = key - mla.rope_dim;
  config->rope.dims = mla.rope_dim;
  config->rope.style = kernels::RopeStyle::kInterleaved;
  config->attention_scale = 1.0f / std::sqrt(static_cast<float>(key));
  return {};
}

// Files of before mid-2025 lack the group keys; the models that need them are known by their shape.
void default_groups(MoeConfig* moe) {
  const bool v3 = moe->experts == 256 && moe->gate.function == kernels::GateFunction::kSigmoid;
  const bool v2 = moe->experts == 160 && moe->gate.function == kernels::GateFunction::kSoftmax;
  if (v3 || v2) moe->gate.groups = 8;
  if (v3) moe->gate.groups_used = 4;
  if (v2) moe->gate.groups_used = 3;
}

Status read_moe(const Keys& keys, const TensorFile& tensors, ModelConfig* config) {
  MoeConfig& moe = config->moe;
  HADAL_TRY(moe.experts, keys.dim_or("expert_count", 0));
  if (moe.experts == 0) return {};
  if (moe.experts > static_cast<int32_t>(limits::kExpertsMax)) {
    return fail(keys.bad("expert_count", std::to_string(moe.experts),
                         "at most " + std::to_string(limits::kExpertsMax)));
  }
  HADAL_TRY(moe.gate.experts_used, keys.dim("expert_used_count"));
  HADAL_TRY(moe.inner, keys.dim("expert_feed_forward_length"));
  HADAL_TRY(moe.shared, keys.dim_or("expert_shared_count", 0));
  HADAL_TRY(moe.dense_layers, keys.dim_or("leading_dense_block_count", 0));
  HADAL_TRY(const int32_t function, keys.dim_or("expert_gating_func", 0));
  const bool has_bias = std::ranges::any_of(tensors.tensors(), [](const TensorRecord& t) {
    return t.name.find(".exp_probs_b") != std::string::npos;
  });
  if (function > 2) {
    return fail(Code::kUnsupported, keys.bad("expert_gating_func", std::to_string(function),
                                             "1 (softmax) or 2 (sigmoid)")
                                        .what);
  }
  const bool sigmoid = function == 2 || (function == 0 && has_bias);
  moe.gate.function = sigmoid ? kernels::GateFunction::kSigmoid : kernels::GateFunction::kSoftmax;
  HADAL_TRY(moe.gate.normalize, keys.boolean("expert_weights_norm", false));
  HADAL_TRY(const double scale, keys.real("expert_weights_scale", 1.0));
  moe.gate.scale = scale == 0.0 ? 1.0f : static_cast<float>(scale);
  if (keys.has("expert_group_count")) {
    HADAL_TRY(moe.gate.groups, keys.dim("expert_group_count"));
    HADAL_TRY(moe.gate.groups_used, keys.dim_or("expert_group_used_count", moe.gate.groups));
  } else {
    default_groups(&moe);
  }
  return {};
}

Status read_gqa(const Keys& keys, const TensorFile& tensors, ModelConfig* config) {
  GqaConfig& gqa = config->grouped;
  HADAL_TRY(gqa.kv_heads, keys.dim_or("attention.head_count_kv", config->heads, 1));
  HADAL_TRY(gqa.head_dim, keys.dim_or("attention.key_length", config->hidden / config->heads, 1));
  HADAL_TRY(const int32_t value, keys.dim_or("attention.value_length", gqa.head_dim));
  if (value != gqa.head_dim) {
    return fail(
        keys.bad("attention.value_length", std::to_string(value), std::to_string(gqa.head_dim)));
  }
  // Some fine-tunes in the others' shapes have them as well.
  gqa.qkv_bias =
      config->architecture == Architecture::kQwen2 || tensors.find("blk.0.attn_q.bias") != nullptr;
  gqa.qk_norm = config->architecture == Architecture::kQwen3;
  HADAL_TRY(config->rope.dims, keys.dim_or("rope.dimension_count", gqa.head_dim));
  config->rope.style = config->architecture == Architecture::kLlama
                           ? kernels::RopeStyle::kInterleaved  // converters permute llama's q and k
                           : kernels::RopeStyle::kHalves;
  config->attention_scale = 1.0f / std::sqrt(static_cast<float>(gqa.head_dim));
  return {};
}

// llama3's stretching comes as a tensor of divisors.
Status apply_rope_factors(const TensorFile& tensors, const std::string& path, RopeConfig* rope) {
  const TensorRecord* factors = tensors.find("rope_freqs.weight");
  if (factors == nullptr) return {};
  if (factors->dtype != DType::kF32 ||
      factors->elements() != static_cast<int64_t>(rope->frequencies.size())) {
    return fail(Code::kCorrupt, path + ": rope_freqs.weight: found " +
                                    std::to_string(factors->elements()) + " values, expected " +
                                    std::to_string(rope->frequencies.size()) + " f32");
  }
  const auto* values = reinterpret_cast<const float*>(factors->data.data());
  for (size_t j = 0; j < rope->frequencies.size(); ++j) rope->frequencies[j] /= values[j];
  return {};
}

// block_count counts next-token-prediction layers too, but many files were written without them:
// what the last block really is decides.
Status read_mtp_layers(const Keys& keys, const TensorFile& tensors, ModelConfig* config) {
  HADAL_TRY(const int32_t mtp, keys.dim_or("nextn_predict_layers", 0));
  if (mtp == 0) return {};
  const std::string last = "blk." + std::to_string(config->layers - 1);
  const bool has_mtp = tensors.find(last + ".nextn.eh_proj.weight") != nullptr;
  const bool is_plain = !has_mtp && tensors.find(last + ".attn_norm.weight") != nullptr;
  if (!is_plain) config->layers -= mtp;
  config->mtp_layers = has_mtp ? mtp : 0;
  return {};
}

}  // namespace

Result<ModelConfig> config_from_gguf(const GgufMeta& meta, const TensorFile& tensors) {
  ModelConfig config;
  HADAL_TRY(config.architecture, parse_architecture(meta));
  const Keys keys(meta, std::string(architecture_name(config.architecture)));
  HADAL_TRY(config.name, meta.text("general.name", ""));
  HADAL_TRY(config.layers, keys.dim("block_count"));
  HADAL_TRY(config.hidden, keys.dim("embedding_length"));
  HADAL_TRY(config.heads, keys.dim("attention.head_count"));
  HADAL_TRY(config.inner, keys.dim("feed_forward_length"));
  HADAL_TRY(config.context, keys.dim("context_length"));
  HADAL_TRY(const double eps, keys.real("attention.layer_norm_rms_epsilon", std::nullopt));
  config.norm_eps = static_cast<float>(eps);
  HADAL_TRY_VOID(read_mtp_layers(keys, tensors, &config));
  const TensorRecord* table = tensors.find("token_embd.weight");
  if (table == nullptr || table->shape.size() != 2) {
    return fail(Code::kCorrupt, meta.path + ": token_embd.weight: found " +
                                    (table == nullptr ? "nothing" : "another shape") +
                                    ", expected [vocabulary, embedding_length]");
  }
  config.vocabulary =
      static_cast<int32_t>(std::min<int64_t>(table->shape[0], limits::kVocabularyMax + 1));
  config.tied_embeddings = tensors.find("output.weight") == nullptr;
  if (config.architecture == Architecture::kDeepseek2) {
    HADAL_TRY_VOID(read_mla(keys, &config));
    HADAL_TRY_VOID(read_moe(keys, tensors, &config));
  } else {
    HADAL_TRY_VOID(read_gqa(keys, tensors, &config));
  }
  HADAL_TRY_VOID(read_rope(keys, &config));
  HADAL_TRY_VOID(apply_rope_factors(tensors, meta.path, &config.rope));
  HADAL_TRY_VOID(config.validate(meta.path));
  return config;
}

}  // namespace hadal
