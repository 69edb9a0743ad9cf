// The local engine: requests in, streams of events out. Owns the model, the cache and the
// scheduler, and runs steps on one thread of its own.
//
// Threads: every public member may be called from any thread. Event callbacks run on the engine's
// thread; they must not block (everybody's tokens wait), throw (the process ends), nor call back
// into the engine, except cancel(). They and what they hold are destroyed on the engine's thread,
// after the last event. Destroying the engine ends what still runs or waits with kCancelled, before
// the destructor returns.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/base/log.h"
#include "hadal/base/result.h"
#include "hadal/base/threads.h"
#include "hadal/model/model.h"
#include "hadal/obs/engine_metrics.h"
#include "hadal/sample/logprobs.h"
#include "hadal/sample/params.h"
#include "hadal/text/tokenizer.h"

namespace hadal {

using RequestId = uint64_t;

// Tokens put into an answer that begins inside thinking, in place of what would be drawn.
struct Steering {
  TokenId thinking_end = -1;     // the token </think>; -1: nothing is put in
  int32_t thinking_budget = -1;  // tokens of thinking before `close` is put in; -1: no bound
  std::vector<TokenId> close;    // holds thinking_end
  std::vector<TokenId> then;     // behind what ended the thinking
};

struct GenerationRequest {
  std::vector<TokenId> prompt;   // at least one token
  SamplingParams sampling;       // sample/params.h: temperature, penalties, seed, stop, limits, ...
  int32_t priority = 0;          // lower runs first, as in vLLM
  int32_t logprobs = -1;         // -1: none; k: the chosen token and its k best alternatives
  int32_t prompt_logprobs = -1;  // for echo; -1: none
  std::string cache_scope;       // prefixes are shared only within one scope (tenant); may be empty
  bool show_special = false;     // control tokens as text
  std::vector<TokenId> shown_tokens;  // these as text even so: markers that a parser looks for
  Steering steering;
};

enum class FinishReason : uint8_t { kStop, kLength, kCancelled, kError };

struct Usage {
  int32_t prompt_tokens = 0;
  int32_t completion_tokens = 0;
  int32_t cached_tokens = 0;  // of the prompt, found in the prefix cache
};

// Order of one request's events: any number with text/tokens, then exactly one with `finished`.
struct GenerationEvent {
  std::string text;                    // whole UTF-8 characters; may be empty
  std::vector<TokenId> tokens;         // new since the last event (stop strings may hold text back)
  std::vector<TokenLogprob> logprobs;  // as many as tokens, when asked for
  // Once, with or before the first token, when asked for: one a prompt token. The first token has
  // no score: its logprob is NaN and its `top` empty.
  std::vector<TokenLogprob> prompt_logprobs;
  bool finished = false;
  FinishReason reason = FinishReason::kStop;
  std::string stop_match;  // the stop string that ended it, if one did
  Error error;             // when reason is kError
  Usage usage;             // current; final in the last event
};
using EventSink = std::function<void(const GenerationEvent&)>;

// Where guesses at the next tokens come from. Guessing never changes an answer: a guess is run
// beside the row before it and kept only when it is what the request's own sampler chose.
enum class Speculate : uint8_t {
  kAuto,  // whatever the model offers, where it is measured to pay
  kOff,
  kNgram,  // earlier occurrences of the last tokens, in prompt and answer
  kMtp,    // the model's own next-token-prediction layer, where it was loaded (LoadOptions)
  kDraft,  // a smaller model
};

// The prefix cache on disk (kv/disk_cache.h). Off when `path` is empty.
struct KvDiskOptions {
  std::string path;
  uint64_t bytes_max = 10ull << 30;
  // What decides a cache row's bits beside tokens and layout: the model's content, its packing, the
  // kernels. Pages of another identity are never read.
  std::string identity;
  uint64_t epoch = 0;  // drawn at random at every start
};

struct EngineOptions {
  int32_t context = 0;        // positions per sequence; 0: the model's, bounded by kv memory
  int32_t sequences_max = 0;  // running at once; 0: 64
  int32_t queue_max = 0;      // waiting, beside sequences_max; 0: 1024. More: kExhausted
  // Cache; 0: what sequences_max * context need, but at most 1 GiB (or 8192 tokens, where they need
  // more) and at most three quarters of the memory that is free once the model is loaded.
  uint64_t kv_bytes = 0;
  int32_t block_tokens = 32;
  int32_t step_rows_max = 512;  // rows of one step: decode rows first, then prompt chunks
  int32_t prefill_rows_with_decode = 1 << 16;  // prompt rows in a step that others' tokens wait for
  // What such a step may take, by the measured speed of those before it; 0: any time.
  Nanos target_itl = std::chrono::milliseconds(1000);
  std::optional<DType> kv_dtype;  // none: the model's own, see ModelConfig::kv_layout
  Speculate speculate = Speculate::kAuto;
  int32_t draft_max = 16;  // guesses a sequence and step, at most 64; 0 is kOff
  KvDiskOptions kv_disk;
  uint64_t random_seed = 0;  // seeds of requests that bring none are drawn from this stream
};

struct EngineState {
  int32_t running = 0;
  int32_t waiting = 0;
  int32_t blocks_total = 0;
  int32_t blocks_used = 0;  // referenced by running sequences
};

class Engine {
 public:
  // What make() checks too, for those who would rather know before a model is packed. kCorrupt: the
  // tokenizer has more tokens than the model has embedding rows (fewer is common, rows are padded;
  // those are never sampled).
  static Status check_vocabulary(const Tokenizer& tokenizer, const ModelConfig& config);

  // Takes the model; everything that is passed by reference must outlive the engine. `pool`: the
  // backend's own; it samples a step's rows as well. `draft`: a smaller model of the same tokenizer
  // that guesses, on the same backend; or null. kInvalidInput: an option out of range, or a kind of
  // guesses that nothing here can make. kExhausted: the cache cannot hold what the options ask for;
  // says both numbers. kCorrupt: see check_vocabulary(). Any error of the disk
  // cache's opening.
  static Result<std::unique_ptr<Engine>> make(std::unique_ptr<Model> model,
                                              const Tokenizer& tokenizer, kernels::Backend& backend,
                                              ThreadPool& pool, const EngineOptions& options,
                                              EngineMetrics& metrics, const Clock& clock,
                                              LogSink log, std::unique_ptr<Model> draft = nullptr);
  virtual ~Engine() = default;

  // Queues a request. `sink` is called until an event with `finished`. Errors (and then no event):
  // kInvalidInput (empty prompt, token out of range, bad sampling value), kTooLarge (prompt and the
  // least output do not fit the context: says both numbers), kExhausted (queue full), kUnavailable
  // (draining).
  virtual Result<RequestId> submit(GenerationRequest request, EventSink sink) = 0;
  // Ends a request; its blocks are free before the next step. Its last event has kCancelled.
  // Unknown and finished ids are ignored.
  virtual void cancel(RequestId id) = 0;

  // Refuses new requests from now on; running and queued ones finish.
  virtual void drain() = 0;
  // True when nothing runs or waits.
  virtual bool idle() const = 0;

  virtual EngineState state() const = 0;
  virtual const ModelConfig& config() const = 0;
  virtual int32_t context() const = 0;  // positions per sequence in force
};

}  // namespace hadal
