// OpenAI's wire types, as far as this server speaks them, with vLLM's and DeepSeek's extensions.
// Parsing checks every value; what comes out needs no further look but for what depends on the
// model (its name, its vocabulary, its context).
//
// Pure: no I/O, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "hadal/api/error.h"
#include "hadal/api/fields.h"

namespace hadal::api {

// nullopt: the served model's own default.
struct Sampling {
  std::optional<double> temperature;         // [0, 2]
  std::optional<double> top_p;               // (0, 1]
  std::optional<double> min_p;               // [0, 1]
  std::optional<int64_t> top_k;              // -1 and 0: off
  std::optional<double> repetition_penalty;  // (0, 10]
  std::optional<double> presence_penalty;    // [-2, 2]
  std::optional<double> frequency_penalty;   // [-2, 2]
  std::optional<int64_t> seed;
  std::optional<int64_t> max_tokens;  // more than the context holds is clamped, not refused
  int32_t min_tokens = 0;
  bool ignore_eos = false;
  bool include_stop = false;  // the stop string is part of the answer
  std::vector<std::string> stop;
  std::vector<int32_t> stop_token_ids;
  std::vector<std::pair<int32_t, float>> logit_bias;
};

// What both generation endpoints share.
struct GenerationBase {
  std::string model;
  Sampling sampling;
  int32_t choices = 1;     // "n"
  int32_t candidates = 1;  // "best_of", at least `choices`: the most likely of so many are shown
  bool stream = false;
  bool include_usage = false;
  int32_t logprobs = -1;  // -1: none; k: the chosen token and its k best alternatives
  int32_t priority = 0;
  std::string service_tier;  // as asked for; what the answer says
  std::string cache_scope;
  bool skip_special_tokens = true;
};

struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments;  // JSON text, but whatever the model wrote
};

struct Message {
  std::string role;  // system, user, assistant or tool
  std::string content;
  std::string reasoning = {};  // an assistant's earlier thinking
  std::vector<ToolCall> tool_calls = {};
  std::string tool_call_id = {};  // tool: the call it answers, which an earlier message holds
  std::string name = {};          // tool: of that call
  bool prefix = false;            // the last message, an assistant's: to be gone on with
};

struct Tool {
  std::string name;        // letters, digits and "_-.:/"
  std::string definition;  // {"type": "function", "function": {...}} as JSON text
};

struct ToolChoice {
  enum class Kind : uint8_t { kAuto, kNone, kRequired, kNamed };
  Kind kind = Kind::kAuto;
  std::string name;  // kNamed: one of the tools
};

struct ChatRequest : GenerationBase {
  std::vector<Message> messages;
  std::vector<Tool> tools;
  ToolChoice tool_choice;
  bool parallel_tool_calls = true;
  std::optional<bool> thinking;
  bool thinks_unasked = true;  // false: not where `thinking` is not said and the model can without
  std::string effort;          // of thinking: low, high, max; empty: not said
  std::optional<int64_t> thinking_budget;  // tokens
  bool include_reasoning = true;
  bool add_generation_prompt = true;
  bool json_object = false;  // the answer must be one JSON object
};

using Prompt = std::variant<std::string, std::vector<int32_t>>;

struct CompletionRequest : GenerationBase {
  std::vector<Prompt> prompts;
  std::optional<std::string> suffix;  // fill in what is between prompt and suffix
  bool echo = false;
  bool add_special_tokens = true;
};

struct TokenizeRequest {
  std::string model;
  std::optional<std::string> prompt;  // exactly one of prompt and messages
  std::vector<Message> messages;
  std::vector<Tool> tools;
  bool add_special_tokens = true;  // of a prompt: begin with the begin token, if the model does
  bool add_generation_prompt = true;
  bool return_token_strings = false;
  std::optional<bool> thinking;
};

struct DetokenizeRequest {
  std::string model;
  std::vector<int32_t> tokens;
};

Parsed<ChatRequest> parse_chat(std::string_view body);
Parsed<CompletionRequest> parse_completion(std::string_view body);
Parsed<TokenizeRequest> parse_tokenize(std::string_view body);
Parsed<DetokenizeRequest> parse_detokenize(std::string_view body);

// The tables that the parsers obey.
const FieldTable& chat_fields();
const FieldTable& completion_fields();
const FieldTable& tokenize_fields();
const FieldTable& detokenize_fields();

}  // namespace hadal::api
