#include "hadal/engine/speculator.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

namespace hadal {
namespace {

// Of a new text's guesses by n-gram until it has its own; short matches are mostly chance.
constexpr double kStart[] = {0.2, 0.3, 0.45, 0.6, 0.75};
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
                       EngineMetrics& metrics)
    : options_(options), metrics_(metrics), times_(expected_cost(model)) {
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

void Speculator::took(const sched::Segment& segment, std::span<const TokenId> tokens,
                      int32_t accepted) {
  if (!segment.guesses.empty()) {
    metrics_.speculated(static_cast<int32_t>(segment.guesses.size()), accepted);
  }
  const auto [place, fresh] = texts_.try_emplace(segment.id);
  Text& text = place->second;
  if (fresh) {
    text.ngrams.append(segment.tokens);
    for (const Acceptance& all : acceptance_) {
      text.acceptance.emplace_back(all.rate(), kWeightOfText);
    }
  }
  score(text, tokens);
  text.ngrams.append(tokens);
  text.waits = true;
  const int32_t match = text.ngrams.guess(options_.draft_max, &text.guesses);
  text.match = class_of(match);
}

void Speculator::propose(sched::Scheduler& scheduler) {
  ids_.clear();
  offers_.clear();
  for (auto& [id, text] : texts_) {
    if (!std::exchange(text.waits, false)) continue;
    ids_.push_back(id);
    offers_.push_back({.acceptance = text.acceptance[text.match].rate(),
                       .guesses = static_cast<int32_t>(text.guesses.size())});
  }
  share_out(offers_, static_cast<int32_t>(ids_.size()), kGuessesMax, times_, &take_);
  for (size_t i = 0; i < ids_.size(); ++i) {
    if (take_[i] == 0) continue;
    const auto& guesses = texts_.at(ids_[i]).guesses;
    scheduler.guess(ids_[i], std::span(guesses).first(static_cast<size_t>(take_[i])));
  }
}

}  // namespace hadal
