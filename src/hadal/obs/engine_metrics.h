// What an engine counts, under the names that dashboards and autoscalers made for vLLM already read
// ("vllm:num_requests_running", ...), each with the label model_name.
//
// Threads: every member may be called from any thread at any time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace hadal {
namespace obs {
class Gauge;
class Registry;
}  // namespace obs

// A step of the model, and what bounds it.
struct StepReport {
  double seconds = 0;            // from its plan to the last event of its tokens
  bool over_target = false;      // others' tokens waited for it, and longer than the target
  int32_t prompt_rows_most = 0;  // prompt rows that there was room for
};

// A request that ended, however it did. Seconds; -1 where the request never came so far.
struct FinishedRequest {
  const char* reason = "stop";  // "stop", "length", "abort" (cancelled) or "error"
  int32_t prompt_tokens = 0;
  int32_t generation_tokens = 0;
  int32_t max_tokens = 0;  // the limit in force; 0: none but the context
  double e2e = -1;         // from submit to the last event
  double queue = -1;       // from submit to the first step that ran it
  double prefill = -1;     // from there to the first token
  double decode = -1;      // from there to the last token
};

class EngineMetrics {
 public:
  // Registers every series at zero, so that a rate is right from the first scrape. Several engines
  // share a registry when their model names differ. `registry` empty: one of its own that nobody
  // reads.
  explicit EngineMetrics(const std::string& model_name,
                         std::shared_ptr<obs::Registry> registry = nullptr);
  ~EngineMetrics();
  EngineMetrics(const EngineMetrics&) = delete;
  EngineMetrics& operator=(const EngineMetrics&) = delete;

  const std::shared_ptr<obs::Registry>& registry() const;
  const std::string& model_name() const;

  // Once, when the cache has been allocated.
  void cache_config(int32_t block_tokens, int32_t blocks);
  // Gauges. kv_use in [0, 1]: blocks of running sequences over all.
  void load(int32_t running, int32_t waiting, double kv_use);

  // One step of the model over `tokens` rows, of which `prompt` were prompt rows.
  void iteration(int32_t tokens, int32_t prompt);
  void step(const StepReport& report);
  // The target for steps that others' tokens wait for; 0: none. Once.
  void target_itl(double seconds);
  // What the scheduler takes a step to cost: a coefficient by its name, in seconds. Looked up by
  // its labels, so who sets it in every step keeps the reference; it lives as long as the registry.
  obs::Gauge& step_cost(const char* term);
  void generated(int32_t tokens);
  // A prompt was looked up in the prefix cache: its tokens, and how many were found.
  void prefix_lookup(int32_t tokens, int32_t hits);
  // One sequence's guesses in one step: how many were run, and the first how many were right.
  void speculated(int32_t guesses, int32_t accepted);
  int64_t guesses() const;  // so far
  int64_t guesses_accepted() const;
  void preempted();
  void refused();  // a full queue

  void first_token(double seconds_since_submit);
  void inter_token(double seconds);
  void finished(const FinishedRequest& request);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hadal
