#include "hadal/tools/speculation.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "hadal/base/rng.h"
#include "hadal/tools/report_text.h"

namespace hadal {
namespace {

constexpr int32_t kEdit = 16;  // of an edited copy, one token in so many is new

// A model that another owns.
class LentModel final : public Model {
 public:
  explicit LentModel(Model& model) : model_(model) {}
  const ModelConfig& config() const override { return model_.config(); }
  Status prepare(int32_t rows, int32_t logit_rows) override {
    return model_.prepare(rows, logit_rows);
  }
  ConstView forward(const Batch& batch, KvArena& cache) override {
    return model_.forward(batch, cache);
  }
  ConstView draft(const DraftBatch& batch, KvArena& cache) override {
    return model_.draft(batch, cache);
  }
  std::span<const kernels::Greatest> greatest() const override { return model_.greatest(); }
  uint64_t weight_bytes() const override { return model_.weight_bytes(); }
  uint64_t step_bytes(double experts) const override { return model_.step_bytes(experts); }
  uint64_t mapped_bytes() const override { return model_.mapped_bytes(); }
  bool cached() const override { return model_.cached(); }

 private:
  Model& model_;
};

struct Text {
  std::vector<TokenId> prompt;
  std::vector<TokenId> answer;  // empty: the model's own
};

struct Kind {
  std::string name;
  std::function<Text(int32_t number)> make;  // number: of the client and the round
};

std::vector<TokenId> drawn(int32_t count, int32_t vocabulary, Rng& rng) {
  std::vector<TokenId> tokens;
  for (int32_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<TokenId>(rng.next() % static_cast<uint64_t>(vocabulary)));
  }
  return tokens;
}

// The first `count` tokens of a text that repeats `prompt` for ever, one in `edit` replaced; 0:
// none.
Text copied(std::vector<TokenId> prompt, int32_t count, int32_t edit, int32_t vocabulary,
            Rng& rng) {
  Text text{std::move(prompt), {}};
  for (int32_t i = 0; i < count; ++i) {
    const bool changed = edit > 0 && i % edit == edit - 1;
    text.answer.push_back(changed ? drawn(1, vocabulary, rng)[0]
                                  : text.prompt[static_cast<size_t>(i) % text.prompt.size()]);
  }
  return text;
}

std::vector<Kind> kinds(const SpeculationOptions& options, int32_t vocabulary) {
  const auto put_in = [&options, vocabulary](int32_t edit) {
    return [&options, vocabulary, edit](int32_t number) {
      Rng rng(static_cast<uint64_t>(number) + 1);
      auto prompt = drawn(options.prompt_tokens, vocabulary, rng);
      if (edit == 1) return Text{prompt, drawn(options.answer_tokens, vocabulary, rng)};
      return copied(std::move(prompt), options.answer_tokens, edit, vocabulary, rng);
    };
  };
  std::vector<Kind> result{{"copy of the prompt", put_in(0)},
                           {"copy, 1 token in 16 new", put_in(kEdit)},
                           {"nothing repeats", put_in(1)}};
  if (options.prompts.empty()) return result;
  result.push_back(
      {"the model's own", [&options](int32_t number) {
         return Text{options.prompts[static_cast<size_t>(number) % options.prompts.size()], {}};
       }});
  return result;
}

GenerationRequest request_of(Text text, int32_t answer_tokens) {
  GenerationRequest request;
  request.prompt = std::move(text.prompt);
  request.sampling.temperature = 0;
  request.sampling.max_tokens = answer_tokens;
  if (text.answer.empty()) return request;
  request.sampling.ignore_eos = true;
  request.steering.thinking_end = 0;  // any token: the budget of none is spent at once
  request.steering.thinking_budget = 0;
  request.steering.close = std::move(text.answer);
  return request;
}

// An engine, and what it has guessed.
struct Side {
  EngineMetrics metrics{"bench"};
  std::unique_ptr<Engine> engine;
};

// Tokens per second of some answers at once, from the moment when all have begun to that when the
// first ends, so that no prompt is in it.
class Meter {
 public:
  Meter(const Clock& clock, int32_t clients) : clock_(clock), waiting_(clients), left_(clients) {}

  EventSink sink() {
    return [this, begun = false](const GenerationEvent& event) mutable {
      const std::lock_guard lock(mutex_);
      const Nanos now = clock_.now();
      if (!event.tokens.empty() && !std::exchange(begun, true) && --waiting_ == 0) {
        start_ = now;
      } else if (waiting_ == 0 && !ended_) {
        tokens_ += static_cast<int64_t>(event.tokens.size());
        end_ = now;
      }
      if (!event.finished) return;
      if (event.reason == FinishReason::kError) error_ = event.error;
      ended_ = true;
      if (--left_ == 0) done_.notify_all();
    };
  }

  // Nothing: one had ended before all had begun.
  Result<std::optional<double>> wait() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return left_ == 0; });
    if (error_) return fail(*error_);
    if (waiting_ > 0 || end_ <= start_) return std::nullopt;
    return static_cast<double>(tokens_) / to_seconds(end_ - start_);
  }

 private:
  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable done_;
  int32_t waiting_;  // answers that have not begun
  int32_t left_;     // that have not ended
  bool ended_ = false;
  Nanos start_{}, end_{};
  int64_t tokens_ = 0;
  std::optional<Error> error_;
};

Result<std::optional<double>> run(Side& side, const Kind& kind, int32_t round,
                                  const SpeculationOptions& options, const Clock& clock) {
  Meter meter(clock, options.clients);
  for (int32_t client = 0; client < options.clients; ++client) {
    Text text = kind.make(client + round);
    const auto id =
        side.engine->submit(request_of(std::move(text), options.answer_tokens), meter.sink());
    // Those before it end before the meter does.
    if (!id) {
      side.engine.reset();
      return fail(id.error());
    }
  }
  HADAL_TRY(const std::optional<double> rate, meter.wait());
  // Its thread may be busy for a moment after the last event, and the other side wants its pool.
  while (side.engine->state().running > 0) std::this_thread::yield();
  return rate;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// One round that does not count, in which caches fill and the engine learns what steps cost. Rounds
// that give no rate are made up for.
Result<SpeculationResult> measure(Side& plain, Side& guessing, const Kind& kind,
                                  const SpeculationOptions& options, const Clock& clock) {
  SpeculationResult result{kind.name};
  std::vector<double> plains, guessings, ratios;
  const int32_t rounds_most = 4 * options.repeats;
  for (int32_t round = -1; result.rounds < options.repeats; ++round) {
    if (round == rounds_most) {
      return fail(Code::kInvalidInput, "the answers are too short to be timed: see --answer");
    }
    if (round == 0) {
      result.guesses = -guessing.metrics.guesses();
      result.right = -guessing.metrics.guesses_accepted();
    }
    HADAL_TRY(const auto without, run(plain, kind, round + 1, options, clock));
    HADAL_TRY(const auto with, run(guessing, kind, round + 1, options, clock));
    if (round < 0 || !without || !with) continue;
    plains.push_back(*without);
    guessings.push_back(*with);
    ratios.push_back(*with / *without);
    ++result.rounds;
  }
  result.guesses += guessing.metrics.guesses();
  result.right += guessing.metrics.guesses_accepted();
  result.plain = median(plains);
  result.guessing = median(guessings);
  result.ratio = median(ratios);
  return result;
}

}  // namespace

double SpeculationResult::right_share() const {
  return guesses > 0 ? static_cast<double>(right) / static_cast<double>(guesses) : 0.0;
}

Result<std::vector<SpeculationResult>> bench_speculation(
    Model& model, Model* draft, const Tokenizer& tokenizer, kernels::Backend& backend,
    ThreadPool& pool, const Clock& clock, const SpeculationOptions& options,
    const std::function<void(const std::string&)>& progress) {
  EngineOptions engine;
  engine.sequences_max = options.clients;
  engine.context = std::min(model.config().context, options.prompt_tokens + options.answer_tokens);
  for (const auto& prompt : options.prompts) {
    engine.context =
        std::max(engine.context, static_cast<int32_t>(prompt.size()) + options.answer_tokens);
  }
  engine.kv_dtype = options.kv_dtype;
  std::vector<SpeculationResult> results;
  for (const Kind& kind : kinds(options, tokenizer.vocabulary_size())) {
    progress(fmt::format("guessing: {}", kind.name));
    // What an engine learns of one text is nothing for the next.
    Side plain, guessing;
    engine.speculate = Speculate::kOff;
    HADAL_TRY(plain.engine, Engine::make(std::make_unique<LentModel>(model), tokenizer, backend,
                                         pool, engine, plain.metrics, clock, {}));
    engine.speculate = options.speculate;
    engine.draft_max = options.draft_max;
    HADAL_TRY(guessing.engine, Engine::make(std::make_unique<LentModel>(model), tokenizer, backend,
                                            pool, engine, guessing.metrics, clock, {},
                                            draft ? std::make_unique<LentModel>(*draft) : nullptr));
    HADAL_TRY(SpeculationResult result, measure(plain, guessing, kind, options, clock));
    results.push_back(std::move(result));
  }
  return results;
}

std::string speculation_text(const std::vector<SpeculationResult>& results) {
  std::string out = fmt::format("{:<26}{:>10}{:>10}{:>8}{:>18}\n", "answer", "plain/s",
                                "guessing/s", "ratio", "guesses right");
  for (const SpeculationResult& r : results) {
    const std::string right =
        r.guesses == 0 ? "none tried"
                       : fmt::format("{:.0f}% of {}", 100.0 * r.right_share(), r.guesses);
    out += fmt::format("{:<26}{:>10.1f}{:>10.1f}{:>8.2f}{:>18}\n", r.text, r.plain, r.guessing,
                       r.ratio, right);
  }
  return out;
}

std::string speculation_json(const std::vector<SpeculationResult>& results) {
  std::string out = "[";
  for (const SpeculationResult& r : results) {
    out += fmt::format(
        "{}{{\"text\": {}, \"plain\": {:.3f}, \"guessing\": {:.3f}, \"ratio\": {:.4f}, "
        "\"guesses\": {}, \"right\": {}, \"rounds\": {}}}",
        out.size() > 1 ? ", " : "", json_string(r.text), r.plain, r.guessing, r.ratio, r.guesses,
        r.right, r.rounds);
  }
  return out + "]";
}

}  // namespace hadal
