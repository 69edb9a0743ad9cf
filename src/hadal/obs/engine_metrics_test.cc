#include "hadal/obs/engine_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hadal/obs/registry.h"

namespace hadal {
namespace {

using testing::HasSubstr;

TEST(EngineMetrics, EverySeriesStandsAtZero) {
  const EngineMetrics metrics("tiny");
  const std::string text = exposition(*metrics.registry());
  for (const char* name :
       {"vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc",
        "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total",
        "vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:num_preemptions_total",
        "hadal:steps_over_target_total", "hadal:step_prompt_rows_most",
        "hadal:target_inter_token_seconds"}) {
    EXPECT_THAT(text, HasSubstr(std::string(name) + "{model_name=\"tiny\"} 0"));
  }
  for (const char* name :
       {"vllm:time_to_first_token_seconds", "vllm:inter_token_latency_seconds",
        "vllm:request_time_per_output_token_seconds", "vllm:e2e_request_latency_seconds",
        "vllm:request_queue_time_seconds", "vllm:request_inference_time_seconds",
        "vllm:request_prefill_time_seconds", "vllm:request_decode_time_seconds",
        "vllm:request_prompt_tokens", "vllm:request_generation_tokens",
        "vllm:request_max_num_generation_tokens", "vllm:iteration_tokens_total",
        "hadal:step_seconds"}) {
    EXPECT_THAT(text, HasSubstr(std::string(name) + "_count{model_name=\"tiny\"} 0"));
  }
  for (const char* reason : {"stop", "length", "abort", "error"}) {
    EXPECT_THAT(text, HasSubstr("vllm:request_success_total{finished_reason=\"" +
                                std::string(reason) + "\",model_name=\"tiny\"} 0"));
  }
}

TEST(EngineMetrics, CountsWhatHappened) {
  EngineMetrics metrics("tiny");
  metrics.cache_config(32, 100);
  metrics.load(3, 2, 0.25);
  metrics.iteration(70, 64);
  metrics.generated(6);
  metrics.target_itl(0.5);
  metrics.step({.seconds = 0.7, .over_target = true, .prompt_rows_most = 64});
  metrics.step({.seconds = 0.2, .over_target = false, .prompt_rows_most = 48});
  metrics.step_cost("prompt_row").set(0.25);
  metrics.prefix_lookup(64, 32);
  metrics.first_token(0.2);
  metrics.inter_token(0.03);
  metrics.finished({.reason = "length",
                    .prompt_tokens = 64,
                    .generation_tokens = 5,
                    .max_tokens = 5,
                    .e2e = 2,
                    .queue = 0.5,
                    .prefill = 0.5,
                    .decode = 1});
  metrics.finished({.reason = "abort", .prompt_tokens = 9, .e2e = 0.1});  // never ran
  const std::string text = exposition(*metrics.registry());
  for (const char* line :
       {"hadal:step_seconds_count{model_name=\"tiny\"} 2",
        "hadal:steps_over_target_total{model_name=\"tiny\"} 1",
        "hadal:step_prompt_rows_most{model_name=\"tiny\"} 48",
        "hadal:target_inter_token_seconds{model_name=\"tiny\"} 0.5",
        "hadal:step_cost_seconds{model_name=\"tiny\",term=\"prompt_row\"} 0.25",
        "vllm:cache_config_info{block_size=\"32\",model_name=\"tiny\",num_gpu_blocks=\"100\"} 1",
        "vllm:num_requests_running{model_name=\"tiny\"} 3",
        "vllm:kv_cache_usage_perc{model_name=\"tiny\"} 0.25",
        "vllm:prompt_tokens_total{model_name=\"tiny\"} 64",
        "vllm:generation_tokens_total{model_name=\"tiny\"} 6",
        "vllm:prefix_cache_hits_total{model_name=\"tiny\"} 32",
        "vllm:request_success_total{finished_reason=\"length\",model_name=\"tiny\"} 1",
        "vllm:request_success_total{finished_reason=\"abort\",model_name=\"tiny\"} 1",
        "vllm:e2e_request_latency_seconds_count{model_name=\"tiny\"} 2",
        "vllm:request_queue_time_seconds_count{model_name=\"tiny\"} 1",
        "vllm:request_inference_time_seconds_sum{model_name=\"tiny\"} 1.5",
        "vllm:request_time_per_output_token_seconds_sum{model_name=\"tiny\"} 0.25",
        "vllm:time_to_first_token_seconds_bucket{model_name=\"tiny\",le=\"0.25\"} 1",
        "vllm:time_to_first_token_seconds_bucket{model_name=\"tiny\",le=\"0.1\"} 0"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(EngineMetrics, TwoModelsShareARegistry) {
  EngineMetrics first("a");
  EngineMetrics second("b", first.registry());
  first.generated(1);
  second.generated(2);
  const std::string text = exposition(*first.registry());
  EXPECT_THAT(text, HasSubstr("vllm:generation_tokens_total{model_name=\"a\"} 1"));
  EXPECT_THAT(text, HasSubstr("vllm:generation_tokens_total{model_name=\"b\"} 2"));
}

}  // namespace
}  // namespace hadal
