#include "hadal/engine/speculator.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

namespace hadal {
namespace {

// Of a new text's guesses by n-gram until it has its own; short matches are mostly chance.
constexpr double kStart[] = {0.2, 0.3, 0.45, 0.6, 0.75};
// Of a model's guesses: hopes, so that they are tried, which the first few tries correct.
constexpr double kStartByModel = 0.9;
constexpr int32_t kChainMax = 15;  // guesses that a model makes in a row
constexpr double kWeightOfText = 1.0 / 8;
constexpr double kWeightOfAll = 1.0 / 64;
constexpr double kSureOfNgrams = 64;  // what is known beforehand, in observations
constexpr double kSureOfModel = 8;
constexpr double kSureOfText = 8;
// How fast hope returns: to a text whose guesses did not pay, a step; to further guesses of one
// whose first are right, a step; to what is known of all, with each new text.
constexpr double kRestOfText = 1.0 / 64;
constexpr double kRestOfFurther = 1.0 / 4;
constexpr double kRestOfAll = 1.0;
// Steps for which a drafter goes on keeping up with a sequence that runs none of its guesses.
constexpr int32_t kUnusedMax = 4;
// After a step that was not worth a guess, they are asked again in one step of so many for each of
// these sequences: the question itself would cost some percent.
constexpr int32_t kRowsAsking = 4;
// And one step of so many, whatever their number, when that many questions in a row were in vain
// and no text's end had stood in it before.
constexpr int32_t kStepsAsking = 4;
constexpr int32_t kVainMany = 32;

// Cost of a step by its rows, in parameters read: all rows share what is dense, distinct experts
// come on top (even routing: E (1 - (1 - k/E)^rows)), and each row brings arithmetic worth a share
// of its own parameters. Where weights come from the caches, a row brings arithmetic alone, and
// half as much past kFew: those are further rows of many sequences, each of which costs more by
// itself. Only where to look first: measurements replace it.
std::function<double(int32_t)> expected_cost(const ModelConfig& c, bool cached) {
  static constexpr double kArithmetic = 0.15;
  static constexpr int32_t kFew = 16;
  if (cached) {
    return [](int32_t rows) {
      const int32_t few = std::min(rows, kFew);
      return 1.0 + kArithmetic * (few - 1) + kArithmetic / 2 * (rows - few);
    };
  }
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

Speculator::Speculator(const EngineOptions& options, const ModelConfig& model, bool cached,
                       std::unique_ptr<Drafter> drafter, EngineMetrics& metrics, const Clock& clock)
    : options_(options),
      metrics_(metrics),
      clock_(clock),
      drafter_(std::move(drafter)),
      ngrams_(options.speculate == Speculate::kAuto || options.speculate == Speculate::kNgram),
      times_(expected_cost(model, cached)),
      first_(kStartByModel, kWeightOfAll, kSureOfModel),
      later_(kStartByModel, kWeightOfAll, kSureOfModel) {
  for (const double start : kStart) acceptance_.emplace_back(start, kWeightOfAll, kSureOfNgrams);
}

size_t Speculator::class_of(int32_t match_length) {
  size_t result = 0;
  for (const int32_t least : {4, 6, 10, 18}) result += match_length >= least ? 1 : 0;
  return result;
}

void Speculator::ran(const sched::Plan& plan, double seconds) {
  if (plan.prompt_rows == 0) times_.observe(plan.rows, seconds - proposing_);
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
  for (const Acceptance& all : acceptance_) {
    text.acceptance.emplace_back(all.rate(), kWeightOfText, kSureOfText);
  }
  first_.rest(kRestOfAll);
  later_.rest(kRestOfAll);
  text.first.emplace(first_.rate(), kWeightOfText, kSureOfText);
  text.later.emplace(later_.rate(), kWeightOfText, kSureOfText);
  text.kept = drafter_ != nullptr && promising();
  return text;
}

void Speculator::score_drafter(Text& text, const sched::Segment& segment, int32_t accepted) {
  if (!text.by_drafter || segment.guesses.empty()) {
    text.first->rest(kRestOfText * (1 + paused_));
    text.later->rest(kRestOfText * (1 + paused_));
    return;
  }
  const auto count = static_cast<int32_t>(segment.guesses.size());
  if (count == 1) text.later->rest(kRestOfFurther);
  reach_ = std::max(reach_, 2 * accepted + 1);
  for (int32_t i = 0; i <= std::min(accepted, count - 1); ++i) {
    const bool right = i < accepted;
    (i == 0 ? *text.first : *text.later).observe(right);
    (i == 0 ? first_ : later_).observe(right);
  }
}

void Speculator::took(const sched::Segment& segment, std::span<const TokenId> tokens,
                      int32_t accepted, std::span<const TokenId> ends) {
  if (!segment.guesses.empty()) {
    metrics_.speculated(static_cast<int32_t>(segment.guesses.size()), accepted);
  }
  if (tokens.size() <= static_cast<size_t>(accepted)) return;  // it has ended
  ++rows_;
  const bool began = segment.rows > 1;  // or had guesses, which no pause allows
  if (pause_ > 0 && !began) return;
  Text& text = text_of(segment);
  score_drafter(text, segment, accepted);
  ids_.push_back(segment.id);
  ends_.push_back(ends);
  guessing_.push_back(&text);
  if (ngrams_) learn(text, segment, tokens);
}

void Speculator::learn(Text& text, const sched::Segment& segment, std::span<const TokenId> tokens) {
  // The prompt, or what went by in a pause, and was guessed or not as well.
  if (const auto known = static_cast<size_t>(text.ngrams.size()); known < segment.tokens.size()) {
    learned_.assign(segment.tokens.begin() + static_cast<ptrdiff_t>(known), segment.tokens.end());
    learned_.insert(learned_.end(), tokens.begin(), tokens.end());
    tokens = learned_;
  }
  score(text, tokens);
  text.ngrams.append(tokens);
  text.match = class_of(text.ngrams.guess(options_.draft_max, &text.guesses));
}

void Speculator::forget(uint64_t id) {
  texts_.erase(id);
  if (drafter_ != nullptr) drafter_->forget(id);
}

Offer Speculator::ngram_offer(const Text& text) const {
  if (text.guesses.empty()) return {};
  const double rate = text.acceptance[text.match].rate();
  return {.acceptance = rate, .later = rate, .guesses = static_cast<int32_t>(text.guesses.size())};
}

Offer Speculator::drafter_offer(double first, double later) const {
  return {.acceptance = first,
          .later = later,
          .guesses = std::min({kChainMax, options_.draft_max, reach_}),
          .by_drafter = true};
}

// For each text that may guess, the better kind: an n-gram's guesses are there already, and their
// acceptance was watched all the time. Or n-grams alone, where that is faster: a drafter costs
// time.
void Speculator::share() {
  offers_.clear();
  ngram_offers_.clear();
  const bool drafts = drafter_ != nullptr;
  for (Text* text : guessing_) {
    ngram_offers_.push_back(ngram_offer(*text));
    text->by_drafter = drafts && ngram_offers_.back().acceptance < text->first->rate();
    offers_.push_back(text->by_drafter ? drafter_offer(text->first->rate(), text->later->rate())
                                       : ngram_offers_.back());
  }
  const DraftTimes* drafting = drafts ? &drafter_->times() : nullptr;
  const double best = share_out(offers_, rows_, kGuessesMax, times_, drafting, &take_);
  const bool matches = std::ranges::any_of(ngram_offers_, &Offer::guesses);
  if (!drafts || !matches) return;
  const double without =
      share_out(ngram_offers_, rows_, kGuessesMax, times_, nullptr, &ngram_take_);
  if (without < best) return;
  take_.swap(ngram_take_);
  for (Text* text : guessing_) text->by_drafter = false;
}

void Speculator::take_none() {
  take_.assign(guessing_.size(), 0);
  for (Text* text : guessing_) text->by_drafter = false;
}

bool Speculator::takes_any() const {
  return std::ranges::any_of(take_, [](int32_t taken) { return taken > 0; });
}

// Would a text that nothing is known of take guesses by the drafter, beside those that go on?
bool Speculator::promising() {
  const auto rows = std::max(static_cast<int32_t>(texts_.size()), 1);
  if (!times_.settled(rows)) return times_.seconds(rows) == 0 || rows == 1;
  offers_.assign(static_cast<size_t>(rows), drafter_offer(first_.rate(), later_.rate()));
  share_out(offers_, rows, kGuessesMax, times_, &drafter_->times(), &take_);
  return takes_any();
}

void Speculator::propose(const sched::Plan& plan, sched::Scheduler& scheduler) {
  const bool pauses = pause_ > 0;
  if (pauses) {
    ++paused_;
    pause_ = rows_ == rows_paused_ ? pause_ - 1 : 0;
  }
  proposing_ = 0;
  if (pauses && guessing_.empty() && plan.prompt_rows == 0) {
    if (drafter_ != nullptr) drafter_->rest();
  } else {
    const Nanos start = clock_.now();
    pauses ? take_none() : share();
    const bool none = !takes_any();
    for (size_t i = 0; i < ids_.size(); ++i) {
      const Text& text = *guessing_[i];
      if (take_[i] == 0 || text.by_drafter) continue;
      scheduler.guess(ids_[i], std::span(text.guesses).first(static_cast<size_t>(take_[i])));
    }
    if (drafter_ != nullptr) ask_drafter(plan, scheduler);
    if (!pauses) begin_pause(none && requests_.empty());
    proposing_ = to_seconds(clock_.now() - start);
  }
  rows_ = 0;
  ids_.clear();
  ends_.clear();
  guessing_.clear();
}

void Speculator::begin_pause(bool in_vain) {
  paused_ = 0;
  rows_paused_ = rows_;
  vain_ = in_vain && std::ranges::none_of(ngram_offers_, &Offer::guesses) ? vain_ + 1 : 0;
  const int32_t steps = std::max(rows_ / kRowsAsking, vain_ > kVainMany ? kStepsAsking : 1);
  pause_ = in_vain ? std::max(0, steps - 1) : 0;
}

void Speculator::ask_drafter(const sched::Plan& plan, sched::Scheduler& scheduler) {
  requests_.clear();
  for (size_t i = 0; i < ids_.size(); ++i) {
    Text& text = *guessing_[i];
    int32_t count = text.by_drafter ? take_[i] : 0;
    if (count > 0) count = std::min(count, scheduler.held(ids_[i])->room);
    text.unused = count > 0 ? 0 : text.unused + 1;
    text.kept = count > 0 || (text.kept && text.unused <= kUnusedMax);
    if (text.kept) requests_.push_back({ids_[i], count, ends_[i], {}});
  }
  // Prompts that are not through yet.
  if (plan.prompt_rows > 0) {
    std::optional<bool> kept;
    for (const sched::Segment& segment : plan.segments) {
      if (segment.samples) continue;
      if (!kept) kept = promising();
      if (*kept) requests_.push_back({segment.id, 0, {}, {}});
    }
  }
  if (requests_.empty()) return drafter_->rest();
  drafter_->draft(plan, scheduler, requests_);
  for (const DraftRequest& request : requests_) {
    if (!request.guesses.empty()) scheduler.guess(request.id, request.guesses);
  }
}

}  // namespace hadal
