// The forward pass: embedding, layers of attention and feed-forward with residuals, norm and head.
#include <algorithm>
#include <string>
#include <utility>

#include "hadal/model/activations.h"
#include "hadal/model/layer.h"
#include "hadal/model/model.h"
#include "hadal/model/rope.h"

namespace hadal {
namespace {

const float* data_or_null(const std::vector<float>& values) {
  return values.empty() ? nullptr : values.data();
}

struct Weights {
  MatrixPtr embedding, head;  // head is null when the embedding serves as both
  std::vector<float> output_norm;
  std::vector<LayerWeights> layers;
  NextTokenWeights next_token;  // with ModelConfig::drafts
};

class Transformer final : public Model {
 public:
  Transformer(ModelConfig config, kernels::Backend& backend)
      : config_(std::move(config)), backend_(backend), angles_(config_.rope) {}

  Status load(const ModelFiles& files, const LoadOptions& options);
  const ModelConfig& config() const override { return config_; }
  Status prepare(int32_t rows, int32_t logit_rows) override;
  ConstView forward(const Batch& batch, KvArena& cache) override;
  ConstView draft(const DraftBatch& batch, KvArena& cache) override;
  uint64_t weight_bytes() const override { return weight_bytes_ + naive_bytes_; }
  uint64_t step_bytes(double experts) const override;
  uint64_t mapped_bytes() const override { return packed_ ? packed_->bytes() : 0; }
  const MappedFile* mapped_file() const override { return packed_ ? &packed_->file() : nullptr; }

 private:
  using Progress = std::function<void(uint64_t done)>;
  // One walk through the model.
  Result<Weights> read(const WeightSource& source, kernels::WeightMemory* memory,
                       const Progress& progress);
  struct Step {  // rows of this batch, and who computes them
    kernels::Backend* backend;
    std::span<const int32_t> tokens;
    std::span<const kernels::Segment> segments;
    kernels::RopeRows rope;
    View x, q_a, q, kv, v, attended, before, pair;
  };
  struct Share {  // of a step's rows
    Step step;
    std::vector<kernels::Segment> segments;
  };
  uint64_t sum_weight_bytes() const;
  Step begin(std::span<const int32_t> tokens, std::span<const kernels::Segment> segments);
  int32_t shares_of(const Step& step, bool skip_first) const;
  std::vector<Share> share_out(const Step& step, bool skip_first) const;
  void each_share(const std::vector<Share>& shares, const std::function<void(const Step&)>& body);
  enum class Input : uint8_t { kAll, kQueries, kEntries };
  void before_attention(const LayerWeights& layer, const Step& step,
                        const kernels::CachePages& cache, bool skip_first, Input wanted) const;
  void from_attention(const LayerWeights& layer, const Step& step, const kernels::CachePages& cache,
                      bool skip_first) const;
  void before_attention_gqa(const LayerWeights& layer, const Step& step) const;
  void from_attention_gqa(const LayerWeights& layer, const Step& step,
                          const kernels::CachePages& keys, const kernels::CachePages& values) const;
  void leave_attention(const LayerWeights& layer, const Step& step) const;
  void enter_next_token(const Step& step) const;
  Step go_on_with_wanted(const DraftBatch& batch, const Step& step, int32_t block_tokens);
  void keep_states(const Step& step, const KvArena& cache);
  void take_states(const DraftBatch& batch, const KvArena& cache, View target);
  std::span<const kernels::Segment> seen_segments(std::span<const kernels::Segment> segments,
                                                  std::span<const int32_t> blocks_unseen,
                                                  int32_t block_tokens);
  kernels::MlaArgs mla_args(const LayerWeights& layer, const Step& step,
                            const kernels::CachePages& cache) const;
  void feed_forward(const LayerWeights& layer, const Step& step) const;
  ConstView head(const Step& step, std::span<const int32_t> rows, const std::vector<float>& norm);

  ModelConfig config_;
  kernels::Backend& backend_;
  std::unique_ptr<PackReader> packed_;  // outlives the weights in it
  Weights weights_;
  uint64_t weight_bytes_ = 0;
  uint64_t naive_bytes_ = 0;    // beside them: what the naive form needs
  int32_t naive_rows_min_ = 0;  // of LoadOptions
  RopeAngles angles_;
  Activations act_;
  // Of the last draft().
  std::vector<kernels::Segment> seen_, wanted_segments_;
  std::vector<int32_t> wanted_tokens_, wanted_unseen_;
};

Result<Weights> Transformer::read(const WeightSource& source, kernels::WeightMemory* memory,
                                  const Progress& progress) {
  uint64_t done = 0;
  WeightLoader loader(source, config_, backend_, memory, [&](uint64_t bytes) {
    done += bytes;
    if (progress) progress(done);
  });
  Weights weights;
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
  return {};
}

Transformer::Step Transformer::begin(std::span<const int32_t> tokens,
                                     std::span<const kernels::Segment> segments) {
  const auto rows = static_cast<int64_t>(tokens.size());
  HADAL_CHECK(rows > 0 && rows <= act_.x.rows, "batch larger than prepared for");
  const size_t half = config_.rope.frequencies.size();
  for (const kernels::Segment& segment : segments) {
    for (int32_t i = 0; i < segment.rows; ++i) {
      const size_t at = static_cast<size_t>(segment.first_row + i) * half;
      angles_.row(segment.position + i, &act_.cos[at], &act_.sin[at]);
    }
  }
  const kernels::RopeRows rope{act_.cos.data(), act_.sin.data(), config_.rope.dims,
                               config_.rope.style};
  const auto part = [rows](const View& view) { return view.data ? view.first_rows(rows) : view; };
  return {&backend_,         tokens,         segments,      rope,         part(act_.x),
          part(act_.q_a),    part(act_.q),   part(act_.kv), part(act_.v), part(act_.attended),
          part(act_.before), part(act_.pair)};
}

kernels::MlaArgs Transformer::mla_args(const LayerWeights& layer, const Step& step,
                                       const kernels::CachePages& cache) const {
  const MlaWeights& w = layer.mla;
  const MlaConfig& c = config_.latent;
  return {.q = step.q,
          .kv = step.kv,
          .kv_norm_weight = w.kv_a_norm.data(),
          .norm_eps = config_.norm_eps,
          .k_up = w.k_up.get(),
          .v_up = w.v_up.get(),
          .rope = step.rope,
          .heads = config_.heads,
          .nope_dim = c.nope_dim,
          .rank = c.kv_rank,
          .v_dim = c.v_dim,
          .scale = config_.attention_scale,
          .cache = cache,
          .segments = step.segments,
          .out = step.attended,
          .naive = w.expansion.get(),
          .naive_rows_min = naive_rows_min_};
}

// Up to and with the rows' entries in the cache.
void Transformer::before_attention(const LayerWeights& layer, const Step& step,
                                   const kernels::CachePages& cache, bool skip_first,
                                   Input wanted) const {
  const MlaWeights& w = layer.mla;
  kernels::LinearArgs down{step.x, layer.attention_norm.data(), config_.norm_eps, {}, 0};
  if (wanted != Input::kEntries) {
    down.projections[down.projection_count++] = {w.q_a ? w.q_a.get() : w.q.get(), nullptr,
                                                 w.q_a ? step.q_a : step.q, false};
  }
  if (wanted != Input::kQueries) {
    down.projections[down.projection_count++] = {w.kv_a.get(), nullptr, step.kv, false};
  }
  step.backend->linear(down);
  if (w.q_a && wanted != Input::kEntries) {
    kernels::LinearArgs up{step.q_a, w.q_a_norm.data(), config_.norm_eps, {}, 1};
    up.projections[0] = {w.q_b.get(), nullptr, step.q, false};
    step.backend->linear(up);
  }
  if (wanted == Input::kQueries) return;
  kernels::MlaArgs args = mla_args(layer, step, cache);
  args.skip_first = skip_first;
  args.part = kernels::MlaPart::kStore;
  step.backend->mla(args);
}

// The rest of the layer, when all entries are there.
void Transformer::from_attention(const LayerWeights& layer, const Step& step,
                                 const kernels::CachePages& cache, bool skip_first) const {
  kernels::MlaArgs args = mla_args(layer, step, cache);
  args.skip_first = skip_first;
  args.part = kernels::MlaPart::kAttend;
  step.backend->mla(args);
  leave_attention(layer, step);
}

void Transformer::before_attention_gqa(const LayerWeights& layer, const Step& step) const {
  const GqaWeights& w = layer.gqa;
  kernels::LinearArgs qkv{step.x, layer.attention_norm.data(), config_.norm_eps, {}, 3};
  qkv.projections[0] = {w.q.get(), data_or_null(w.q_bias), step.q, false};
  qkv.projections[1] = {w.k.get(), data_or_null(w.k_bias), step.kv, false};
  qkv.projections[2] = {w.v.get(), data_or_null(w.v_bias), step.v, false};
  step.backend->linear(qkv);
}

void Transformer::from_attention_gqa(const LayerWeights& layer, const Step& step,
                                     const kernels::CachePages& keys,
                                     const kernels::CachePages& values) const {
  const GqaWeights& w = layer.gqa;
  const GqaConfig& c = config_.grouped;
  step.backend->gqa({.q = step.q,
                     .k = step.kv,
                     .v = step.v,
                     .q_norm_weight = data_or_null(w.q_norm),
                     .k_norm_weight = data_or_null(w.k_norm),
                     .norm_eps = config_.norm_eps,
                     .rope = step.rope,
                     .heads = config_.heads,
                     .kv_heads = c.kv_heads,
                     .head_dim = c.head_dim,
                     .v_dim = c.head_dim,
                     .scale = config_.attention_scale,
                     .k_cache = keys,
                     .v_cache = values,
                     .segments = step.segments,
                     .out = step.attended});
  leave_attention(layer, step);
}

// Attention's output projection and the feed-forward block.
void Transformer::leave_attention(const LayerWeights& layer, const Step& step) const {
  kernels::LinearArgs output{step.attended, nullptr, 0.0f, {}, 1};
  output.projections[0] = {layer.output.get(), nullptr, step.x, true};
  step.backend->linear(output);
  feed_forward(layer, step);
}

void Transformer::feed_forward(const LayerWeights& layer, const Step& step) const {
  const FfnWeights& w = layer.ffn;
  if (w.dense) {
    step.backend->ffn({step.x, layer.ffn_norm.data(), config_.norm_eps, w.dense.get(), step.x});
    return;
  }
  step.backend->moe({.x = step.x,
                     .norm_weight = layer.ffn_norm.data(),
                     .norm_eps = config_.norm_eps,
                     .gate = config_.moe.gate,
                     .router = w.router.data(),
                     .router_bias = data_or_null(w.router_bias),
                     .experts = w.experts.get(),
                     .shared = w.shared.get(),
                     .out = step.x});
}

ConstView Transformer::head(const Step& step, std::span<const int32_t> rows,
                            const std::vector<float>& norm) {
  const auto count = static_cast<int64_t>(rows.size());
  HADAL_CHECK(count <= act_.logits.rows, "more logits than prepared for");
  if (count == 0) return act_.logits.first_rows(0);
  const View logits = act_.logits.first_rows(count);
  View selected = step.x;
  if (count < step.x.rows) {
    selected = act_.selected.first_rows(count);
    backend_.gather({step.x, rows, selected});
  }
  kernels::LinearArgs args{selected, norm.data(), config_.norm_eps, {}, 1};
  args.projections[0] = {weights_.head ? weights_.head.get() : weights_.embedding.get(), nullptr,
                         logits, false};
  backend_.linear(args);
  return logits;
}

// How many threads should each take some of the step's rows through all layers; 1: all threads work
// on each operation together. Where weights come from the caches, reading them once a thread costs
// less than meeting other threads a dozen times a layer, and rows stay in their thread's cache.
int32_t Transformer::shares_of(const Step& step, bool skip_first) const {
  constexpr int64_t kRowsMost = 64;  // rows of a long prompt differ too much in what they attend to
  if (!config_.mla || step.x.rows > kRowsMost) return 1;
  if (weight_bytes_ > backend_.cached_bytes()) return 1;
  // Shares would cut what is to be computed in the naive form.
  const auto naive = [this](const kernels::Segment& s) { return s.rows >= naive_rows_min_; };
  if (naive_rows_min_ > 0 && std::ranges::any_of(step.segments, naive)) return 1;
  // The entry at 0, which nobody sees, is cleared by whoever stores its text's next one.
  const auto begins = [](const kernels::Segment& segment) { return segment.position == 0; };
  if (skip_first && std::ranges::any_of(step.segments, begins)) return 1;
  return static_cast<int32_t>(std::min<int64_t>(backend_.lanes(), step.x.rows));
}

std::vector<Transformer::Share> Transformer::share_out(const Step& step, bool skip_first) const {
  const int32_t count = shares_of(step, skip_first);
  if (count == 1) return {{step, {}}};
  std::vector<Share> shares(static_cast<size_t>(count));
  const auto rows = static_cast<int32_t>(step.x.rows);
  for (int32_t i = 0; i < count; ++i) {
    const int32_t begin = rows * i / count;
    const int32_t end = rows * (i + 1) / count;
    Share& share = shares[static_cast<size_t>(i)];
    for (const kernels::Segment& s : step.segments) {
      const int32_t first = std::max(s.first_row, begin);
      const int32_t last = std::min(s.first_row + s.rows, end);
      if (first >= last) continue;
      share.segments.push_back(
          {first - begin, last - first, s.position + first - s.first_row, s.blocks});
    }
    Step& part = share.step = step;
    part.tokens = step.tokens.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    part.segments = share.segments;
    part.rope.cos += static_cast<size_t>(begin) * config_.rope.frequencies.size();
    part.rope.sin += static_cast<size_t>(begin) * config_.rope.frequencies.size();
    for (View* view : {&part.x, &part.q_a, &part.q, &part.kv, &part.v, &part.attended, &part.before,
                       &part.pair}) {
      if (view->data != nullptr) *view = view->some_rows(begin, end);
    }
  }
  return shares;
}

void Transformer::each_share(const std::vector<Share>& shares,
                             const std::function<void(const Step&)>& body) {
  if (shares.size() == 1) return body(shares[0].step);
  backend_.side_by_side(static_cast<int>(shares.size()), [&](int number, kernels::Backend& own) {
    Step step = shares[static_cast<size_t>(number)].step;
    step.backend = &own;
    body(step);
  });
}

// Hidden states behind the last positions of blocks, into the blocks.
void Transformer::keep_states(const Step& step, const KvArena& cache) {
  const View states = cache.block_states();
  const int32_t block_tokens = cache.layout().block_tokens;
  for (const kernels::Segment& segment : step.segments) {
    const int32_t end = segment.position + segment.rows;
    int32_t last = segment.position / block_tokens * block_tokens + block_tokens - 1;
    for (; last < end; last += block_tokens) {
      const int32_t row = segment.first_row + last - segment.position;
      const int32_t block = segment.blocks[static_cast<size_t>(last / block_tokens)];
      backend_.gather({step.x,
                       std::span(&row, 1),
                       {states.row(block), 1, states.cols, states.stride, states.device}});
    }
  }
}

ConstView Transformer::forward(const Batch& batch, KvArena& cache) {
  const Step step = begin(batch.tokens, batch.segments);
  const std::vector<Share> shares = share_out(step, false);
  const std::vector<LayerWeights>& layers = weights_.layers;
  // From one attention to the next, rows know nothing of each other.
  for (size_t i = 0; i <= layers.size(); ++i) {
    each_share(shares, [&](const Step& share) {
      if (i == 0) share.backend->embed({weights_.embedding.get(), share.tokens, share.x});
      if (!config_.mla) {
        if (i > 0) {
          const size_t keys = 2 * (i - 1);
          from_attention_gqa(layers[i - 1], share, cache.pages(keys), cache.pages(keys + 1));
        }
        if (i < layers.size()) before_attention_gqa(layers[i], share);
        return;
      }
      if (i > 0) from_attention(layers[i - 1], share, cache.pages(i - 1), false);
      if (i < layers.size()) {
        before_attention(layers[i], share, cache.pages(i), false, Input::kAll);
      }
    });
  }
  if (config_.drafts) {
    keep_states(step, cache);
    for (const kernels::Segment& segment : step.segments) cache.rows_written(segment);
  }
  return head(step, batch.logit_rows, weights_.output_norm);
}

// The hidden states that `batch` asks for: from the rows of the last call, which are still in x,
// and from blocks.
void Transformer::take_states(const DraftBatch& batch, const KvArena& cache, View target) {
  std::vector<int32_t> rows(batch.hidden_rows.begin(), batch.hidden_rows.end());
  std::ranges::replace(rows, DraftBatch::kFromBlock, 0);
  backend_.gather({act_.x, rows, target});
  const int32_t block_tokens = cache.layout().block_tokens;
  for (const kernels::Segment& segment : batch.segments) {
    HADAL_CHECK(segment.position >= 1, "nothing stands before the first position");
    for (int32_t i = 0; i < segment.rows; ++i) {
      const int32_t row = segment.first_row + i;
      if (batch.hidden_rows[static_cast<size_t>(row)] != DraftBatch::kFromBlock) continue;
      const int32_t position = segment.position + i;
      HADAL_CHECK(position % block_tokens == 0, "a block keeps its last state alone");
      const int32_t block = segment.blocks[static_cast<size_t>(position / block_tokens - 1)];
      backend_.gather({cache.block_states(),
                       std::span(&block, 1),
                       {target.row(row), 1, target.cols, target.stride, target.device}});
    }
  }
}

// The segments as if their texts began behind what is not seen. Rows are turned by their true
// positions already, and attention sees differences of positions alone.
std::span<const kernels::Segment> Transformer::seen_segments(
    std::span<const kernels::Segment> segments, std::span<const int32_t> blocks_unseen,
    int32_t block_tokens) {
  if (blocks_unseen.empty()) return segments;
  HADAL_CHECK(blocks_unseen.size() == segments.size());
  seen_.assign(segments.begin(), segments.end());
  for (size_t i = 0; i < seen_.size(); ++i) {
    const int32_t unseen = blocks_unseen[i];
    seen_[i].position -= unseen * block_tokens;
    HADAL_CHECK(unseen >= 0 && seen_[i].position >= 0, "a row sees its own block");
    seen_[i].blocks = seen_[i].blocks.subspan(static_cast<size_t>(unseen));
  }
  return seen_;
}

// x of the next-token layer.
void Transformer::enter_next_token(const Step& step) const {
  const NextTokenWeights& w = weights_.next_token;
  const int64_t hidden = config_.hidden;
  const View token = step.pair.columns(0, hidden);
  const View state = step.pair.columns(hidden, hidden);
  step.backend->embed({weights_.embedding.get(), step.tokens, step.x});
  step.backend->rms_norm({step.x, w.embedding_norm.data(), config_.norm_eps, token});
  step.backend->rms_norm({step.before, w.hidden_norm.data(), config_.norm_eps, state});
  kernels::LinearArgs project{step.pair, nullptr, 0.0f, {}, 1};
  project.projections[0] = {w.projection.get(), nullptr, step.x, false};
  step.backend->linear(project);
}

// Of the other rows nothing is asked but their entries, which the layer's input alone makes: they
// cost a few projections, and touch no experts. Those that go on become the rows of x.
Transformer::Step Transformer::go_on_with_wanted(const DraftBatch& batch, const Step& step,
                                                 int32_t block_tokens) {
  const std::span<const int32_t> rows = batch.logit_rows;
  if (static_cast<int64_t>(rows.size()) == step.x.rows) return step;
  backend_.gather({step.x, rows, act_.before.first_rows(static_cast<int64_t>(rows.size()))});
  std::swap(act_.x, act_.before);
  wanted_tokens_.clear();
  wanted_segments_.clear();
  wanted_unseen_.clear();
  size_t at = 0;  // the row's segment
  for (const int32_t row : rows) {
    while (row >= batch.segments[at].first_row + batch.segments[at].rows) ++at;
    const kernels::Segment& s = batch.segments[at];
    const auto number = static_cast<int32_t>(wanted_segments_.size());
    wanted_tokens_.push_back(batch.tokens[static_cast<size_t>(row)]);
    wanted_segments_.push_back({number, 1, s.position + row - s.first_row, s.blocks});
    if (!batch.blocks_unseen.empty()) wanted_unseen_.push_back(batch.blocks_unseen[at]);
  }
  Step result = begin(wanted_tokens_, wanted_segments_);
  result.segments = seen_segments(wanted_segments_, wanted_unseen_, block_tokens);
  return result;
}

ConstView Transformer::draft(const DraftBatch& batch, KvArena& cache) {
  HADAL_CHECK(config_.drafts && batch.hidden_rows.size() == batch.tokens.size());
  const LayerWeights& layer = weights_.next_token.layer;
  const kernels::CachePages pages = cache.pages(cache.layout().streams.size() - 1);
  const int32_t block_tokens = cache.layout().block_tokens;
  Step step = begin(batch.tokens, batch.segments);
  step.segments = seen_segments(batch.segments, batch.blocks_unseen, block_tokens);
  take_states(batch, cache, step.before);
  const bool all = batch.logit_rows.size() == batch.tokens.size();
  each_share(share_out(step, true), [&](const Step& share) {
    enter_next_token(share);
    before_attention(layer, share, pages, true, all ? Input::kAll : Input::kEntries);
  });
  if (!batch.guessed) {
    for (const kernels::Segment& segment : batch.segments) cache.entries_written(segment);
  }
  if (batch.logit_rows.empty()) return act_.logits.first_rows(0);
  step = go_on_with_wanted(batch, step, block_tokens);
  each_share(share_out(step, true), [&](const Step& share) {
    if (!all) before_attention(layer, share, pages, true, Input::kQueries);
    from_attention(layer, share, pages, true);
  });
  return head(step, batch.logit_rows, weights_.next_token.head_norm);
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

}  // namespace

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
