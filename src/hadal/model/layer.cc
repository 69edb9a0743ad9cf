#include "hadal/model/layer.h"

#include <fmt/format.h>

#include <utility>

#include "hadal/model/weight_names.h"

namespace hadal {

uint64_t bytes_without_experts(const LayerWeights& layer) {
  uint64_t sum = layer.ffn.router.size() * sizeof(float);
  for (const MatrixPtr* matrix :
       {&layer.mla.q, &layer.mla.q_a, &layer.mla.q_b, &layer.mla.kv_a, &layer.mla.k_up,
        &layer.mla.v_up, &layer.gqa.q, &layer.gqa.k, &layer.gqa.v, &layer.output}) {
    sum += bytes_of(*matrix);
  }
  return sum + bytes_of(layer.ffn.dense) + bytes_of(layer.ffn.shared);
}

Result<uint64_t> add_naive_form(kernels::Backend& backend, std::span<LayerWeights> layers,
                                LayerWeights* next_token, int32_t rows_min, const LogSink& log) {
  uint64_t bytes = 0;
  const bool latent = layers.front().mla.k_up != nullptr;
  const auto add = [&](MlaWeights& w) -> Status {
    if (w.k_up == nullptr) return {};
    HADAL_TRY(w.expansion, backend.pack_expansion(*w.k_up, *w.v_up));
    bytes += bytes_of(w.expansion);
    return {};
  };
  for (LayerWeights& layer : layers) HADAL_TRY_VOID(add(layer.mla));
  HADAL_TRY_VOID(add(next_token->mla));
  if (bytes == 0) {
    log_to(log, LogLevel::kWarning,
           "no naive form of attention: " +
               (latent ? std::string(backend.name()) + " has none" : "the model's is not latent"));
  } else {
    log_to(log, LogLevel::kInfo,
           fmt::format("naive form of attention for pieces of prompts from {} rows, {} bytes more",
                       rows_min, bytes));
  }
  return bytes;
}

WeightLoader::WeightLoader(const WeightSource& source, const ModelConfig& config,
                           kernels::Backend& backend, kernels::WeightMemory* memory,
                           std::function<void(uint64_t)> done)
    : source_(source),
      config_(config),
      backend_(backend),
      memory_(memory),
      shapes_only_(source.reading() == Reading::kNothing && backend.weight_layout().empty()),
      done_(std::move(done)) {}

void WeightLoader::finish(const LoadedMatrix& loaded) {
  source_.release(loaded);
  done_(source_.bytes_of(loaded));
}

Result<MatrixPtr> WeightLoader::pack(const LoadedMatrix& loaded) {
  if (shapes_only_) return MatrixPtr();
  HADAL_TRY(MatrixPtr packed, backend_.pack(loaded.source, memory_));
  finish(loaded);
  return packed;
}

Result<FfnPtr> WeightLoader::pack_ffn(const LoadedMatrix& gate, const LoadedMatrix& up,
                                      const LoadedMatrix& down) {
  if (shapes_only_) return FfnPtr();
  HADAL_TRY(FfnPtr packed, backend_.pack_ffn(gate.source, up.source, down.source, memory_));
  for (const LoadedMatrix* matrix : {&gate, &up, &down}) finish(*matrix);
  return packed;
}

Result<MatrixPtr> WeightLoader::matrix(const std::string& name, int64_t rows, int64_t cols,
                                       MatrixRole role) {
  HADAL_TRY(const LoadedMatrix loaded, source_.matrix(name, {1, rows, cols}, role));
  return pack(loaded);
}

Result<std::vector<float>> WeightLoader::floats(const std::string& name, int64_t count) {
  return source_.floats(name, count);
}

Result<std::vector<float>> WeightLoader::floats(const std::string& name, int64_t rows,
                                                int64_t cols) {
  return source_.floats(name, rows, cols);
}

Result<FfnPtr> WeightLoader::ffn_block(int32_t layer, const std::string& suffix, int64_t count,
                                       int64_t inner) {
  const int64_t hidden = config_.hidden;
  const auto name = [&](const char* part) {
    return layer_tensor(layer, std::string("ffn_") + part + suffix + ".weight");
  };
  HADAL_TRY(const LoadedMatrix gate, source_.matrix(name("gate"), {count, inner, hidden}));
  HADAL_TRY(const LoadedMatrix up, source_.matrix(name("up"), {count, inner, hidden}));
  HADAL_TRY(const LoadedMatrix down, source_.matrix(name("down"), {count, hidden, inner}));
  return pack_ffn(gate, up, down);
}

Result<MlaWeights> WeightLoader::mla(int32_t layer) {
  const MlaConfig& c = config_.latent;
  const int64_t q_width = static_cast<int64_t>(config_.heads) * (c.nope_dim + c.rope_dim);
  MlaWeights w;
  if (c.q_rank > 0) {
    HADAL_TRY(w.q_a, matrix(layer_tensor(layer, "attn_q_a.weight"), c.q_rank, config_.hidden));
    HADAL_TRY(w.q_a_norm, floats(layer_tensor(layer, "attn_q_a_norm.weight"), c.q_rank));
    HADAL_TRY(w.q_b, matrix(layer_tensor(layer, "attn_q_b.weight"), q_width, c.q_rank));
  } else {
    HADAL_TRY(w.q, matrix(layer_tensor(layer, "attn_q.weight"), q_width, config_.hidden));
  }
  HADAL_TRY(w.kv_a, matrix(layer_tensor(layer, "attn_kv_a_mqa.weight"), c.kv_rank + c.rope_dim,
                           config_.hidden));
  HADAL_TRY(w.kv_a_norm, floats(layer_tensor(layer, "attn_kv_a_norm.weight"), c.kv_rank));
  HADAL_TRY(const WeightSource::MlaUp up, source_.mla_up(layer, config_.heads, c));
  HADAL_TRY(w.k_up, pack(up.k_up));
  HADAL_TRY(w.v_up, pack(up.v_up));
  return w;
}

Result<GqaWeights> WeightLoader::gqa(int32_t layer) {
  const GqaConfig& c = config_.grouped;
  const int64_t q_width = static_cast<int64_t>(config_.heads) * c.head_dim;
  const int64_t kv_width = static_cast<int64_t>(c.kv_heads) * c.head_dim;
  GqaWeights w;
  HADAL_TRY(w.q, matrix(layer_tensor(layer, "attn_q.weight"), q_width, config_.hidden));
  HADAL_TRY(w.k, matrix(layer_tensor(layer, "attn_k.weight"), kv_width, config_.hidden));
  HADAL_TRY(w.v, matrix(layer_tensor(layer, "attn_v.weight"), kv_width, config_.hidden));
  if (c.qkv_bias) {
    HADAL_TRY(w.q_bias, floats(layer_tensor(layer, "attn_q.bias"), q_width));
    HADAL_TRY(w.k_bias, floats(layer_tensor(layer, "attn_k.bias"), kv_width));
    HADAL_TRY(w.v_bias, floats(layer_tensor(layer, "attn_v.bias"), kv_width));
  }
  if (c.qk_norm) {
    HADAL_TRY(w.q_norm, floats(layer_tensor(layer, "attn_q_norm.weight"), c.head_dim));
    HADAL_TRY(w.k_norm, floats(layer_tensor(layer, "attn_k_norm.weight"), c.head_dim));
  }
  return w;
}

Result<FfnWeights> WeightLoader::ffn(int32_t layer) {
  const MoeConfig& c = config_.moe;
  FfnWeights w;
  if (!config_.layer_has_experts(layer)) {
    HADAL_TRY(w.dense, ffn_block(layer, "", 1, config_.inner));
    return w;
  }
  HADAL_TRY(w.router,
            floats(layer_tensor(layer, "ffn_gate_inp.weight"), c.experts, config_.hidden));
  const std::string bias = layer_tensor(layer, "exp_probs_b.bias");
  if (source_.has(bias)) {
    HADAL_TRY(w.router_bias, floats(bias, c.experts));
  }
  HADAL_TRY(w.experts, ffn_block(layer, "_exps", c.experts, c.inner));
  if (c.shared > 0) {
    HADAL_TRY(w.shared, ffn_block(layer, "_shexp", 1, static_cast<int64_t>(c.shared) * c.inner));
  }
  return w;
}

Result<LayerWeights> WeightLoader::layer(int32_t number) {
  LayerWeights w;
  HADAL_TRY(w.attention_norm, floats(layer_tensor(number, "attn_norm.weight"), config_.hidden));
  HADAL_TRY(w.ffn_norm, floats(layer_tensor(number, "ffn_norm.weight"), config_.hidden));
  int64_t out_width = 0;
  if (config_.mla) {
    HADAL_TRY(w.mla, mla(number));
    out_width = static_cast<int64_t>(config_.heads) * config_.latent.v_dim;
  } else {
    HADAL_TRY(w.gqa, gqa(number));
    out_width = static_cast<int64_t>(config_.heads) * config_.grouped.head_dim;
  }
  HADAL_TRY(w.output,
            matrix(layer_tensor(number, "attn_output.weight"), config_.hidden, out_width));
  HADAL_TRY(w.ffn, ffn(number));
  return w;
}

Result<NextTokenWeights> WeightLoader::next_token(int32_t number) {
  const int64_t hidden = config_.hidden;
  const auto name = [number](const char* part) {
    return layer_tensor(number, std::string("nextn.") + part + ".weight");
  };
  NextTokenWeights w;
  HADAL_TRY(w.embedding_norm, floats(name("enorm"), hidden));
  HADAL_TRY(w.hidden_norm, floats(name("hnorm"), hidden));
  HADAL_TRY(w.head_norm, floats(name("shared_head_norm"), hidden));
  HADAL_TRY(w.projection, matrix(name("eh_proj"), hidden, 2 * hidden));
  HADAL_TRY(w.layer, layer(number));
  return w;
}

}  // namespace hadal
