#include "hadal/model/transformer.h"

#include <algorithm>
#include <string>
#include <utility>

namespace hadal {

Result<TransformerWeights> Transformer::read(const WeightSource& source,
                                             kernels::WeightMemory* memory,
                                             const Progress& progress) {
  uint64_t done = 0;
  WeightLoader loader(source, config_, backend_, memory, [&](uint64_t bytes) {
    done += bytes;
    if (progress) progress(done);
  });
  TransformerWeights weights;
  HADAL_TRY(weights.embedding, loader.matrix("token_embd.weight", config_.vocabulary,
                                             config_.hidden, MatrixRole::kEmbedding));
  HADAL_TRY(weights.output_norm, loader.floats("output_norm.weight", config_.hidden));
  for (int32_t number = 0; number < config_.layers; ++number) {
    HADAL_TRY(LayerWeights layer, loader.layer(number));
    weights.layers.push_back(std::move(layer));
  }
  if (config_.drafts) {
    HADAL_TRY(weights.next_token, loader.next_token(config_.layers));
  }
  if (!config_.tied_embeddings) {
    HADAL_TRY(weights.head, loader.matrix("output.weight", config_.vocabulary, config_.hidden,
                                          MatrixRole::kHead));
  }
  return weights;
}

Status Transformer::load(const ModelFiles& files, const LoadOptions& options) {
  // One of several is enough: each looks one token further than the last, by the same means.
  config_.drafts = options.drafts && config_.mtp_layers > 0 && config_.mla;
  const auto source = [&](Reading reading) {
    return WeightSource(files, options.quantize, options.pool, reading);
  };
  const uint64_t total = files.tensors().total_bytes();
  const Progress progress = [&](uint64_t done) {
    if (options.progress) options.progress(std::min(done, total), total);
  };
  // Before the first byte is packed: is everything there, and nothing else?
  PackPlan plan;
  const WeightSource shapes = source(Reading::kNothing);
  HADAL_TRY_VOID(read(shapes, &plan, {}));
  HADAL_TRY_VOID(shapes.check_all_read(config_));

  const auto cache = PackCache::make(options.pack_cache, files, plan, backend_.weight_layout(),
                                     options.quantize ? dtype_name(*options.quantize) : "",
                                     shapes.order_checksum(), options.log);
  if (cache) {
    PackCache::Found found = cache->find(plan, backend_, options.pool);
    packed_ = std::move(found.packed);
    if (found.writer != nullptr) {
      const auto written = read(source(Reading::kAll), found.writer.get(), progress);
      if (!written && found.writer->status()) return fail(written.error());
      if (!written) cache->give_up(written.error());
      if (written) packed_ = cache->publish(std::move(found.writer), plan, options.pool);
    }
  }
  if (packed_ && options.lock_pages) HADAL_TRY_VOID(packed_->file().lock());
  const Reading reading = packed_ ? Reading::kVectors : Reading::kAll;
  HADAL_TRY(weights_, read(source(reading), packed_.get(), packed_ ? Progress() : progress));
  weight_bytes_ = sum_weight_bytes();
  naive_rows_min_ = options.naive_rows_min;
  if (naive_rows_min_ > 0) {
    HADAL_TRY(naive_bytes_, add_naive_form(backend_, weights_.layers, &weights_.next_token.layer,
                                           naive_rows_min_, options.log));
  }
  progress(total);
  return {};
}

Status Transformer::prepare(int32_t rows, int32_t logit_rows) {
  HADAL_CHECK(rows > 0 && logit_rows > 0);
  const ModelConfig& c = config_;
  const MlaConfig& m = c.latent;
  const GqaConfig& g = c.grouped;
  const int64_t heads = c.heads;
  const int64_t q = heads * (c.mla ? m.nope_dim + m.rope_dim : g.head_dim);
  const int64_t kv = c.mla ? m.kv_rank + m.rope_dim : static_cast<int64_t>(g.kv_heads) * g.head_dim;
  const int64_t attended = heads * (c.mla ? m.v_dim : g.head_dim);
  act_ = {};
  HADAL_TRY_VOID(act_.add(backend_, rows, c.hidden, &act_.x));
  HADAL_TRY_VOID(act_.add(backend_, rows, c.mla ? m.q_rank : 0, &act_.q_a));
  HADAL_TRY_VOID(act_.add(backend_, rows, q, &act_.q));
  HADAL_TRY_VOID(act_.add(backend_, rows, kv, &act_.kv));
  HADAL_TRY_VOID(act_.add(backend_, rows, c.mla ? 0 : kv, &act_.v));
  HADAL_TRY_VOID(act_.add(backend_, rows, attended, &act_.attended));
  HADAL_TRY_VOID(act_.add(backend_, logit_rows, c.hidden, &act_.selected));
  HADAL_TRY_VOID(act_.add(backend_, logit_rows, c.vocabulary, &act_.logits));
  const int64_t states = c.drafts ? c.hidden : 0;
  HADAL_TRY_VOID(act_.add(backend_, rows, states, &act_.before));
  HADAL_TRY_VOID(act_.add(backend_, rows, 2 * states, &act_.pair));
  const size_t angles = static_cast<size_t>(rows) * c.rope.frequencies.size();
  act_.cos.resize(angles);
  act_.sin.resize(angles);
  act_.greatest.resize(static_cast<size_t>(logit_rows));
  return {};
}

// Up to the rows' entries in the cache.
void Transformer::enter_layer(size_t number, const Step& step, const KvArena& cache) const {
  const LayerWeights& layer = weights_.layers[number];
  if (!config_.mla) return before_attention_gqa(layer, step);
  before_attention(layer, step, cache.pages(number), false, Input::kAll);
}

// From attention on, when all entries are there.
void Transformer::leave_layer(size_t number, const Step& step, const KvArena& cache) const {
  const LayerWeights& layer = weights_.layers[number];
  if (config_.mla) return from_attention(layer, step, cache.pages(number), false);
  from_attention_gqa(layer, step, cache.pages(2 * number), cache.pages(2 * number + 1));
}

ConstView Transformer::forward(const Batch& batch, KvArena& cache) {
  Step step = begin(batch.tokens, batch.segments);
  const bool all = batch.logit_rows.size() == batch.tokens.size();
  if (all) want_logits(&step);
  std::vector<Share> shares = share_out(step, false);
  const std::vector<LayerWeights>& layers = weights_.layers;
  // From one attention to the next, rows know nothing of each other.
  for (size_t i = 0; i <= layers.size(); ++i) {
    each_share(shares, [&](const Step& share) {
      if (i == 0) share.backend->embed({weights_.embedding.get(), share.tokens, share.x});
      if (i > 0) leave_layer(i - 1, share, cache);
      if (i < layers.size()) return enter_layer(i, share, cache);
      head(share, weights_.output_norm);
    });
  }
  learn(shares);
  if (config_.drafts) {
    keep_states(step, cache);
    for (const kernels::Segment& segment : step.segments) cache.rows_written(segment);
  }
  return all ? step.logits : head_of(step, batch.logit_rows);
}

uint64_t Transformer::sum_weight_bytes() const {
  uint64_t sum = bytes_of(weights_.embedding) + bytes_of(weights_.head);
  const auto add_layer = [&sum](const LayerWeights& layer) {
    sum += bytes_without_experts(layer) + bytes_of(layer.ffn.experts);
  };
  for (const LayerWeights& layer : weights_.layers) add_layer(layer);
  add_layer(weights_.next_token.layer);
  return sum + bytes_of(weights_.next_token.projection);
}

uint64_t Transformer::step_bytes(double experts) const {
  // Of an embedding that is not the head too, a step reads a few rows.
  uint64_t sum = bytes_of(weights_.head ? weights_.head : weights_.embedding);
  for (const LayerWeights& layer : weights_.layers) {
    sum += bytes_without_experts(layer);
    if (layer.ffn.experts == nullptr) continue;
    const double share = std::min(1.0, experts / static_cast<double>(layer.ffn.experts->count()));
    sum += static_cast<uint64_t>(share * static_cast<double>(layer.ffn.experts->bytes()));
  }
  return sum;
}

ConstView Model::draft(const DraftBatch& /*batch*/, KvArena& /*cache*/) {
  HADAL_CHECK(false, "the model has no next-token-prediction layer");
  return {};
}

Result<ModelConfig> model_config(const ModelFiles& files) {
  if (const auto* gguf = std::get_if<GgufModel>(&files.model)) {
    return config_from_gguf(gguf->meta, gguf->tensors);
  }
  return config_from_hf(std::get<HfModel>(files.model));
}

Result<std::unique_ptr<Model>> load_model(const ModelFiles& files, kernels::Backend& backend,
                                          const LoadOptions& options) {
  HADAL_TRY(ModelConfig config, model_config(files));
  auto model = std::make_unique<Transformer>(std::move(config), backend);
  HADAL_TRY_VOID(model->load(files, options));
  return std::unique_ptr<Model>(std::move(model));
}

}  // namespace hadal
