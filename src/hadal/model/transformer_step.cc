// What the rows of a step pass through, layer by layer, and how threads share them.
#include <algorithm>
#include <vector>

#include "hadal/base/check.h"
#include "hadal/base/clock.h"
#include "hadal/model/transformer.h"

namespace hadal {
namespace {

const float* data_or_null(const std::vector<float>& values) {
  return values.empty() ? nullptr : values.data();
}

}  // namespace

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

View Transformer::take_logits(int64_t rows) {
  HADAL_CHECK(rows <= act_.logits.rows, "more logits than prepared for");
  logit_rows_ = rows;
  return act_.logits.first_rows(rows);
}

// Each row's logits belong to the step then, so that whoever has the row computes them.
void Transformer::want_logits(Step* step) {
  step->logits = take_logits(step->x.rows);
  step->greatest = act_.greatest.data();
}

void Transformer::head(const Step& step, const std::vector<float>& norm) const {
  if (step.logits.data == nullptr) return;
  kernels::LinearArgs args{step.x, norm.data(), config_.norm_eps, {}, 1, step.greatest};
  args.projections[0] = {weights_.head ? weights_.head.get() : weights_.embedding.get(), nullptr,
                         step.logits, false};
  step.backend->linear(args);
}

// Of some rows, when all layers are through.
ConstView Transformer::head_of(const Step& step, std::span<const int32_t> rows) {
  if (rows.empty()) return take_logits(0);
  Step selected = step;
  selected.x = act_.selected.first_rows(static_cast<int64_t>(rows.size()));
  want_logits(&selected);
  backend_.gather({step.x, rows, selected.x});
  head(selected, weights_.output_norm);
  return selected.logits;
}

// How many threads should each take some of the step's rows through all layers; 1: all threads work
// on each operation together. Where weights come from the caches, reading them once a thread costs
// less than meeting other threads a dozen times a layer, and rows stay in their thread's cache.
int32_t Transformer::shares_of(const Step& step, bool skip_first) const {
  constexpr int64_t kRowsMost = 64;  // rows of a long prompt differ too much in what they attend to
  if (!config_.mla || step.x.rows > kRowsMost) return 1;
  if (!cached()) return 1;
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
  const std::vector<int32_t> ends = row_shares_.ends(static_cast<int32_t>(step.x.rows), count);
  for (int32_t i = 0, begin = 0, end = 0; i < count; ++i, begin = end) {
    end = ends[static_cast<size_t>(i)];
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
    if (part.logits.data == nullptr) continue;
    part.logits = part.logits.some_rows(begin, end);
    part.greatest += begin;
  }
  return shares;
}

void Transformer::each_share(std::vector<Share>& shares,
                             const std::function<void(const Step&)>& body) {
  if (shares.size() == 1) return body(shares[0].step);
  const SystemClock clock;
  backend_.side_by_side(static_cast<int>(shares.size()), [&](int number, kernels::Backend& own) {
    const Nanos start = clock.now();
    Share& share = shares[static_cast<size_t>(number)];
    share.step.backend = &own;
    body(share.step);
    share.seconds += to_seconds(clock.now() - start);
  });
}

// The shares are through all layers.
void Transformer::learn(const std::vector<Share>& shares) {
  if (shares.size() == 1) return;
  for (size_t i = 0; i < shares.size(); ++i) {
    row_shares_.took(static_cast<int32_t>(i), static_cast<int32_t>(shares[i].step.x.rows),
                     shares[i].seconds);
  }
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

}  // namespace hadal
