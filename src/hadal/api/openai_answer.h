// Answers in OpenAI's form, as JSON text. Whole answers and stream chunks are written from the same
// pieces, so that they cannot say different things.
//
// Pure: no I/O, any thread. Text must be valid UTF-8; token bytes may be anything.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/api/error.h"

namespace hadal::api {

struct AnswerInfo {
  std::string id;  // "chatcmpl-..." or "cmpl-..."
  int64_t created = 0;
  std::string model;
  std::string fingerprint;
  std::string service_tier = {};  // empty: not asked for
  int64_t prompt_tokens = 0;      // of the first prompt; what a stream may say before its end
};

struct AnswerUsage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t cached_tokens = 0;     // of the prompt
  int64_t reasoning_tokens = 0;  // of the completion
};

struct TokenScore {
  std::string bytes;
  float logprob = 0.0f;
};
struct TokenScores {
  TokenScore chosen;
  bool scored = true;  // false: the first token of an echoed prompt
  std::vector<TokenScore> top;
};

// A tool call, or of a stream a piece of one.
struct AnswerCall {
  int32_t index = 0;
  std::string id;  // empty: more arguments of a call that has begun
  std::string name;
  std::string arguments;
};

// A run of what a choice holds: so many bytes of its reasoning or content, or its next call.
struct AnswerRun {
  enum class Kind : uint8_t { kReasoning, kContent, kCall };
  Kind kind = Kind::kContent;
  size_t bytes = 0;
};

struct AnswerChoice {
  int32_t index = 0;
  std::string content;
  std::string reasoning;
  std::vector<AnswerCall> calls = {};
  std::vector<AnswerRun> runs = {};  // the three in the order in which they came
  bool has_reasoning = false;        // reasoning_content is present, if only as ""
  std::string finish_reason;         // empty: null
  std::string stop_reason;           // the stop string that ended it; empty: null
  bool has_logprobs = false;
  std::vector<TokenScores> logprobs;
  size_t text_offset = 0;  // completions: characters before the first of `logprobs`
};

std::string chat_answer(const AnswerInfo& info, std::span<const AnswerChoice> choices,
                        const AnswerUsage& usage);
// `first`: the chunk that opens a choice and names the role.
std::string chat_chunk(const AnswerInfo& info, const AnswerChoice& delta, bool first,
                       bool include_usage);
std::string completion_answer(const AnswerInfo& info, std::span<const AnswerChoice> choices,
                              const AnswerUsage& usage);
std::string completion_chunk(const AnswerInfo& info, const AnswerChoice& delta, bool include_usage);
// The chunk without choices that ends a stream with include_usage.
std::string usage_chunk(const AnswerInfo& info, bool chat, const AnswerUsage& usage);

// One protocol's way to write an answer. Streams are bytes of server-sent events.
//
// Threads: one answer, one thread at a time.
class AnswerForm {
 public:
  virtual ~AnswerForm() = default;
  virtual std::string whole(std::span<const AnswerChoice> choices, const AnswerUsage& usage) = 0;
  // `openings`: one a choice, empty but for index and has_reasoning.
  virtual std::string stream_begin(std::span<const AnswerChoice> openings) = 0;
  virtual std::string stream_delta(const AnswerChoice& delta) = 0;
  virtual std::string stream_end(const AnswerUsage& usage) = 0;
  virtual std::string stream_error(const ApiError& error) = 0;
  virtual std::string error(const ApiError& error) { return error_json(error); }
  virtual std::string keep_alive() const { return ": keep-alive\n\n"; }
};
std::unique_ptr<AnswerForm> chat_form(AnswerInfo info, bool include_usage);
std::unique_ptr<AnswerForm> completion_form(AnswerInfo info, bool include_usage);

struct ModelCard {
  std::string id;
  int64_t created = 0;
  int32_t context = 0;  // 0: not known
  std::string root;     // the model behind an alias
};
std::string model_answer(const ModelCard& model);
std::string models_answer(std::span<const ModelCard> models);

std::string tokenize_answer(std::span<const int32_t> tokens, int32_t context,
                            const std::vector<std::string>* strings);
std::string detokenize_answer(std::string_view text);

}  // namespace hadal::api
