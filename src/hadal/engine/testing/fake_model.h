// For tests: a model whose logits are a hash of what it reads from the cache, through the block
// tables it is given. A lost row, a stale block, a block given to two sequences or a wrong position
// changes every token from there on, and mostly is caught in the act.
#pragma once

#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "hadal/base/check.h"
#include "hadal/base/rng.h"
#include "hadal/model/model.h"
#include "hadal/text/testing/small_vocab.h"
#include "hadal/text/tokenizer.h"

namespace hadal::testing {

inline Tokenizer fake_tokenizer() {
  VocabData data = small_vocab({"<bos>", "<eos>"});
  data.eos = id_of(data, "<eos>");
  data.end_of_generation = {*data.eos};
  auto tokenizer = Tokenizer::make(std::move(data));
  HADAL_CHECK(tokenizer.has_value(), tokenizer ? "" : tokenizer.error().what);
  return std::move(*tokenizer);
}

// Cache bytes that come to so many blocks of the fake model.
inline uint64_t kv_bytes_of_blocks(int32_t blocks, int32_t block_tokens) {
  return static_cast<uint64_t>(blocks) * static_cast<uint64_t>(block_tokens) * 4 * 4 *
         sizeof(float);
}

// Its cache must be kF32: rows hold token, position, stream and a check value as floats.
class FakeModel final : public Model {
 public:
  struct Options {
    int32_t vocabulary = 0;
    int32_t context = 256;
    TokenId eos = -1;  // likely in one of `eos_every` contexts; -1: never favoured
    uint64_t eos_every = 24;
    float odd_logit = 0.0f;  // every logit, when not 0
    // Logits are a function of so many last tokens (all are read all the same): small, and texts
    // repeat themselves. 0: of all.
    int32_t memory = 0;
    float spread = 4.0f;  // of logits, to both sides
    uint64_t lie_every =
        0;                // one of so many contexts has another one's logits: a worse draft model
    bool drafts = false;  // has a next-token layer, right in two contexts of three
  };
  // Runs at the beginning of every forward(), on the engine's thread.
  using Hook = std::function<void(const Batch&)>;

  explicit FakeModel(const Options& options, Hook hook = {})
      : options_(options), hook_(std::move(hook)) {
    config_.architecture = Architecture::kLlama;
    config_.name = "fake";
    config_.vocabulary = options.vocabulary;
    config_.layers = 2;
    config_.context = options.context;
    config_.grouped = {.kv_heads = 1, .head_dim = 4};
    config_.hidden = 1;
    config_.drafts = options.drafts;
  }

  const ModelConfig& config() const override { return config_; }
  uint64_t weight_bytes() const override { return 0; }
  Status prepare(int32_t rows, int32_t logit_rows) override {
    rows_max_ = rows;
    logits_.resize(static_cast<size_t>(logit_rows) * options_.vocabulary);
    return {};
  }

  ConstView forward(const Batch& batch, KvArena& cache) override {
    if (hook_) hook_(batch);
    HADAL_CHECK(batch.tokens.size() <= static_cast<size_t>(rows_max_));
    HADAL_CHECK(batch.logit_rows.size() * options_.vocabulary <= logits_.size());
    int32_t row = 0;
    for (const kernels::Segment& segment : batch.segments) {
      HADAL_CHECK(segment.first_row == row && segment.rows > 0);
      for (int32_t i = 0; i < segment.rows; ++i) write(batch.tokens[row + i], segment, i, cache);
      row += segment.rows;
    }
    HADAL_CHECK(row == static_cast<int32_t>(batch.tokens.size()));
    if (options_.drafts) {
      keep_states(batch, cache);
      for (const kernels::Segment& segment : batch.segments) cache.rows_written(segment);
    }
    for (size_t i = 0; i < batch.logit_rows.size(); ++i) {
      const auto logits = std::span(logits_).subspan(i * options_.vocabulary, options_.vocabulary);
      HADAL_CHECK(i == 0 || batch.logit_rows[i] > batch.logit_rows[i - 1]);
      logits_for(read(batch, batch.logit_rows[i], cache), logits);
    }
    return {logits_.data(), static_cast<int64_t>(batch.logit_rows.size()), options_.vocabulary,
            options_.vocabulary};
  }

  // Every entry of the next-token layer is checked to be what its sequence's tokens make it.
  ConstView draft(const DraftBatch& batch, KvArena& cache) override {
    const std::vector<float> before = std::exchange(states_, {});
    HADAL_CHECK(batch.tokens.size() <= static_cast<size_t>(rows_max_));
    for (const kernels::Segment& segment : batch.segments) {
      for (int32_t i = 0; i < segment.rows; ++i) {
        const int32_t position = segment.position + i;
        const int32_t row = segment.first_row + i;
        HADAL_CHECK(position >= 1 && row == static_cast<int32_t>(states_.size()));
        const int32_t from = batch.hidden_rows[row];
        const int32_t page = cache.pages(0).page_tokens;
        HADAL_CHECK(from != DraftBatch::kFromBlock || position % page == 0);
        const float state = from == DraftBatch::kFromBlock
                                ? *cache.block_states().row(segment.blocks[position / page - 1])
                                : before.at(from);
        const float entry[4] = {static_cast<float>(batch.tokens[row]), static_cast<float>(position),
                                state, 0.0f};
        std::memcpy(slot(segment, position, kStreams, cache), entry, sizeof entry);
        states_.push_back(kGuessedState);
      }
      if (!batch.guessed) cache.entries_written(segment);
    }
    for (size_t i = 0; i < batch.logit_rows.size(); ++i) {
      const auto logits = std::span(logits_).subspan(i * options_.vocabulary, options_.vocabulary);
      uint64_t state = remember(read_entries(batch, batch.logit_rows[i], cache));
      logits_for(state % 3 == 0 ? state + 1 : state, logits);
    }
    states_.resize(batch.logit_rows.size());
    return {logits_.data(), static_cast<int64_t>(batch.logit_rows.size()), options_.vocabulary,
            options_.vocabulary};
  }

  // The same logits from the tokens themselves, without any cache: the oracle.
  std::vector<float> logits_after(std::span<const TokenId> tokens) const {
    const uint64_t state = remember(tokens);
    std::vector<float> logits(static_cast<size_t>(options_.vocabulary));
    logits_for(state, logits);
    return logits;
  }

 private:
  static constexpr uint64_t kStart = 42;
  static constexpr size_t kStreams = 4;
  static constexpr float kGuessedState = -1.0f;

  static uint64_t fold(uint64_t state, TokenId token) {
    return Rng(state, static_cast<uint64_t>(token)).at(0);
  }
  uint64_t remember(std::span<const TokenId> tokens) const {
    const auto memory = static_cast<size_t>(options_.memory);
    if (memory > 0 && tokens.size() > memory) tokens = tokens.last(memory);
    uint64_t state = kStart;
    for (const TokenId token : tokens) state = fold(state, token);
    return state;
  }
  static float state_behind(std::span<const TokenId> tokens) {
    uint64_t state = kStart;
    for (const TokenId token : tokens) state = fold(state, token);
    return static_cast<float>(state % (1u << 24));
  }
  void keep_states(const Batch& batch, KvArena& cache) {
    const int32_t page = cache.pages(0).page_tokens;
    states_.clear();
    for (const kernels::Segment& segment : batch.segments) {
      for (int32_t i = 0; i < segment.rows; ++i) {
        const int32_t position = segment.position + i;
        std::vector<TokenId> tokens;
        for (int32_t p = 0; p <= position; ++p) {
          tokens.push_back(static_cast<TokenId>(*slot(segment, p, 0, cache)));
        }
        states_.push_back(state_behind(tokens));
        if ((position + 1) % page == 0) {
          *cache.block_states().row(segment.blocks[position / page]) = states_.back();
        }
      }
    }
  }
  // The tokens that row `row` of the next-token layer sees.
  static std::vector<TokenId> read_entries(const DraftBatch& batch, int32_t row, KvArena& cache) {
    const kernels::Segment* segment = batch.segments.data();
    while (row >= segment->first_row + segment->rows) ++segment;
    const int32_t last = segment->position + row - segment->first_row;
    const int32_t unseen =
        batch.blocks_unseen.empty()
            ? 0
            : batch.blocks_unseen[segment - batch.segments.data()] * cache.layout().block_tokens;
    HADAL_CHECK(segment->position >= unseen, "a row does not see itself");
    std::vector<TokenId> tokens;
    for (int32_t position = 0; position <= unseen; ++position) {
      // Its own row may not be computed yet.
      const size_t stream = position > 0 && position == unseen ? kStreams : 0;
      tokens.push_back(static_cast<TokenId>(*slot(*segment, position, stream, cache)));
    }
    bool guessed = false;
    for (int32_t position = unseen + 1; position <= last; ++position) {
      const float* entry = slot(*segment, position, kStreams, cache);
      guessed = guessed || entry[2] == kGuessedState;
      HADAL_CHECK(entry[1] == static_cast<float>(position), "an entry of another position");
      HADAL_CHECK(entry[2] == (guessed ? kGuessedState : state_behind(tokens)),
                  "the entry at " + std::to_string(position) + " is of another text");
      HADAL_CHECK(!guessed || position >= segment->position - 64, "a guess was left behind");
      tokens.push_back(static_cast<TokenId>(entry[0]));
    }
    return tokens;
  }
  void logits_for(uint64_t state, std::span<float> logits) const {
    if (options_.lie_every > 0 && state % options_.lie_every == 0) ++state;
    const Rng rng(state);
    for (size_t i = 0; i < logits.size(); ++i) {
      logits[i] = static_cast<float>((rng.uniform_at(i) * 2.0 - 1.0) * options_.spread);
      if (options_.odd_logit != 0.0f) logits[i] = options_.odd_logit;
    }
    if (options_.eos < 0) return;
    const bool favoured = rng.at(logits.size()) % options_.eos_every == 0;
    logits[static_cast<size_t>(options_.eos)] = (favoured ? 1.25f : -1.0f) * options_.spread;
  }

  static float* slot(const kernels::Segment& segment, int32_t position, size_t stream,
                     KvArena& cache) {
    const kernels::CachePages pages = cache.pages(stream);
    HADAL_CHECK(pages.dtype == DType::kF32 && pages.width == 4);
    const auto index = static_cast<size_t>(position / pages.page_tokens);
    HADAL_CHECK(index < segment.blocks.size(), "the table ends before the position");
    const int32_t block = segment.blocks[index];
    HADAL_CHECK(block >= 0 && block < cache.blocks());
    const int64_t row =
        static_cast<int64_t>(block) * pages.page_tokens + position % pages.page_tokens;
    return reinterpret_cast<float*>(pages.data) + row * pages.width;
  }
  static void write(TokenId token, const kernels::Segment& segment, int32_t i, KvArena& cache) {
    const int32_t position = segment.position + i;
    for (size_t stream = 0; stream < kStreams; ++stream) {
      const float row[4] = {static_cast<float>(token), static_cast<float>(position),
                            static_cast<float>(stream), static_cast<float>(token * 31 + position)};
      std::memcpy(slot(segment, position, stream, cache), row, sizeof row);
    }
  }
  uint64_t read(const Batch& batch, int32_t row, KvArena& cache) const {
    const kernels::Segment* segment = batch.segments.data();
    while (row >= segment->first_row + segment->rows) ++segment;
    const int32_t last = segment->position + row - segment->first_row;
    std::vector<TokenId> tokens;
    for (int32_t position = 0; position <= last; ++position) {
      const float* first = slot(*segment, position, 0, cache);
      for (size_t stream = 0; stream < kStreams; ++stream) {
        const float* entry = slot(*segment, position, stream, cache);
        HADAL_CHECK(entry[0] == first[0] && entry[1] == static_cast<float>(position) &&
                        entry[2] == static_cast<float>(stream) &&
                        entry[3] == entry[0] * 31 + entry[1],
                    "position " + std::to_string(position) + " holds another one's row");
      }
      tokens.push_back(static_cast<TokenId>(first[0]));
    }
    return remember(tokens);
  }

  Options options_;
  Hook hook_;
  ModelConfig config_;
  int32_t rows_max_ = 0;
  std::vector<float> logits_;
  std::vector<float> states_;  // of the last call's rows
};

}  // namespace hadal::testing
