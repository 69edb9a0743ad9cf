// The next-token-prediction layer: DraftBatch.
#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "hadal/base/check.h"
#include "hadal/model/transformer.h"

namespace hadal {

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
  std::vector<Share> shares = share_out(step, true);
  each_share(shares, [&](const Step& share) {
    enter_next_token(share);
    before_attention(layer, share, pages, true, all ? Input::kAll : Input::kEntries);
  });
  if (!batch.guessed) {
    for (const kernels::Segment& segment : batch.segments) cache.entries_written(segment);
  }
  if (batch.logit_rows.empty()) return take_logits(0);
  step = go_on_with_wanted(batch, step, block_tokens);
  want_logits(&step);
  shares = share_out(step, true);
  each_share(shares, [&](const Step& share) {
    if (!all) before_attention(layer, share, pages, true, Input::kQueries);
    from_attention(layer, share, pages, true);
    head(share, weights_.next_token.head_norm);
  });
  return step.logits;
}

}  // namespace hadal
