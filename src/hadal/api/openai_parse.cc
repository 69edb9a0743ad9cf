#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <charconv>
#include <limits>

#include "hadal/api/openai.h"
#include "hadal/api/openai_messages.h"
#include "hadal/base/limits.h"

namespace hadal::api {
namespace {

namespace json = boost::json;

constexpr int32_t kTokensMax = std::numeric_limits<int32_t>::max();
constexpr size_t kLabelBytesMax = 1'024;

void parse_logit_bias(Fields& fields, std::vector<std::pair<int32_t, float>>* target) {
  const json::value* value = fields.find("logit_bias");
  if (value == nullptr) return;
  if (!value->is_object() || value->get_object().size() > limits::kLogitBiasMax) {
    return fields.wrong("logit_bias", *value,
                        fmt::format("object of at most {} token ids with a bias -100 to 100",
                                    limits::kLogitBiasMax));
  }
  for (const auto& member : value->get_object()) {
    const std::string_view key(member.key().data(), member.key().size());
    int32_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0) {
      return fields.fault("logit_bias", "every key must be a token id, written as a number");
    }
    const json::value& bias = member.value();
    const double number = bias.is_number() ? bias.to_number<double>() : 1000.0;
    if (!(number >= -100.0 && number <= 100.0)) {
      return fields.wrong(fmt::format("logit_bias.{}", id), bias, "number -100 to 100");
    }
    target->emplace_back(id, static_cast<float>(number));
  }
}

void parse_sampling(Fields& fields, Sampling* sampling) {
  constexpr double kAny = std::numeric_limits<double>::max();
  fields.number("temperature", 0, 2, &sampling->temperature);
  fields.number("top_p", 0, 1, &sampling->top_p, true);
  fields.number("min_p", 0, 1, &sampling->min_p);
  fields.integer("top_k", -1, kTokensMax, &sampling->top_k);
  fields.number("repetition_penalty", 0, kAny, &sampling->repetition_penalty, true);
  if (sampling->repetition_penalty > 100.0) {
    fields.fault("repetition_penalty", "found a value over 100, expected number above 0 to 100");
  }
  fields.number("presence_penalty", -2, 2, &sampling->presence_penalty);
  fields.number("frequency_penalty", -2, 2, &sampling->frequency_penalty);
  fields.integer("seed", std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max(),
                 &sampling->seed);
  fields.integer("min_tokens", 0, kTokensMax, &sampling->min_tokens);
  fields.boolean("ignore_eos", &sampling->ignore_eos);
  fields.boolean("include_stop_str_in_output", &sampling->include_stop);
  fields.texts("stop", limits::kStopStringsMax, limits::kStopStringBytesMax, &sampling->stop);
  fields.integers("stop_token_ids", limits::kLogitBiasMax, &sampling->stop_token_ids);
  parse_logit_bias(fields, &sampling->logit_bias);
}

void parse_stream_options(Fields& fields, GenerationBase* request) {
  const json::value* options = fields.find("stream_options");
  if (options == nullptr) return;
  if (!options->is_object()) return fields.wrong("stream_options", *options, "object");
  static constexpr auto kOptions = std::to_array<FieldRule>({
      {"include_usage", FieldUse::kHonoured, ""},
      {"include_obfuscation", FieldUse::kIgnored, "chunks are not padded"},
      {"continuous_usage_stats", FieldUse::kRefused, "usage comes once, at the end"},
  });
  Fields inner(options->get_object(), "stream_options.");
  inner.allow(kOptions);
  inner.boolean("include_usage", &request->include_usage);
  if (auto status = inner.status(); !status) return fields.fault(status.error());
  // Clients send their defaults with stream: false, so only a wish for usage is worth a refusal;
  // and that is met anyway, as a whole answer always has its usage.
}

// True: the answer must be a JSON object. `json_object`: this endpoint can see to it.
bool parse_response_format(Fields& fields, bool json_object) {
  const json::value* format = fields.find("response_format");
  if (format == nullptr) return false;
  if (!format->is_object()) {
    fields.wrong("response_format", *format, "object");
    return false;
  }
  const json::value* type = format->get_object().if_contains("type");
  if (type == nullptr || !type->is_string()) {
    fields.fault("response_format.type", "is missing, expected \"text\" or \"json_object\"");
  } else if (type->get_string() == "json_object" && json_object) {
    return true;
  } else if (type->get_string() != "text") {
    fields.fault({Code::kUnsupported,
                  fmt::format("response_format: type '{}' is not supported here; remove it and ask "
                              "for the form in a message",
                              std::string_view(type->get_string()).substr(0, 32)),
                  "response_format"});
  }
  return false;
}

// "flex" may wait, "priority" goes first; what `priority` says goes before it.
void parse_service_tier(Fields& fields, GenerationBase* request) {
  fields.text("service_tier", 32, &request->service_tier);
  const std::string& tier = request->service_tier;
  if (tier == "flex") {
    request->priority = 10;
  } else if (tier == "priority") {
    request->priority = -10;
  } else if (tier == "auto" || tier == "standard_only") {
    request->service_tier = "default";
  } else if (!tier.empty() && tier != "default") {
    fields.fault("service_tier",
                 fmt::format("found '{}', expected auto, default, flex or priority", tier));
  }
}

void parse_base(Fields& fields, GenerationBase* request) {
  fields.text("model", kLabelBytesMax, &request->model);
  parse_sampling(fields, &request->sampling);
  fields.integer("n", 1, limits::kChoicesMax, &request->choices);
  fields.boolean("stream", &request->stream);
  parse_stream_options(fields, request);
  parse_service_tier(fields, request);
  fields.integer("priority", std::numeric_limits<int32_t>::min(), kTokensMax, &request->priority);
  fields.text("user_id", kLabelBytesMax, &request->cache_scope);
  fields.text("cache_salt", kLabelBytesMax, &request->cache_scope);
  fields.boolean("skip_special_tokens", &request->skip_special_tokens);
}

void check_only_text(Fields& fields) {
  std::vector<std::string> modalities;
  fields.texts("modalities", 8, 32, &modalities);
  for (const std::string& modality : modalities) {
    if (modality != "text") {
      fields.fault({Code::kUnsupported,
                    fmt::format("modalities: '{}' is not supported, only text", modality),
                    "modalities"});
    }
  }
}

// What a request that goes on with its last message says in vLLM's words.
void parse_continue(Fields& fields, ChatRequest* request) {
  bool goes_on = false;
  fields.boolean("continue_final_message", &goes_on);
  fields.boolean("add_generation_prompt", &request->add_generation_prompt);
  if (!goes_on || !fields.ok()) return;
  Message& last = request->messages.back();
  if (last.role != "assistant" || !last.tool_calls.empty()) {
    return fields.fault("continue_final_message", "the last message is not an assistant's text");
  }
  if (fields.has("add_generation_prompt") && request->add_generation_prompt) {
    return fields.fault("add_generation_prompt", "is false where continue_final_message is true");
  }
  last.prefix = true;
}

// How the pieces of a chat request go together.
void check_chat(Fields& fields, const ChatRequest& request) {
  const bool must_call = request.tool_choice.kind == ToolChoice::Kind::kRequired ||
                         request.tool_choice.kind == ToolChoice::Kind::kNamed;
  const bool goes_on = !request.messages.empty() && request.messages.back().prefix;
  if (must_call && goes_on) {
    fields.fault("tool_choice", "a call cannot be forced where the last message is gone on with");
  }
  if (request.json_object && (must_call || goes_on)) {
    fields.fault("response_format", "json_object goes with neither a forced call nor a prefix");
  }
}

Parsed<std::vector<Prompt>> parse_prompts(Fields& fields) {
  std::vector<Prompt> prompts;
  constexpr std::string_view kExpected =
      "string, array of strings, array of token ids, or array of arrays of token ids";
  fields.require("prompt", kExpected);
  HADAL_TRY_VOID(fields.status());
  const json::value& value = *fields.find("prompt");
  if (value.is_string()) {
    prompts.emplace_back(std::string(value.get_string()));
    return prompts;
  }
  if (!value.is_array() || value.get_array().empty()) {
    fields.wrong("prompt", value, kExpected);
    return fail(fields.status().error());
  }
  const json::array& list = value.get_array();
  if (list[0].is_number()) {
    HADAL_TRY(auto ids, token_ids(list, "prompt"));
    prompts.emplace_back(std::move(ids));
    return prompts;
  }
  if (list.size() > limits::kPromptsMax) {
    fields.wrong("prompt", value, fmt::format("at most {} prompts", limits::kPromptsMax));
    return fail(fields.status().error());
  }
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string name = fmt::format("prompt[{}]", i);
    if (list[i].is_string()) {
      prompts.emplace_back(std::string(list[i].get_string()));
    } else if (list[i].is_array()) {
      HADAL_TRY(auto ids, token_ids(list[i].get_array(), name));
      prompts.emplace_back(std::move(ids));
    } else {
      fields.wrong(name, list[i], "string or array of token ids");
      return fail(fields.status().error());
    }
  }
  return prompts;
}

}  // namespace

Parsed<ChatRequest> parse_chat(std::string_view body) {
  HADAL_TRY(const Document document, Document::parse(body));
  Fields fields(document.root());
  ChatRequest request;
  fields.allow(chat_fields());
  fields.require("messages", "an array of messages");
  parse_messages(fields, &request.messages);
  parse_base(fields, &request);
  fields.integer("max_tokens", 1, kTokensMax, &request.sampling.max_tokens);
  fields.integer("max_completion_tokens", 1, kTokensMax, &request.sampling.max_tokens);
  bool logprobs = false;
  fields.boolean("logprobs", &logprobs);
  int32_t top = 0;
  fields.integer("top_logprobs", 0, limits::kTopLogprobsMax, &top);
  if (logprobs) {
    request.logprobs = top;
  } else if (top > 0) {
    fields.fault("top_logprobs", "needs \"logprobs\": true");
  }
  request.candidates = request.choices;
  ThinkingWish wish;
  parse_thinking(fields, &wish);
  request.thinking = wish.thinking;
  request.effort = std::move(wish.effort);
  request.thinking_budget = wish.budget;
  check_only_text(fields);
  fields.boolean("include_reasoning", &request.include_reasoning);
  parse_tools(fields, &request.tools);
  parse_tool_choice(fields, request.tools, &request.tool_choice);
  fields.boolean("parallel_tool_calls", &request.parallel_tool_calls);
  request.json_object = parse_response_format(fields, true);
  parse_continue(fields, &request);
  check_chat(fields, request);
  HADAL_TRY_VOID(fields.status());
  return request;
}

Parsed<CompletionRequest> parse_completion(std::string_view body) {
  HADAL_TRY(const Document document, Document::parse(body));
  Fields fields(document.root());
  CompletionRequest request;
  fields.allow(completion_fields());
  HADAL_TRY(request.prompts, parse_prompts(fields));
  parse_base(fields, &request);
  fields.boolean("echo", &request.echo);
  fields.boolean("add_special_tokens", &request.add_special_tokens);
  // 0 with echo only scores the prompt.
  fields.integer("max_tokens", request.echo ? 0 : 1, kTokensMax, &request.sampling.max_tokens);
  fields.integer("logprobs", 0, limits::kTopLogprobsMax, &request.logprobs);
  parse_response_format(fields, false);
  request.candidates = request.choices;
  fields.integer("best_of", 1, limits::kChoicesMax, &request.candidates);
  if (request.candidates < request.choices) {
    fields.fault("best_of", fmt::format("found {}, expected n or more, which is {}",
                                        request.candidates, request.choices));
  }
  if (request.candidates > request.choices && request.stream) {
    fields.fault("best_of", "a stream cannot be ranked; ask without stream, or for n");
  }
  if (request.prompts.size() * static_cast<size_t>(request.candidates) > limits::kPromptsMax) {
    fields.fault("n", fmt::format("{} prompts with {} choices each are more than {} answers",
                                  request.prompts.size(), request.candidates, limits::kPromptsMax));
  }
  if (fields.has("suffix")) {
    fields.text("suffix", limits::kBodyBytesMax, &request.suffix.emplace());
    if (request.echo) fields.fault("echo", "does not go with suffix");
    for (const Prompt& prompt : request.prompts) {
      if (!std::holds_alternative<std::string>(prompt)) {
        fields.fault("suffix", "needs a prompt of text, not token ids");
      }
    }
  }
  HADAL_TRY_VOID(fields.status());
  return request;
}

Parsed<TokenizeRequest> parse_tokenize(std::string_view body) {
  static constexpr auto kFields = std::to_array<FieldRule>({
      {"model", FieldUse::kHonoured, ""},
      {"prompt", FieldUse::kHonoured, ""},
      {"messages", FieldUse::kHonoured, ""},
      {"add_special_tokens", FieldUse::kHonoured, ""},
      {"add_generation_prompt", FieldUse::kHonoured, ""},
      {"return_token_strs", FieldUse::kHonoured, ""},
      {"chat_template_kwargs", FieldUse::kHonoured, ""},
      {"thinking", FieldUse::kHonoured, ""},
      {"reasoning_effort", FieldUse::kHonoured, ""},
      {"tools", FieldUse::kHonoured, ""},
      {"chat_template", FieldUse::kRefused, "the model's own template is used"},
      {"continue_final_message", FieldUse::kRefused, "end with a user message"},
  });
  HADAL_TRY(const Document document, Document::parse(body));
  Fields fields(document.root());
  TokenizeRequest request;
  fields.allow(kFields);
  fields.text("model", kLabelBytesMax, &request.model);
  if (fields.has("prompt") == fields.has("messages")) {
    fields.fault("prompt", "exactly one of prompt and messages is expected");
  }
  if (fields.has("prompt")) {
    fields.text("prompt", limits::kBodyBytesMax, &request.prompt.emplace());
  }
  parse_messages(fields, &request.messages);
  parse_tools(fields, &request.tools);
  ThinkingWish wish;
  parse_thinking(fields, &wish);
  request.thinking = wish.thinking;
  fields.boolean("add_special_tokens", &request.add_special_tokens);
  fields.boolean("add_generation_prompt", &request.add_generation_prompt);
  fields.boolean("return_token_strs", &request.return_token_strings);
  HADAL_TRY_VOID(fields.status());
  return request;
}

Parsed<DetokenizeRequest> parse_detokenize(std::string_view body) {
  static constexpr auto kFields = std::to_array<FieldRule>({
      {"model", FieldUse::kHonoured, ""},
      {"tokens", FieldUse::kHonoured, ""},
  });
  HADAL_TRY(const Document document, Document::parse(body));
  Fields fields(document.root());
  DetokenizeRequest request;
  fields.allow(kFields);
  fields.text("model", kLabelBytesMax, &request.model);
  fields.require("tokens", "an array of token ids");
  fields.integers("tokens", limits::kBodyBytesMax, &request.tokens);
  HADAL_TRY_VOID(fields.status());
  return request;
}

}  // namespace hadal::api
