#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "hadal/api/openai.h"
#include "hadal/api/openai_messages.h"
#include "hadal/base/limits.h"

namespace hadal::api {
namespace {

namespace json = boost::json;

void parse_logit_bias(Fields& fields, std::vector<std::pair<int32_t, float>>* target) {
  const json::value* value = fields.find("logit_bias");
  if (value == nullptr) return;
  if (!value->is_object() || value->get_object().size() > limits::kLogitBiasMax) {
    return fields.wrong("logit_bias", *value);
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
  fields.number("temperature", &sampling->temperature);
  fields.number("top_p", &sampling->top_p);
  fields.number("min_p", &sampling->min_p);
  fields.integer("top_k", &sampling->top_k);
  fields.number("repetition_penalty", &sampling->repetition_penalty);
  fields.number("presence_penalty", &sampling->presence_penalty);
  fields.number("frequency_penalty", &sampling->frequency_penalty);
  fields.integer("seed", &sampling->seed);
  fields.integer("min_tokens", &sampling->min_tokens);
  fields.boolean("ignore_eos", &sampling->ignore_eos);
  fields.boolean("include_stop_str_in_output", &sampling->include_stop);
  fields.texts("stop", &sampling->stop);
  fields.tokens("stop_token_ids", &sampling->stop_token_ids);
  parse_logit_bias(fields, &sampling->logit_bias);
}

// "flex" may wait, "priority" goes first; what `priority` says goes before it.
void parse_service_tier(Fields& fields, GenerationBase* request) {
  std::string& tier = request->service_tier;
  fields.word("service_tier", &tier);
  if (tier == "flex") {
    request->priority = 10;
  } else if (tier == "priority") {
    request->priority = -10;
  } else if (!tier.empty()) {
    tier = "default";
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

Parsed<std::vector<Prompt>> parse_prompts(Fields& fields) {
  std::vector<Prompt> prompts;
  HADAL_TRY_VOID(fields.status());
  const json::value& value = *fields.find("prompt");
  if (value.is_string()) {
    prompts.emplace_back(std::string(value.get_string()));
    return prompts;
  }
  if (!value.is_array() || value.get_array().empty()) {
    fields.wrong("prompt", value);
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

void parse_generation(Fields& fields, GenerationBase* request) {
  fields.text("model", &request->model);
  parse_sampling(fields, &request->sampling);
  fields.boolean("stream", &request->stream);
  // Clients send their defaults with stream: false, so only a wish for usage is worth a refusal;
  // and that is met anyway, as a whole answer always has its usage.
  fields.object("stream_options", [&](Fields& options) {
    options.boolean("include_usage", &request->include_usage);
  });
  parse_service_tier(fields, request);
  fields.integer("priority", &request->priority);
  fields.text("user_id", &request->cache_scope);
  fields.text("cache_salt", &request->cache_scope);
  fields.boolean("skip_special_tokens", &request->skip_special_tokens);
}

Parsed<ChatRequest> parse_chat(std::string_view body) {
  HADAL_TRY(const Document document, Document::parse(body));
  Fields fields(document.root(), chat_fields());
  ChatRequest request;
  HADAL_TRY_VOID(fields.status());
  parse_messages(fields, &request.messages);
  parse_generation(fields, &request);
  fields.integer("n", &request.choices);
  fields.integer("max_tokens", &request.sampling.max_tokens);
  fields.integer("max_completion_tokens", &request.sampling.max_tokens);
  bool logprobs = false;
  fields.boolean("logprobs", &logprobs);
  int32_t top = 0;
  fields.integer("top_logprobs", &top);
  if (logprobs) {
    request.logprobs = top;
  } else if (top > 0) {
    fields.fault("top_logprobs", "needs \"logprobs\": true");
  }
  request.candidates = request.choices;
  ThinkingWish wish;
  parse_effort(fields, "reasoning_effort", &wish);
  fields.integer("thinking_token_budget", &wish.budget);
  parse_template_arguments(fields, &wish);
  parse_thinking(fields, &wish);
  request.thinking = wish.thinking;
  request.effort = std::move(wish.effort);
  request.thinking_budget = wish.budget;
  std::vector<std::string> modalities;  // one, and it is always there
  fields.texts("modalities", &modalities);
  fields.boolean("include_reasoning", &request.include_reasoning);
  parse_tools(fields, &request.tools);
  parse_tool_choice(fields, &request.tools, &request.tool_choice);
  fields.boolean("parallel_tool_calls", &request.parallel_tool_calls);
  request.json_object = parse_format(fields, "response_format", true);
  parse_continue(fields, &request);
  check_forms(fields, "response_format", request);
  HADAL_TRY_VOID(fields.status());
  return request;
}

Parsed<CompletionRequest> parse_completion(std::string_view body) {
  HADAL_TRY(const Document document, Document::parse(body));
  Fields fields(document.root(), completion_fields());
  CompletionRequest request;
  HADAL_TRY(request.prompts, parse_prompts(fields));
  parse_generation(fields, &request);
  fields.integer("n", &request.choices);
  fields.boolean("echo", &request.echo);
  fields.boolean("add_special_tokens", &request.add_special_tokens);
  fields.integer("max_tokens", &request.sampling.max_tokens);
  if (request.sampling.max_tokens == 0 && !request.echo) {
    fields.fault("max_tokens", "found 0, which needs \"echo\": true");
  }
  fields.integer("logprobs", &request.logprobs);
  parse_format(fields, "response_format", false);
  request.candidates = request.choices;
  fields.integer("best_of", &request.candidates);
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
    fields.text("suffix", &request.suffix.emplace());
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
  HADAL_TRY(const Document document, Document::parse(body));
  Fields fields(document.root(), tokenize_fields());
  TokenizeRequest request;
  fields.text("model", &request.model);
  if (fields.has("prompt")) fields.text("prompt", &request.prompt.emplace());
  parse_messages(fields, &request.messages);
  if (fields.has("prompt") == fields.has("messages")) {
    fields.fault("prompt", "exactly one of prompt and messages is expected");
  }
  parse_tools(fields, &request.tools);
  ThinkingWish wish;
  parse_effort(fields, "reasoning_effort", &wish);
  parse_template_arguments(fields, &wish);
  parse_thinking(fields, &wish);
  request.thinking = wish.thinking;
  fields.boolean("add_special_tokens", &request.add_special_tokens);
  fields.boolean("add_generation_prompt", &request.add_generation_prompt);
  fields.boolean("return_token_strs", &request.return_token_strings);
  HADAL_TRY_VOID(fields.status());
  return request;
}

Parsed<DetokenizeRequest> parse_detokenize(std::string_view body) {
  HADAL_TRY(const Document document, Document::parse(body));
  Fields fields(document.root(), detokenize_fields());
  DetokenizeRequest request;
  fields.text("model", &request.model);
  fields.tokens("tokens", &request.tokens);
  HADAL_TRY_VOID(fields.status());
  return request;
}

}  // namespace hadal::api
