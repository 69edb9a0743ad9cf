#include "hadal/engine/speculator.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

namespace hadal {
namespace {

// Of a new text's guesses by n-gram until it has its own; short matches are mostly chance.
constexpr double kStart[] = {0.2, 0.3, 0.45, 0.6, 0.75};
// Of a model's guesses: a layer that was made for it, or a model of the same family; further ones
// stand on guesses.
constexpr double kStartFirst = 0.8;
constexpr double kStartLater = 0.7;
constexpr int32_t kChainMax = 8;  // guesses that a model makes in a row
constexpr double kWeightOfText = 1.0 / 8;
constexpr double kWeightOfAll = 1.0 / 64;

// Cost of a step by its rows, in parameters read: all rows share what is dense, distinct experts
// come on top (even routing: E (1 - (1 - k/E)^rows)), and each row brings arithmetic worth a share
// of its own parameters. Only where to look first: measurements replace it.
std::function<double(int32_t)> expected_cost(const ModelConfig& c) {
  constexpr double kArithmetic = 0.15;
  const auto active = static_cast<double>(c.parameters_active());
  const double experts = c.moe.experts;
  const double used = c.moe.gate.experts_used;
  const double expert =
      experts > 0 ? 3.0 * c.hidden * c.moe.inner * (c.layers - c.moe.dense_layers) : 0.0;
  return [=](int32_t rows) {
    const double distinct =
        experts > 0 ? experts * (1.0 - std::pow(1.0 - used / experts, rows)) - used : 0.0;
    return active * (1.0 + kArithmetic * (rows - 1)) + expert * distinct + 1.0;
  };
}

}  // namespace

Speculator::Speculator(const EngineOptions& options, const ModelConfig& model,
                       std::unique_ptr<Drafter> drafter, EngineMetrics& metrics)
    : options_(options),
      metrics_(metrics),
      drafter_(std::move(drafter)),
      ngrams_(options.speculate == Speculate::kAuto || options.speculate == Speculate::kNgram),
      times_(expected_cost(model)),
      first_(kStartFirst, kWeightOfAll),
      later_(kStartLater, kWeightOfAll) {
  for (const double start : kStart) acceptance_.emplace_back(start, kWeightOfAll);
}

size_t Speculator::class_of(int32_t match_length) {
  size_t result = 0;
  for (const int32_t least : {4, 6, 10, 18}) result += match_length >= least ? 1 : 0;
  return result;
}

void Speculator::ran(const sched::Plan& plan, double seconds) {
  if (plan.prompt_rows == 0) times_.observe(plan.rows, seconds);
}

// The tokens against what was guessed before them, up to the first that is wrong.
void Speculator::score(Text& text, std::span<const TokenId> tokens) {
  const size_t known = std::min(tokens.size(), text.guesses.size());
  for (size_t i = 0; i < known; ++i) {
    const bool right = tokens[i] == text.guesses[i];
    text.acceptance[text.match].observe(right);
    acceptance_[text.match].observe(right);
    if (!right) return;
  }
}

Speculator::Text& Speculator::text_of(const sched::Segment& segment) {
  const auto [place, fresh] = texts_.try_emplace(segment.id);
  Text& text = place->second;
  if (!fresh) return text;
  if (ngrams_) text.ngrams.append(segment.tokens);
  for (const Acceptance& all : acceptance_) {
    text.acceptance.emplace_back(all.rate(), kWeightOfText);
  }
  text.first.emplace(first_.rate(), kWeightOfText);
  text.later.emplace(later_.rate(), kWeightOfText);
  return text;
}

void Speculator::score_drafter(Text& text, const sched::Segment& segment, int32_t accepted) {
  if (!text.by_drafter || segment.guesses.empty()) {
    text.first->rest();
    text.later->rest();
    return;
  }
  const auto count = static_cast<int32_t>(segment.guesses.size());
  for (int32_t i = 0; i <= std::min(accepted, count - 1); ++i) {
    const bool right = i < accepted;
    (i == 0 ? *text.first : *text.later).observe(right);
    (i == 0 ? first_ : later_).observe(right);
  }
}

void Speculator::took(const sched::Segment& segment, std::span<const TokenId> tokens,
                      int32_t accepted) {
  if (!segment.guesses.empty()) {
    metrics_.speculated(static_cast<int32_t>(segment.guesses.size()), accepted);
  }
  if (tokens.size() <= static_cast<size_t>(accepted)) return;  // it has ended
  Text& text = text_of(segment);
  score_drafter(text, segment, accepted);
  text.waits = true;
  if (!ngrams_) return;
  score(text, tokens);
  text.ngrams.append(tokens);
  const int32_t match = text.ngrams.guess(options_.draft_max, &text.guesses);
  text.match = class_of(match);
}

void Speculator::forget(uint64_t id) {
  texts_.erase(id);
  if (drafter_ != nullptr) drafter_->forget(id);
}

// The better kind. An n-gram's guesses are there already, and their acceptance was watched all the
// time.
Offer Speculator::offer(Text& text) const {
  const double by_ngram = text.guesses.empty() ? 0.0 : text.acceptance[text.match].rate();
  text.by_drafter = drafter_ != nullptr && by_ngram < text.first->rate();
  if (!text.by_drafter) {
    return {.acceptance = by_ngram, .guesses = static_cast<int32_t>(text.guesses.size())};
  }
  return {.acceptance = text.first->rate(),
          .guesses = std::min(kChainMax, options_.draft_max),
          .extra = drafter_->seconds_per_guess(),
          .later = text.later->rate()};
}

void Speculator::propose(const sched::Plan& plan, sched::Scheduler& scheduler) {
  ids_.clear();
  offers_.clear();
  requests_.clear();
  for (auto& [id, text] : texts_) {
    if (!std::exchange(text.waits, false)) continue;
    ids_.push_back(id);
    offers_.push_back(offer(text));
  }
  share_out(offers_, static_cast<int32_t>(ids_.size()), kGuessesMax, times_, &take_);
  for (size_t i = 0; i < ids_.size(); ++i) {
    if (take_[i] == 0) continue;
    const Text& text = texts_.at(ids_[i]);
    if (text.by_drafter) {
      requests_.push_back({ids_[i], take_[i], {}});
    } else {
      scheduler.guess(ids_[i], std::span(text.guesses).first(static_cast<size_t>(take_[i])));
    }
  }
  if (drafter_ == nullptr) return;
  drafter_->draft(plan, scheduler, requests_);
  for (const DraftRequest& request : requests_) scheduler.guess(request.id, request.guesses);
}

}  // namespace hadal
