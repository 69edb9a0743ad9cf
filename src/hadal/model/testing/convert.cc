#include "hadal/model/testing/convert.h"

#include <cmath>
#include <cstring>
#include <list>

#include "hadal/model/config.h"
#include "hadal/model/weight_names.h"
#include "hadal/model/weight_source.h"

namespace hadal {
namespace {

using Values = std::map<std::string, GgufValue, std::less<>>;

Status add_keys(const JsonConfig& json, const ModelConfig& c, GgufGeneration generation,
                Values* out) {
  Values& v = *out;
  const auto set = [&v](const char* key, GgufValue value) {
    v["deepseek2." + std::string(key)] = std::move(value);
  };
  const bool split = generation == GgufGeneration::kSplit;
  const int64_t key = c.latent.nope_dim + c.latent.rope_dim;
  v["general.architecture"] = std::string("deepseek2");
  set("block_count", int64_t{c.layers});
  set("embedding_length", int64_t{c.hidden});
  set("feed_forward_length", int64_t{c.inner});
  set("context_length", int64_t{c.context});
  set("attention.head_count", int64_t{c.heads});
  set("attention.head_count_kv", split ? int64_t{1} : int64_t{c.heads});
  set("attention.key_length", split ? int64_t{c.latent.kv_rank + c.latent.rope_dim} : key);
  set("attention.value_length", split ? int64_t{c.latent.kv_rank} : int64_t{c.latent.v_dim});
  if (split) {
    set("attention.key_length_mla", key);
    set("attention.value_length_mla", int64_t{c.latent.v_dim});
  }
  if (c.latent.q_rank > 0) set("attention.q_lora_rank", int64_t{c.latent.q_rank});
  set("attention.kv_lora_rank", int64_t{c.latent.kv_rank});
  set("attention.layer_norm_rms_epsilon", double{c.norm_eps});
  set("leading_dense_block_count", int64_t{c.moe.dense_layers});
  set("expert_count", int64_t{c.moe.experts});
  set("expert_used_count", int64_t{c.moe.gate.experts_used});
  set("expert_shared_count", int64_t{c.moe.shared});
  set("expert_feed_forward_length", int64_t{c.moe.inner});
  set("expert_weights_scale", double{c.moe.gate.scale});
  set("expert_weights_norm", c.moe.gate.normalize);
  set("expert_gating_func",
      int64_t{c.moe.gate.function == kernels::GateFunction::kSigmoid ? 2 : 1});
  if (c.moe.gate.groups > 1) {
    set("expert_group_count", int64_t{c.moe.gate.groups});
    set("expert_group_used_count", int64_t{c.moe.gate.groups_used});
  }
  set("rope.dimension_count", int64_t{c.latent.rope_dim});
  HADAL_TRY(const double theta, json.real("rope_theta", 10000.0));
  set("rope.freq_base", theta);
  HADAL_TRY(const double factor, json.real("rope_scaling.factor", std::nullopt));
  HADAL_TRY(const int64_t original, json.integer("rope_scaling.original_max_position_embeddings",
                                                 std::nullopt, 1, 1 << 20));
  HADAL_TRY(const double mscale, json.real("rope_scaling.mscale_all_dim", std::nullopt));
  set("rope.scaling.type", std::string("yarn"));
  set("rope.scaling.factor", factor);
  set("rope.scaling.original_context_length", original);
  set("rope.scaling.yarn_log_multiplier", 0.1 * mscale);
  return {};
}

class Writer {
 public:
  Writer(const ModelFiles& folder, const ModelConfig& config)
      : source_(folder, std::nullopt, nullptr), config_(config) {}

  Status add(const std::string& name, const MatrixShape& shape) {
    HADAL_TRY(LoadedMatrix matrix, source_.matrix(name, shape));
    return add(name, shape, std::move(matrix));
  }
  Status add(const std::string& name, const MatrixShape& shape, LoadedMatrix matrix) {
    std::vector<int64_t> dims = {shape.rows, shape.cols};
    if (shape.count > 1) dims.insert(dims.begin(), shape.count);
    const bool fp8 = matrix.source.dtype == DType::kF8E4M3;
    std::vector<std::byte>& bytes = bytes_.emplace_back();
    for (size_t part = 0; part < matrix.source.parts.size(); ++part) {
      const auto raw = matrix.source.parts[part];
      if (!fp8) {
        bytes.insert(bytes.end(), raw.begin(), raw.end());
        continue;
      }
      std::vector<float> values(static_cast<size_t>(shape.rows * shape.cols));
      decode_part(matrix.source, part, 0, shape.rows, values.data());
      const auto as_bytes = std::as_bytes(std::span(values));
      bytes.insert(bytes.end(), as_bytes.begin(), as_bytes.end());
    }
    tensors_.push_back({name, fp8 ? DType::kF32 : matrix.source.dtype, dims, bytes});
    return {};
  }
  Status add_floats(const std::string& name, int64_t count) {
    HADAL_TRY(const std::vector<float> values, source_.floats(name, count));
    const auto raw = std::as_bytes(std::span(values));
    std::vector<std::byte>& bytes = bytes_.emplace_back(raw.begin(), raw.end());
    tensors_.push_back({name, DType::kF32, {count}, bytes});
    return {};
  }

  Status add_attention(int32_t layer, GgufGeneration generation) {
    const MlaConfig& m = config_.latent;
    const int64_t heads = config_.heads;
    const auto name = [layer](const char* part) { return layer_tensor(layer, part); };
    const int64_t q_width = heads * (m.nope_dim + m.rope_dim);
    if (m.q_rank > 0) {
      HADAL_TRY_VOID(add(name("attn_q_a.weight"), {1, m.q_rank, config_.hidden}));
      HADAL_TRY_VOID(add_floats(name("attn_q_a_norm.weight"), m.q_rank));
      HADAL_TRY_VOID(add(name("attn_q_b.weight"), {1, q_width, m.q_rank}));
    } else {
      HADAL_TRY_VOID(add(name("attn_q.weight"), {1, q_width, config_.hidden}));
    }
    HADAL_TRY_VOID(add(name("attn_kv_a_mqa.weight"), {1, m.kv_rank + m.rope_dim, config_.hidden}));
    HADAL_TRY_VOID(add_floats(name("attn_kv_a_norm.weight"), m.kv_rank));
    if (generation != GgufGeneration::kSplit) {
      HADAL_TRY_VOID(add(name("attn_kv_b.weight"), {1, heads * (m.nope_dim + m.v_dim), m.kv_rank}));
    }
    if (generation != GgufGeneration::kJoined) {
      HADAL_TRY(WeightSource::MlaUp up, source_.mla_up(layer, config_.heads, m));
      HADAL_TRY_VOID(
          add(name("attn_k_b.weight"), {heads, m.kv_rank, m.nope_dim}, std::move(up.k_up)));
      HADAL_TRY_VOID(add(name("attn_v_b.weight"), {heads, m.v_dim, m.kv_rank}, std::move(up.v_up)));
    }
    return add(name("attn_output.weight"), {1, config_.hidden, heads * m.v_dim});
  }

  Status add_ffn(int32_t layer) {
    const int64_t hidden = config_.hidden;
    const MoeConfig& moe = config_.moe;
    const auto block = [&](const std::string& suffix, int64_t count, int64_t inner) -> Status {
      for (const char* part : {"ffn_gate", "ffn_up"}) {
        HADAL_TRY_VOID(add(layer_tensor(layer, part + suffix + ".weight"), {count, inner, hidden}));
      }
      return add(layer_tensor(layer, "ffn_down" + suffix + ".weight"), {count, hidden, inner});
    };
    if (!config_.layer_has_experts(layer)) return block("", 1, config_.inner);
    HADAL_TRY_VOID(add(layer_tensor(layer, "ffn_gate_inp.weight"), {1, moe.experts, hidden}));
    if (moe.gate.function == kernels::GateFunction::kSigmoid) {
      HADAL_TRY_VOID(add_floats(layer_tensor(layer, "exp_probs_b.bias"), moe.experts));
    }
    HADAL_TRY_VOID(block("_exps", moe.experts, moe.inner));
    return block("_shexp", 1, static_cast<int64_t>(moe.shared) * moe.inner);
  }

  Status add_all(GgufGeneration generation) {
    const MatrixShape table{1, config_.vocabulary, config_.hidden};
    HADAL_TRY_VOID(add("token_embd.weight", table));
    HADAL_TRY_VOID(add_floats("output_norm.weight", config_.hidden));
    HADAL_TRY_VOID(add("output.weight", table));
    for (int32_t layer = 0; layer < config_.layers; ++layer) {
      HADAL_TRY_VOID(add_floats(layer_tensor(layer, "attn_norm.weight"), config_.hidden));
      HADAL_TRY_VOID(add_floats(layer_tensor(layer, "ffn_norm.weight"), config_.hidden));
      HADAL_TRY_VOID(add_attention(layer, generation));
      HADAL_TRY_VOID(add_ffn(layer));
    }
    return {};
  }

  std::span<const GgufTensorSource> tensors() const { return tensors_; }

 private:
  WeightSource source_;
  const ModelConfig& config_;
  std::list<std::vector<std::byte>> bytes_;
  std::vector<GgufTensorSource> tensors_;
};

}  // namespace

Status convert_to_gguf(const ModelFiles& folder, GgufGeneration generation,
                       const std::string& path) {
  const auto& hf = std::get<HfModel>(folder.model);
  HADAL_TRY(const ModelConfig config, config_from_hf(hf));
  Values values;
  HADAL_TRY_VOID(add_keys(hf.config, config, generation, &values));
  Writer writer(folder, config);
  HADAL_TRY_VOID(writer.add_all(generation));
  return write_gguf(path, values, writer.tensors());
}

}  // namespace hadal
