// For tests: many requests of every kind, run one by one and all at once, and what it means that
// the answers are the same.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "hadal/base/rng.h"
#include "hadal/engine/engine.h"
#include "hadal/engine/testing/collector.h"
#include "hadal/text/unicode.h"

namespace hadal::testing {

struct Job {
  GenerationRequest request;
  int cancel_after = -1;  // tokens
};

class Jobs {
 public:
  explicit Jobs(uint64_t seed) : rng_(seed) {}

  Job next() {
    Job job;
    GenerationRequest& request = job.request;
    // Few beginnings, so that prefixes meet; now and then a long prompt.
    const auto family = static_cast<TokenId>(below(4));
    const int length = below(6) == 0 ? 60 + below(100) : 1 + below(40);
    for (int i = 0; i < length; ++i) {
      request.prompt.push_back(i < 24 ? family : static_cast<TokenId>(below(250)));
    }
    request.cache_scope = below(5) == 0 ? "b" : "";
    request.priority = below(3);
    set_sampling(request.sampling);
    if (below(4) == 0) request.logprobs = below(3);
    if (below(12) == 0) request.prompt_logprobs = below(2);
    request.show_special = below(4) == 0;
    if (below(5) == 0) job.cancel_after = below(20);
    return job;
  }

 private:
  int below(int bound) { return static_cast<int>(rng_.next() % static_cast<uint64_t>(bound)); }
  void set_sampling(SamplingParams& params) {
    params.seed = rng_.next();
    params.max_tokens = 1 + below(60);
    params.temperature = below(3) == 0 ? 0.0f : 0.5f + 0.5f * static_cast<float>(rng_.uniform());
    if (below(3) == 0) params.top_k = 1 + below(50);
    if (below(3) == 0) params.top_p = 0.3f + 0.7f * static_cast<float>(rng_.uniform());
    if (below(4) == 0) params.min_p = 0.2f * static_cast<float>(rng_.uniform());
    if (below(4) == 0) params.repetition_penalty = 1.3f;
    if (below(4) == 0) params.presence_penalty = 0.7f;
    if (below(4) == 0) params.frequency_penalty = 0.4f;
    if (below(4) == 0) params.logit_bias = {{65, 5.0f}, {66, -5.0f}};
    if (below(4) == 0) params.stop = {std::string(1, static_cast<char>('a' + below(26))), "zz"};
    if (below(6) == 0) params.stop_token_ids = {below(256)};
    if (below(6) == 0) params.ignore_eos = true;
    if (below(6) == 0) params.min_tokens = 1 + below(*params.max_tokens);
  }
  Rng rng_;
};

inline std::vector<Job> make_jobs(uint64_t seed, size_t count) {
  Jobs generator(seed);
  std::vector<Job> jobs(count);
  for (Job& job : jobs) job = generator.next();
  return jobs;
}

inline std::vector<Answer> run_alone(const std::vector<Job>& jobs, Engine& engine) {
  std::vector<Answer> answers;
  for (const Job& job : jobs) {
    Collector collector;
    const auto id = engine.submit(job.request, collector.sink());
    EXPECT_TRUE(id) << id.error().what;
    if (!id) return answers;
    answers.push_back(collector.wait());
  }
  return answers;
}

// From several threads, with the jobs' cancellations. `submitted` counts the jobs as they go in.
inline std::vector<Answer> run_together(const std::vector<Job>& jobs, Engine& engine,
                                        std::atomic<size_t>* submitted = nullptr) {
  constexpr size_t kThreads = 4;
  std::vector<Collector> collectors(jobs.size());
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = t; i < jobs.size(); i += kThreads) {
        // The sink learns its id through this; it may be late, as with a real client.
        const auto id = std::make_shared<std::atomic<RequestId>>(0);
        const int after = jobs[i].cancel_after;
        const auto given = engine.submit(
            jobs[i].request, collectors[i].sink([&engine, id, after](const GenerationEvent& event) {
              if (after >= 0 && event.usage.completion_tokens > after) engine.cancel(id->load());
            }));
        if (submitted != nullptr) {
          ++*submitted;
          submitted->notify_all();
        }
        ASSERT_TRUE(given) << given.error().what;
        *id = *given;
        if (after == 0) engine.cancel(*given);
        if (i % 7 == 0) std::this_thread::yield();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<Answer> answers;
  for (Collector& collector : collectors) answers.push_back(collector.wait());
  return answers;
}

inline bool same_scores(const std::vector<TokenLogprob>& left,
                        const std::vector<TokenLogprob>& right) {
  return std::ranges::equal(left, right, [](const TokenLogprob& a, const TokenLogprob& b) {
    const bool same = a.logprob == b.logprob || (std::isnan(a.logprob) && std::isnan(b.logprob));
    return a.token == b.token && same && a.top == b.top;
  });
}

inline void expect_same(const Answer& crowd, const Answer& alone) {
  ASSERT_EQ(crowd.endings, 1);
  EXPECT_TRUE(is_valid_utf8(crowd.text));
  if (crowd.reason == FinishReason::kCancelled) {
    ASSERT_LE(crowd.tokens.size(), alone.tokens.size());
    EXPECT_TRUE(std::equal(crowd.tokens.begin(), crowd.tokens.end(), alone.tokens.begin()));
    return;
  }
  EXPECT_EQ(crowd.reason, alone.reason);
  EXPECT_EQ(crowd.tokens, alone.tokens);
  EXPECT_EQ(crowd.text, alone.text);
  EXPECT_EQ(crowd.stop_match, alone.stop_match);
  EXPECT_TRUE(same_scores(crowd.logprobs, alone.logprobs));
  EXPECT_TRUE(same_scores(crowd.prompt_logprobs, alone.prompt_logprobs));
  EXPECT_EQ(crowd.usage.completion_tokens, static_cast<int32_t>(crowd.tokens.size()));
}

}  // namespace hadal::testing
