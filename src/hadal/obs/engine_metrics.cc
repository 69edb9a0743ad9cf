#include "hadal/obs/engine_metrics.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "hadal/obs/registry.h"

namespace hadal {
namespace {

using obs::Buckets;

// vLLM's boundaries, so that its dashboards' heat maps keep their rows.
const Buckets& first_token_seconds() {
  static const Buckets kBuckets = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
                                   0.25,  0.5,   0.75, 1,    2.5,  5,    7.5,  10,
                                   20,    40,    80,   160,  640,  2'560};
  return kBuckets;
}
const Buckets& inter_token_seconds() {
  static const Buckets kBuckets = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5,
                                   0.75, 1,     2.5,  5,     7.5, 10,   20,  40,  80};
  return kBuckets;
}
const Buckets& request_seconds() {
  static const Buckets kBuckets = {0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,    15,   20,
                                   30,  40,  50,  60, 120, 240, 480, 960, 1'920, 7'680};
  return kBuckets;
}
const Buckets& step_tokens() {
  static const Buckets kBuckets = {1,   8,     16,    32,    64,    128,   256,
                                   512, 1'024, 2'048, 4'096, 8'192, 16'384};
  return kBuckets;
}
const Buckets& request_tokens() {
  static const Buckets kBuckets = {1,      2,      5,      10,      20,     50,
                                   100,    200,    500,    1'000,   2'000,  5'000,
                                   10'000, 20'000, 50'000, 100'000, 200'000};
  return kBuckets;
}

// Registers series with the one label that all of them have.
class Registrar {
 public:
  const std::string& model_name() const { return model_name_; }
  Registrar(obs::Registry& registry, std::string model_name)
      : registry_(registry), model_name_(std::move(model_name)) {}

  obs::Counter& counter(const char* name, const char* help) const {
    return registry_.counter(name, help, {kLabel}).with({model_name_});
  }
  obs::Gauge& gauge(const char* name, const char* help) const {
    return registry_.gauge(name, help, {kLabel}).with({model_name_});
  }
  obs::Histogram& histogram(const char* name, const char* help, const Buckets& buckets) const {
    return registry_.histogram(name, help, buckets, {kLabel}).with({model_name_});
  }
  obs::Counter& ended(const char* reason) const {
    return registry_
        .counter("vllm:request_success_total", "Requests that ended, by reason.",
                 {"finished_reason", kLabel})
        .with({reason, model_name_});
  }
  // By a guess's place in its run.
  std::vector<obs::Counter*> positions(int32_t count) const {
    std::vector<obs::Counter*> counters;
    for (int32_t i = 0; i < count; ++i) {
      counters.push_back(&registry_
                              .counter("vllm:spec_decode_num_accepted_tokens_per_pos_total",
                                       "Guessed tokens that were right, by place in their run.",
                                       {kLabel, "position"})
                              .with({model_name_, std::to_string(i)}));
    }
    return counters;
  }
  obs::Gauge& step_cost(const char* term) const {
    return registry_
        .gauge("hadal:step_cost_seconds",
               "What a step is taken to cost, by term: each step, experts read, a row, 1024 keys.",
               {kLabel, "term"})
        .with({model_name_, term});
  }
  obs::Gauge& cache_config(int32_t block_tokens, int32_t blocks) const {
    return registry_
        .gauge("vllm:cache_config_info", "The cache's shape, as labels.",
               {"block_size", kLabel, "num_gpu_blocks"})
        .with({std::to_string(block_tokens), model_name_, std::to_string(blocks)});
  }

 private:
  static constexpr const char* kLabel = "model_name";
  obs::Registry& registry_;
  const std::string model_name_;
};

constexpr int32_t kPositions = 16;  // of a run of guesses that are counted one by one

constexpr std::array<const char*, 4> kReasons = {"stop", "length", "abort", "error"};

struct ByReason {
  explicit ByReason(const Registrar& add) {
    for (size_t i = 0; i < kReasons.size(); ++i) {
      counters[i] = &add.ended(kReasons[i]);
    }
  }
  void count(std::string_view reason) {
    for (size_t i = 0; i < kReasons.size(); ++i) {
      if (reason == kReasons[i]) counters[i]->increment();
    }
  }
  std::array<obs::Counter*, kReasons.size()> counters;
};

void observe_if_reached(obs::Histogram& histogram, double seconds) {
  if (seconds >= 0) histogram.observe(seconds);
}

}  // namespace

struct EngineMetrics::Impl {
  Impl(std::shared_ptr<obs::Registry> shared, const std::string& model_name)
      : registry(std::move(shared)), add(*registry, model_name) {}

  std::shared_ptr<obs::Registry> registry;
  Registrar add;

  obs::Gauge& running = add.gauge("vllm:num_requests_running", "Requests that the model works on.");
  obs::Gauge& waiting = add.gauge("vllm:num_requests_waiting", "Requests in the queue.");
  obs::Gauge& kv_use =
      add.gauge("vllm:kv_cache_usage_perc", "Cache blocks of running requests, 1 is all.");
  obs::Counter& prefix_queries = add.counter("vllm:prefix_cache_queries_total",
                                             "Prompt tokens looked up in the prefix cache.");
  obs::Counter& prefix_hits =
      add.counter("vllm:prefix_cache_hits_total", "Prompt tokens found in the prefix cache.");
  obs::Counter& prompt_tokens =
      add.counter("vllm:prompt_tokens_total", "Prompt tokens that the model computed.");
  obs::Counter& generation_tokens =
      add.counter("vllm:generation_tokens_total", "Tokens generated.");
  obs::Counter& drafts =
      add.counter("vllm:spec_decode_num_drafts_total", "Runs of guessed tokens that were tried.");
  obs::Counter& draft_tokens =
      add.counter("vllm:spec_decode_num_draft_tokens_total", "Guessed tokens that were tried.");
  obs::Counter& accepted_tokens =
      add.counter("vllm:spec_decode_num_accepted_tokens_total", "Guessed tokens that were right.");
  std::vector<obs::Counter*> accepted_at = add.positions(kPositions);
  obs::Counter& preemptions =
      add.counter("vllm:num_preemptions_total", "Requests that gave their cache blocks to others.");
  obs::Counter& refusals = add.counter("vllm:admission_rejections_total",
                                       "Requests refused because the queue was full.");
  ByReason ended{add};
  obs::Histogram& iteration_tokens =
      add.histogram("vllm:iteration_tokens_total", "Rows of one step of the model.", step_tokens());
  obs::Histogram& step_seconds =
      add.histogram("hadal:step_seconds", "A step of the model, sampling and sending included.",
                    inter_token_seconds());
  obs::Counter& steps_over_target =
      add.counter("hadal:steps_over_target_total",
                  "Steps that somebody's next token waited for longer than --target-itl.");
  obs::Gauge& prompt_rows_most =
      add.gauge("hadal:step_prompt_rows_most", "Prompt rows that the last step had room for.");
  obs::Gauge& target = add.gauge("hadal:target_inter_token_seconds", "--target-itl; 0: none.");
  obs::Histogram& first_token =
      add.histogram("vllm:time_to_first_token_seconds", "From the request to its first token.",
                    first_token_seconds());
  obs::Histogram& inter_token =
      add.histogram("vllm:inter_token_latency_seconds", "From one token of a request to the next.",
                    inter_token_seconds());
  obs::Histogram& mean_token =
      add.histogram("vllm:request_time_per_output_token_seconds",
                    "Mean time between a request's tokens.", inter_token_seconds());
  obs::Histogram& e2e = add.histogram("vllm:e2e_request_latency_seconds",
                                      "From the request to its end.", request_seconds());
  obs::Histogram& queue = add.histogram("vllm:request_queue_time_seconds",
                                        "From the request to its first step.", request_seconds());
  obs::Histogram& inference = add.histogram("vllm:request_inference_time_seconds",
                                            "From the first step to the end.", request_seconds());
  obs::Histogram& prefill =
      add.histogram("vllm:request_prefill_time_seconds", "From the first step to the first token.",
                    request_seconds());
  obs::Histogram& decode = add.histogram("vllm:request_decode_time_seconds",
                                         "From the first token to the last.", request_seconds());
  obs::Histogram& request_prompt =
      add.histogram("vllm:request_prompt_tokens", "Prompt tokens of a request.", request_tokens());
  obs::Histogram& request_generation = add.histogram(
      "vllm:request_generation_tokens", "Tokens generated for a request.", request_tokens());
  obs::Histogram& request_most =
      add.histogram("vllm:request_max_num_generation_tokens",
                    "Tokens that a request might have generated.", request_tokens());
};

EngineMetrics::EngineMetrics(const std::string& model_name,
                             std::shared_ptr<obs::Registry> registry) {
  if (registry == nullptr) registry = std::make_shared<obs::Registry>();
  impl_ = std::make_unique<Impl>(std::move(registry), model_name);
}
EngineMetrics::~EngineMetrics() = default;

const std::shared_ptr<obs::Registry>& EngineMetrics::registry() const { return impl_->registry; }
const std::string& EngineMetrics::model_name() const { return impl_->add.model_name(); }

void EngineMetrics::cache_config(int32_t block_tokens, int32_t blocks) {
  impl_->add.cache_config(block_tokens, blocks).set(1);
}

void EngineMetrics::load(int32_t running, int32_t waiting, double kv_use) {
  impl_->running.set(running);
  impl_->waiting.set(waiting);
  impl_->kv_use.set(kv_use);
}

void EngineMetrics::iteration(int32_t tokens, int32_t prompt) {
  impl_->iteration_tokens.observe(tokens);
  impl_->prompt_tokens.increment(prompt);
}
void EngineMetrics::step(const StepReport& report) {
  impl_->step_seconds.observe(report.seconds);
  if (report.over_target) impl_->steps_over_target.increment();
  impl_->prompt_rows_most.set(report.prompt_rows_most);
}
void EngineMetrics::target_itl(double seconds) { impl_->target.set(seconds); }
obs::Gauge& EngineMetrics::step_cost(const char* term) { return impl_->add.step_cost(term); }
void EngineMetrics::generated(int32_t tokens) { impl_->generation_tokens.increment(tokens); }
void EngineMetrics::prefix_lookup(int32_t tokens, int32_t hits) {
  impl_->prefix_queries.increment(tokens);
  impl_->prefix_hits.increment(hits);
}
void EngineMetrics::speculated(int32_t guesses, int32_t accepted) {
  impl_->drafts.increment();
  impl_->draft_tokens.increment(guesses);
  impl_->accepted_tokens.increment(accepted);
  for (int32_t i = 0; i < std::min(accepted, kPositions); ++i) impl_->accepted_at[i]->increment();
}
int64_t EngineMetrics::guesses() const { return static_cast<int64_t>(impl_->draft_tokens.value()); }
int64_t EngineMetrics::guesses_accepted() const {
  return static_cast<int64_t>(impl_->accepted_tokens.value());
}
void EngineMetrics::preempted() { impl_->preemptions.increment(); }
void EngineMetrics::refused() { impl_->refusals.increment(); }
void EngineMetrics::first_token(double seconds) { impl_->first_token.observe(seconds); }
void EngineMetrics::inter_token(double seconds) { impl_->inter_token.observe(seconds); }

void EngineMetrics::finished(const FinishedRequest& request) {
  Impl& m = *impl_;
  m.ended.count(request.reason);
  m.request_prompt.observe(request.prompt_tokens);
  m.request_generation.observe(request.generation_tokens);
  if (request.max_tokens > 0) m.request_most.observe(request.max_tokens);
  observe_if_reached(m.e2e, request.e2e);
  observe_if_reached(m.queue, request.queue);
  observe_if_reached(m.prefill, request.prefill);
  observe_if_reached(m.decode, request.decode);
  if (request.queue >= 0) observe_if_reached(m.inference, request.e2e - request.queue);
  if (request.decode >= 0 && request.generation_tokens > 1) {
    m.mean_token.observe(request.decode / (request.generation_tokens - 1));
  }
}

}  // namespace hadal
