#include "hadal/engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <thread>

#include "hadal/engine/testing/fake_engine.h"
#include "hadal/obs/registry.h"
#include "hadal/sample/select.h"
#include "hadal/text/unicode.h"

namespace hadal {
namespace {

using testing::Answer;
using testing::Collector;
using testing::fake_engine_options;
using testing::FakeEngine;
using testing::FakeModel;
using ::testing::HasSubstr;

// Ends by length alone, unless the test says otherwise.
GenerationRequest greedy(std::vector<TokenId> prompt, int32_t max_tokens) {
  GenerationRequest request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0.0f;
  request.sampling.max_tokens = max_tokens;
  request.sampling.ignore_eos = true;
  return request;
}

std::vector<TokenId> greedy_by_oracle(const FakeModel& model, std::vector<TokenId> tokens,
                                      int count) {
  const auto prompt = static_cast<ptrdiff_t>(tokens.size());
  while (count-- > 0) tokens.push_back(select_first(model.logits_after(tokens)).token);
  return {tokens.begin() + prompt, tokens.end()};
}

// Blocks the engine inside forward() until it is opened.
class Gate {
 public:
  FakeModel::Hook hook() {
    return [this](const Batch&) {
      std::unique_lock lock(mutex_);
      ++arrived_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return open_; });
    };
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait_for_arrival() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return arrived_ > 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int arrived_ = 0;
};

TEST(Engine, GreedyIsTheModelsArgmax) {
  FakeEngine engine;
  const Answer answer = engine.answer(greedy({1, 2, 3}, 20));
  EXPECT_EQ(answer.tokens, greedy_by_oracle(engine.model(), {1, 2, 3}, 20));
  EXPECT_EQ(answer.reason, FinishReason::kLength);
  EXPECT_EQ(answer.usage.prompt_tokens, 3);
  EXPECT_EQ(answer.usage.completion_tokens, 20);
  EXPECT_EQ(answer.endings, 1);
  EXPECT_EQ(answer.text, replace_ill_formed(engine.tokenizer().decode(answer.tokens)));
}

TEST(Engine, EndsAtEndTokensUnlessTheyAreIgnored) {
  const Tokenizer tokenizer = testing::fake_tokenizer();
  FakeModel::Options model;
  model.eos = *tokenizer.data().eos;
  model.eos_every = 4;
  FakeEngine engine(fake_engine_options(), model);
  GenerationRequest request = greedy({5}, 60);
  request.sampling.ignore_eos = false;
  const Answer ended = engine.answer(request);
  ASSERT_EQ(ended.reason, FinishReason::kStop);
  EXPECT_EQ(ended.tokens.back(), model.eos);
  EXPECT_EQ(std::ranges::count(ended.tokens, model.eos), 1);
  EXPECT_EQ(ended.stop_match, "");
  EXPECT_EQ(ended.text.find("<eos>"), std::string::npos);

  request.sampling.ignore_eos = true;
  const Answer ignored = engine.answer(request);
  EXPECT_EQ(ignored.reason, FinishReason::kLength);
  EXPECT_EQ(ignored.tokens.size(), 60u);
  EXPECT_GT(std::ranges::count(ignored.tokens, model.eos), 1);

  request.sampling.ignore_eos = false;
  request.sampling.min_tokens = static_cast<int32_t>(ended.tokens.size()) + 5;
  const Answer longer = engine.answer(request);
  EXPECT_GE(longer.tokens.size(), ended.tokens.size() + 5);
  EXPECT_EQ(std::ranges::count(longer.tokens, model.eos), longer.reason == FinishReason::kStop);
}

TEST(Engine, EndsAtStopTokensAndStopStrings) {
  FakeEngine engine;
  GenerationRequest request = greedy({9, 9}, 40);
  const Answer whole = engine.answer(request);
  const auto first_of = [&](TokenId token) { return std::ranges::find(whole.tokens, token); };

  request.sampling.stop_token_ids = {whole.tokens[7]};
  const Answer by_token = engine.answer(request);
  EXPECT_EQ(by_token.reason, FinishReason::kStop);
  EXPECT_TRUE(std::equal(by_token.tokens.begin(), by_token.tokens.end(), whole.tokens.begin(),
                         first_of(whole.tokens[7]) + 1));

  request.sampling.stop_token_ids.clear();
  const size_t cut = valid_utf8_prefix(whole.text) > 4 ? whole.text.size() / 2 : 0;
  size_t begin = cut;
  while (begin < whole.text.size() && (whole.text[begin] & 0xC0) == 0x80) ++begin;
  size_t end = begin + 3;
  while (end < whole.text.size() && (whole.text[end] & 0xC0) == 0x80) ++end;
  const std::string stop = whole.text.substr(begin, end - begin);
  request.sampling.stop = {"never there", stop};
  const Answer by_text = engine.answer(request);
  EXPECT_EQ(by_text.reason, FinishReason::kStop);
  EXPECT_EQ(by_text.stop_match, stop);
  EXPECT_EQ(by_text.text, whole.text.substr(0, whole.text.find(stop)));
  request.sampling.include_stop_str_in_output = true;
  EXPECT_EQ(engine.answer(request).text, by_text.text + stop);
}

TEST(Engine, TheContextEndsAnAnswer) {
  EngineOptions options = fake_engine_options();
  options.context = 32;
  FakeEngine engine(options);
  GenerationRequest request = greedy(std::vector<TokenId>(20, 4), 1000);
  const Answer answer = engine.answer(request);
  EXPECT_EQ(answer.reason, FinishReason::kLength);
  EXPECT_EQ(answer.tokens.size(), 12u);
  request.sampling.max_tokens.reset();
  EXPECT_EQ(engine.answer(request).tokens, answer.tokens);
}

TEST(Engine, RefusesWhatMakesNoSense) {
  EngineOptions options = fake_engine_options();
  options.context = 32;
  FakeEngine engine(options);
  const auto refusal = [&](const GenerationRequest& request) {
    Collector collector;
    const auto id = engine->submit(request, collector.sink());
    EXPECT_FALSE(id);
    EXPECT_EQ(collector.now().events, 0);
    return id ? Error{} : id.error();
  };
  EXPECT_EQ(refusal(greedy({}, 1)).code, Code::kInvalidInput);
  EXPECT_EQ(refusal(greedy({-1}, 1)).code, Code::kInvalidInput);
  EXPECT_THAT(refusal(greedy({1, 100'000}, 1)).what, HasSubstr("100000"));
  EXPECT_THAT(refusal(greedy({1}, 0)).what, HasSubstr("max_tokens"));
  GenerationRequest nan = greedy({1}, 1);
  nan.sampling.top_p = std::nanf("");
  EXPECT_THAT(refusal(nan).what, HasSubstr("top_p"));
  GenerationRequest many = greedy({1}, 1);
  many.logprobs = 1'000'000;
  EXPECT_EQ(refusal(many).code, Code::kInvalidInput);
  const Error large = refusal(greedy(std::vector<TokenId>(32, 1), 1));
  EXPECT_EQ(large.code, Code::kTooLarge);
  EXPECT_THAT(large.what, HasSubstr("has 32 tokens"));
  EXPECT_THAT(large.what, HasSubstr("holds 32"));
  EXPECT_EQ(engine.answer(greedy(std::vector<TokenId>(31, 1), 1)).tokens.size(), 1u);
}

TEST(Engine, RefusesOptionsThatDoNotFit) {
  const auto refusal = [](const EngineOptions& options) {
    FakeModel::Options model;
    model.vocabulary = testing::fake_tokenizer().vocabulary_size();
    const auto refused = testing::refusal_of(options, model);
    EXPECT_TRUE(refused);
    return refused ? refused->what : "";
  };
  EngineOptions options = fake_engine_options();
  options.context = 257;
  EXPECT_THAT(refusal(options), HasSubstr("context is 257, allowed is 2 to 256"));
  options.context = 256;
  options.kv_bytes = testing::kv_bytes_of_blocks(31, options.block_tokens);
  EXPECT_THAT(refusal(options), HasSubstr("256 tokens"));
  options.context = 0;
  options.kv_bytes = 1;
  EXPECT_THAT(refusal(options), HasSubstr("there are 1"));
  options.block_tokens = 0;
  EXPECT_THAT(refusal(options), HasSubstr("block_tokens"));
}

TEST(Engine, RefusesGuessesThatNothingCanMake) {
  FakeModel::Options model;
  model.vocabulary = testing::fake_tokenizer().vocabulary_size();
  const auto what = [&](Speculate speculate, int32_t draft_max, int32_t draft_vocabulary) {
    EngineOptions options = fake_engine_options();
    options.speculate = speculate;
    options.draft_max = draft_max;
    std::unique_ptr<Model> draft;
    if (draft_vocabulary > 0) {
      FakeModel::Options small = model;
      small.vocabulary = draft_vocabulary;
      draft = std::make_unique<FakeModel>(small);
    }
    const auto refused = testing::refusal_of(options, model, std::move(draft));
    return refused ? refused->what : "";
  };
  EXPECT_EQ(what(Speculate::kAuto, 16, 0), "");
  EXPECT_EQ(what(Speculate::kDraft, 16, model.vocabulary), "");
  EXPECT_THAT(what(Speculate::kMtp, 16, 0), HasSubstr("no next-token-prediction layer"));
  EXPECT_THAT(what(Speculate::kDraft, 16, 0), HasSubstr("no draft model"));
  EXPECT_THAT(what(Speculate::kDraft, 16, 7), HasSubstr("the model's embedding 7 rows"));
  EXPECT_THAT(what(Speculate::kAuto, 65, 0), HasSubstr("draft_max is 65, allowed is 0 to 64"));
}

// A draft model that is always right: what it guessed in vain would stand behind an answer's end.
TEST(Engine, NothingIsGuessedBehindTheEnd) {
  EngineOptions options = fake_engine_options();
  options.speculate = Speculate::kDraft;
  FakeModel::Options model;
  model.eos = *testing::fake_tokenizer().data().eos;
  model.eos_every = 20;
  // So slow that guesses pay.
  const auto slow = [](const Batch&) {
    std::this_thread::sleep_for(std::chrono::microseconds(300));
  };
  FakeEngine engine(options, model, slow, nullptr, model);
  int ended = 0;
  for (TokenId first = 1; first < 20; ++first) {
    GenerationRequest request = greedy({first}, 200);
    request.sampling.ignore_eos = false;
    ended += engine.answer(request).reason == FinishReason::kStop ? 1 : 0;
  }
  EXPECT_GT(ended, 10);
  EXPECT_EQ(engine.answer(greedy({20}, 50)).tokens.size(), 50u) << "a limit is an end too";
  EXPECT_GT(engine.metrics().guesses(), 100);
  EXPECT_EQ(engine.metrics().guesses(), engine.metrics().guesses_accepted());
}

TEST(Engine, RefusesATokenizerOfAnotherModel) {
  FakeModel::Options model;
  for (const int32_t extra : {-1, 0, 100}) {
    model.vocabulary = testing::fake_tokenizer().vocabulary_size() + extra;
    const auto refused = testing::refusal_of(fake_engine_options(), model);
    EXPECT_EQ(!refused, extra >= 0) << extra;
    const std::string what = refused ? refused->what : "";
    EXPECT_THAT(what, HasSubstr(extra >= 0 ? "" : "not of one model"));
  }
}

TEST(Engine, TheQueueIsBoundedAndCancelFreesIt) {
  Gate gate;
  EngineOptions options = fake_engine_options();
  options.sequences_max = 2;
  options.queue_max = 3;
  FakeEngine engine(options, {}, gate.hook());
  std::vector<Collector> collectors(6);
  std::vector<RequestId> ids;
  const auto submit = [&](size_t i) {
    return engine->submit(greedy({1}, 4), collectors[i].sink());
  };
  ids.push_back(submit(0).value());
  gate.wait_for_arrival();
  for (size_t i = 1; i < 5; ++i) ids.push_back(submit(i).value());
  const auto refused = submit(5);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kExhausted);
  EXPECT_EQ(collectors[5].now().events, 0);
  for (const RequestId id : ids) engine->cancel(id);
  engine->cancel(12345);
  gate.open();
  for (size_t i = 0; i < 5; ++i) {
    const Answer answer = collectors[i].wait();
    EXPECT_EQ(answer.reason, FinishReason::kCancelled);
    EXPECT_EQ(answer.error.code, Code::kCancelled);
  }
  EXPECT_EQ(engine.answer(greedy({1}, 4)).reason, FinishReason::kLength);
}

TEST(Engine, ASinkMayCancel) {
  FakeEngine engine;
  Collector collector;
  std::atomic<RequestId> id{0};
  const auto submitted =
      engine->submit(greedy({3}, 200), collector.sink([&](const GenerationEvent& event) {
        if (event.usage.completion_tokens >= 3) engine->cancel(id.load());
      }));
  id = submitted.value();
  const Answer answer = collector.wait();
  // The id may be known late; the request ends all the same.
  EXPECT_TRUE(answer.reason == FinishReason::kCancelled || answer.tokens.size() == 200u);
  EXPECT_EQ(answer.endings, 1);
}

TEST(Engine, DrainRefusesNewAndFinishesOld) {
  Gate gate;
  FakeEngine engine(fake_engine_options(), {}, gate.hook());
  Collector running, late;
  ASSERT_TRUE(engine->submit(greedy({1}, 10), running.sink()));
  EXPECT_FALSE(engine->idle());
  engine->drain();
  const auto refused = engine->submit(greedy({1}, 10), late.sink());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnavailable);
  gate.open();
  EXPECT_EQ(running.wait().tokens.size(), 10u);
  while (!engine->idle()) std::this_thread::yield();
}

TEST(Engine, DestructionCancelsWhatIsLeft) {
  EngineOptions options = fake_engine_options();
  options.sequences_max = 1;
  FakeModel::Options model;
  model.context = 2048;
  // Slow enough that the answers, of half a minute, cannot end before the engine does.
  FakeEngine engine(options, model, [](const Batch&) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  });
  std::vector<Collector> collectors(3);
  for (Collector& collector : collectors) {
    ASSERT_TRUE(engine->submit(greedy({1}, 2000), collector.sink()));
  }
  collectors[0].wait_for_tokens(2);
  engine.destroy();
  for (const Collector& collector : collectors) {
    EXPECT_EQ(collector.now().endings, 1);
    EXPECT_EQ(collector.now().reason, FinishReason::kCancelled);
  }
}

TEST(Engine, APromptInTheCacheIsNotComputedAgain) {
  std::atomic<int> rows{0};
  FakeEngine engine(fake_engine_options(), {},
                    [&rows](const Batch& batch) { rows += static_cast<int>(batch.tokens.size()); });
  GenerationRequest request = greedy(std::vector<TokenId>(100, 6), 1);
  const Answer first = engine.answer(request);
  EXPECT_EQ(rows.exchange(0), 100);
  const Answer second = engine.answer(request);
  EXPECT_EQ(rows.exchange(0), 4);
  EXPECT_EQ(first.usage.cached_tokens, 0);
  EXPECT_EQ(second.usage.cached_tokens, 96);
  EXPECT_EQ(second.tokens, first.tokens);
  // Half of the last full block is another text: its bytes are copied, not computed.
  request.prompt.resize(92);
  request.prompt.resize(100, 7);
  EXPECT_EQ(engine.answer(request).usage.cached_tokens, 92);
  EXPECT_EQ(rows.exchange(0), 8);
  request.cache_scope = "another tenant";
  EXPECT_EQ(engine.answer(request).usage.cached_tokens, 0);
}

TEST(Engine, LogprobsOfAnswerAndPrompt) {
  EngineOptions options = fake_engine_options();
  options.sequences_max = 4;
  options.step_rows_max = 32;
  FakeEngine engine(options);
  GenerationRequest request = greedy({7, 8, 9}, 5);
  while (request.prompt.size() < 50)
    request.prompt.push_back(static_cast<TokenId>(request.prompt.size()));
  request.logprobs = 2;
  request.prompt_logprobs = 1;
  const Answer answer = engine.answer(request);
  ASSERT_EQ(answer.tokens.size(), 5u);
  ASSERT_EQ(answer.logprobs.size(), 5u);
  std::vector<TokenId> tokens = request.prompt;
  tokens.insert(tokens.end(), answer.tokens.begin(), answer.tokens.end());
  const auto expected = [&](size_t position, int32_t top) {
    const auto logits = engine.model().logits_after(std::span(tokens).first(position));
    return token_logprob(logits, tokens[position], top);
  };
  for (size_t i = 0; i < 5; ++i) {
    const TokenLogprob wanted = expected(50 + i, 2);
    EXPECT_EQ(answer.logprobs[i].token, wanted.token);
    EXPECT_EQ(answer.logprobs[i].logprob, wanted.logprob);
    EXPECT_EQ(answer.logprobs[i].top, wanted.top);
    EXPECT_EQ(answer.logprobs[i].top[0].first, answer.tokens[i]) << "greedy";
  }
  ASSERT_EQ(answer.prompt_logprobs.size(), 50u);
  EXPECT_EQ(answer.prompt_logprobs[0].token, request.prompt[0]);
  EXPECT_TRUE(std::isnan(answer.prompt_logprobs[0].logprob));
  for (size_t i = 1; i < 50; ++i) {
    EXPECT_EQ(answer.prompt_logprobs[i].logprob, expected(i, 1).logprob) << i;
    EXPECT_EQ(answer.prompt_logprobs[i].top, expected(i, 1).top);
  }
}

TEST(Engine, AModelOfNansEndsTheRequestAndNothingElse) {
  FakeModel::Options model;
  model.odd_logit = std::nanf("");
  FakeEngine engine(fake_engine_options(), model);
  for (int i = 0; i < 3; ++i) {
    const Answer answer = engine.answer(greedy({1, 2}, 5));
    EXPECT_EQ(answer.reason, FinishReason::kError);
    EXPECT_EQ(answer.error.code, Code::kInternal);
    EXPECT_THAT(answer.error.what, HasSubstr("NaN"));
    EXPECT_EQ(answer.endings, 1);
  }
}

TEST(Engine, WithoutASeedAnswersDifferAndTheStreamOfSeedsRepeats) {
  const auto answers = [](uint64_t random_seed) {
    EngineOptions options = fake_engine_options();
    options.random_seed = random_seed;
    FakeEngine engine(options);
    GenerationRequest request = greedy({1}, 10);
    request.sampling.temperature = 1.0f;
    return std::pair(engine.answer(request).tokens, engine.answer(request).tokens);
  };
  const auto one = answers(1);
  EXPECT_NE(one.first, one.second);
  EXPECT_EQ(one, answers(1));
  EXPECT_NE(one, answers(2));
}

TEST(Engine, MetricsTellWhatHappened) {
  FakeEngine engine;
  const Answer answer = engine.answer(greedy(std::vector<TokenId>(20, 1), 5));
  engine.answer(greedy(std::vector<TokenId>(20, 1), 5));
  while (!engine->idle()) std::this_thread::yield();
  const std::string text = exposition(*engine.metrics().registry());
  for (const char* line :
       {"vllm:generation_tokens_total{model_name=\"fake\"} 10",
        "vllm:prompt_tokens_total{model_name=\"fake\"} 21",
        "vllm:prefix_cache_queries_total{model_name=\"fake\"} 40",
        "vllm:prefix_cache_hits_total{model_name=\"fake\"} 19",
        "vllm:request_success_total{finished_reason=\"length\",model_name=\"fake\"} 2",
        "vllm:time_to_first_token_seconds_count{model_name=\"fake\"} 2",
        "vllm:inter_token_latency_seconds_count{model_name=\"fake\"} 8",
        "vllm:request_decode_time_seconds_count{model_name=\"fake\"} 2",
        "block_size=\"8\",model_name=\"fake\",num_gpu_blocks=\"256\"} 1"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

}  // namespace
}  // namespace hadal
