// The forward pass of every architecture: embedding, layers of attention and feed-forward with
// residuals, norm and head. transformer.cc loads weights and walks the layers, transformer_step.cc
// has what a step's rows pass through, transformer_draft.cc the next-token-prediction layer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "hadal/model/activations.h"
#include "hadal/model/layer.h"
#include "hadal/model/model.h"
#include "hadal/model/rope.h"
#include "hadal/model/row_shares.h"

namespace hadal {

struct TransformerWeights {
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
  std::span<const kernels::Greatest> greatest() const override {
    return std::span(act_.greatest).first(static_cast<size_t>(logit_rows_));
  }
  uint64_t weight_bytes() const override { return weight_bytes_ + naive_bytes_; }
  uint64_t step_bytes(double experts) const override;
  uint64_t mapped_bytes() const override { return packed_ ? packed_->bytes() : 0; }
  bool cached() const override { return weight_bytes_ <= backend_.cached_bytes(); }
  const MappedFile* mapped_file() const override { return packed_ ? &packed_->file() : nullptr; }

 private:
  using Progress = std::function<void(uint64_t done)>;
  // One walk through the model.
  Result<TransformerWeights> read(const WeightSource& source, kernels::WeightMemory* memory,
                                  const Progress& progress);
  struct Step {  // rows of this batch, and who computes them
    kernels::Backend* backend;
    std::span<const int32_t> tokens;
    std::span<const kernels::Segment> segments;
    kernels::RopeRows rope;
    View x, q_a, q, kv, v, attended, before, pair;
    View logits = {};  // of all rows, or of none here
    kernels::Greatest* greatest = nullptr;
  };
  struct Share {  // of a step's rows
    Step step;
    std::vector<kernels::Segment> segments;
    double seconds = 0;  // that it took so far
  };
  uint64_t sum_weight_bytes() const;
  Step begin(std::span<const int32_t> tokens, std::span<const kernels::Segment> segments);
  int32_t shares_of(const Step& step, bool skip_first) const;
  std::vector<Share> share_out(const Step& step, bool skip_first) const;
  void each_share(std::vector<Share>& shares, const std::function<void(const Step&)>& body);
  void learn(const std::vector<Share>& shares);
  void enter_layer(size_t number, const Step& step, const KvArena& cache) const;
  void leave_layer(size_t number, const Step& step, const KvArena& cache) const;
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
  View take_logits(int64_t rows);
  void want_logits(Step* step);
  void head(const Step& step, const std::vector<float>& norm) const;
  ConstView head_of(const Step& step, std::span<const int32_t> rows);

  ModelConfig config_;
  kernels::Backend& backend_;
  std::unique_ptr<PackReader> packed_;  // outlives the weights in it
  TransformerWeights weights_;
  uint64_t weight_bytes_ = 0;
  uint64_t naive_bytes_ = 0;    // beside them: what the naive form needs
  int32_t naive_rows_min_ = 0;  // of LoadOptions
  RopeAngles angles_;
  RowShares row_shares_;
  Activations act_;
  int64_t logit_rows_ = 0;  // of the last call
  // Of the last draft().
  std::vector<kernels::Segment> seen_, wanted_segments_;
  std::vector<int32_t> wanted_tokens_, wanted_unseen_;
};

}  // namespace hadal
