#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <charconv>
#include <limits>

#include "hadal/api/openai.h"
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

void parse_text_format(Fields& fields) {
  const json::value* format = fields.find("response_format");
  if (format == nullptr) return;
  if (!format->is_object()) return fields.wrong("response_format", *format, "object");
  const json::value* type = format->get_object().if_contains("type");
  if (type == nullptr || !type->is_string()) {
    return fields.fault("response_format.type", "is missing, expected \"text\"");
  }
  if (type->get_string() != "text") {
    fields.fault(
        {Code::kUnsupported,
         "response_format: only type \"text\" is supported; remove it and ask for the form "
         "in a message",
         "response_format"});
  }
}

void parse_base(Fields& fields, GenerationBase* request) {
  fields.text("model", kLabelBytesMax, &request->model);
  parse_sampling(fields, &request->sampling);
  fields.integer("n", 1, limits::kChoicesMax, &request->choices);
  fields.boolean("stream", &request->stream);
  parse_stream_options(fields, request);
  parse_text_format(fields);
  fields.integer("priority", std::numeric_limits<int32_t>::min(), kTokensMax, &request->priority);
  fields.text("user_id", kLabelBytesMax, &request->cache_scope);
  fields.text("cache_salt", kLabelBytesMax, &request->cache_scope);
  fields.boolean("skip_special_tokens", &request->skip_special_tokens);
}

// A message's content: a string, or parts of type text.
void parse_content(Fields& message, const std::string& where, std::string* target) {
  const json::value* content = message.find("content");
  if (content == nullptr) return;
  if (content->is_string()) {
    target->assign(content->get_string().data(), content->get_string().size());
    return;
  }
  if (!content->is_array()) return message.wrong("content", *content, "string or array of parts");
  const json::array& parts = content->get_array();
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string name = fmt::format("content[{}]", i);
    if (!parts[i].is_object()) return message.wrong(name, parts[i], "object with type and text");
    Fields part(parts[i].get_object(), where + name + ".");
    std::string type = "text";
    std::string text;
    part.text("type", 64, &type);
    if (type != "text" && type != "input_text") {
      part.fault({Code::kUnsupported,
                  fmt::format("{}: parts of type '{}' are not supported, only text",
                              part.path("type"), type),
                  part.path("type")});
    }
    part.require("text", "a string");
    part.text("text", limits::kBodyBytesMax, &text);
    if (auto status = part.status(); !status) return message.fault(status.error());
    *target += text;
  }
}

Parsed<Message> parse_message(const json::object& object, const std::string& where) {
  static constexpr auto kMessage = std::to_array<FieldRule>({
      {"role", FieldUse::kHonoured, ""},
      {"content", FieldUse::kHonoured, ""},
      {"reasoning_content", FieldUse::kHonoured, "kept or dropped by the model's template"},
      {"reasoning", FieldUse::kHonoured, "as reasoning_content"},
      {"name", FieldUse::kIgnored, "the models' templates have no place for it"},
      {"refusal", FieldUse::kIgnored, "part of an earlier answer"},
      {"annotations", FieldUse::kIgnored, "part of an earlier answer"},
      {"audio", FieldUse::kRefused, "only text is supported"},
      {"tool_calls", FieldUse::kRefused, "this server has no tool calls"},
      {"tool_call_id", FieldUse::kRefused, "this server has no tool calls"},
      {"function_call", FieldUse::kRefused, "this server has no tool calls"},
      {"prefix", FieldUse::kRefused, "end with a user message"},
  });
  Fields fields(object, where);
  Message message;
  fields.require("role", "system, user or assistant");
  fields.text("role", 64, &message.role);
  if (message.role == "developer") message.role = "system";
  if (message.role == "tool" || message.role == "function") {
    fields.fault({Code::kUnsupported,
                  fmt::format("{}: this server has no tool calls, so no role '{}'",
                              fields.path("role"), message.role),
                  fields.path("role")});
  } else if (message.role != "system" && message.role != "user" && message.role != "assistant") {
    fields.fault("role", fmt::format("found '{}', expected system, user or assistant",
                                     message.role.substr(0, 32)));
  }
  fields.allow(kMessage);
  if (message.role != "assistant") fields.require("content", "a string or an array of text parts");
  parse_content(fields, where, &message.content);
  fields.text("reasoning", limits::kBodyBytesMax, &message.reasoning);
  fields.text("reasoning_content", limits::kBodyBytesMax, &message.reasoning);
  HADAL_TRY_VOID(fields.status());
  return message;
}

void parse_messages(Fields& fields, std::vector<Message>* target) {
  const json::value* value = fields.find("messages");
  if (value == nullptr) return;
  const std::string expected = fmt::format("array of 1 to {} messages", limits::kMessagesMax);
  if (!value->is_array() || value->get_array().empty() ||
      value->get_array().size() > limits::kMessagesMax) {
    return fields.wrong("messages", *value, expected);
  }
  const json::array& list = value->get_array();
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string name = fmt::format("messages[{}]", i);
    if (!list[i].is_object()) return fields.wrong(name, list[i], "object with role and content");
    auto message = parse_message(list[i].get_object(), name + ".");
    if (!message) return fields.fault(message.error());
    target->push_back(std::move(*message));
  }
}

// The ways in which clients ask for thinking or none, the more exact last.
void parse_thinking(Fields& fields, std::optional<bool>* thinking) {
  static constexpr std::array<std::string_view, 8> kEfforts = {"none", "minimal", "low", "medium",
                                                               "high", "xhigh",   "max", "ultra"};
  std::string effort;
  fields.text("reasoning_effort", 32, &effort);
  if (!effort.empty()) {
    if (std::find(kEfforts.begin(), kEfforts.end(), effort) == kEfforts.end()) {
      fields.fault("reasoning_effort",
                   fmt::format("found '{}', expected none, minimal, low, medium, high, xhigh, max "
                               "or ultra",
                               effort));
    }
    *thinking = effort != "none";
  }
  if (const json::value* value = fields.find("chat_template_kwargs")) {
    if (!value->is_object()) return fields.wrong("chat_template_kwargs", *value, "object");
    static constexpr auto kArguments = std::to_array<FieldRule>({
        {"thinking", FieldUse::kHonoured, ""},
        {"enable_thinking", FieldUse::kHonoured, ""},
    });
    Fields inner(value->get_object(), "chat_template_kwargs.");
    inner.allow(kArguments);
    inner.boolean("enable_thinking", thinking);
    inner.boolean("thinking", thinking);
    if (auto status = inner.status(); !status) return fields.fault(status.error());
  }
  if (const json::value* value = fields.find("thinking")) {
    if (!value->is_object()) return fields.wrong("thinking", *value, "object with a type");
    std::string type;
    Fields inner(value->get_object(), "thinking.");
    inner.require("type", "\"enabled\" or \"disabled\"");
    inner.text("type", 32, &type);
    if (auto status = inner.status(); !status) return fields.fault(status.error());
    if (type != "enabled" && type != "disabled") {
      return fields.fault("thinking.type",
                          fmt::format("found '{}', expected enabled or disabled", type));
    }
    *thinking = type == "enabled";
  }
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
  if (const json::value* choice = fields.find("tool_choice")) {
    if (!choice->is_string() ||
        (choice->get_string() != "none" && choice->get_string() != "auto")) {
      fields.fault({Code::kUnsupported, "tool_choice: this server has no tool calls; remove it",
                    "tool_choice"});
    }
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
  parse_thinking(fields, &request.thinking);
  check_only_text(fields);
  fields.boolean("include_reasoning", &request.include_reasoning);
  fields.boolean("add_generation_prompt", &request.add_generation_prompt);
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
  int32_t best_of = request.choices;
  fields.integer("best_of", 1, limits::kChoicesMax, &best_of);
  if (best_of != request.choices) {
    fields.fault(
        {Code::kUnsupported, "best_of: must equal n, as answers are not ranked here", "best_of"});
  }
  if (request.prompts.size() * static_cast<size_t>(request.choices) > limits::kPromptsMax) {
    fields.fault("n", fmt::format("{} prompts with {} choices each are more than {} answers",
                                  request.prompts.size(), request.choices, limits::kPromptsMax));
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
      {"tools", FieldUse::kRefused, "this server has no tool calls"},
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
  parse_thinking(fields, &request.thinking);
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
