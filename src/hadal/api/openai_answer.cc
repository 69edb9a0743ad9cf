#include "hadal/api/openai_answer.h"

#include <boost/json.hpp>

#include "hadal/api/answer_json.h"
#include "hadal/api/utf8.h"

namespace hadal::api {
namespace {

namespace json = boost::json;

json::value text_or_null(std::string_view text) {
  return text.empty() ? json::value(nullptr) : json::value(text);
}

json::object envelope(const AnswerInfo& info, std::string_view object) {
  json::object root;
  root["id"] = info.id;
  root["object"] = object;
  root["created"] = info.created;
  root["model"] = info.model;
  root["system_fingerprint"] = info.fingerprint;
  if (!info.service_tier.empty()) root["service_tier"] = info.service_tier;
  return root;
}

json::object usage_object(const AnswerUsage& usage) {
  json::object root;
  root["prompt_tokens"] = usage.prompt_tokens;
  root["completion_tokens"] = usage.completion_tokens;
  root["total_tokens"] = usage.prompt_tokens + usage.completion_tokens;
  root["prompt_tokens_details"] = {{"cached_tokens", usage.cached_tokens}};
  root["prompt_cache_hit_tokens"] = usage.cached_tokens;
  root["prompt_cache_miss_tokens"] = usage.prompt_tokens - usage.cached_tokens;
  root["completion_tokens_details"] = {{"reasoning_tokens", usage.reasoning_tokens}};
  return root;
}

json::value chat_logprobs(const AnswerChoice& choice) {
  if (!choice.has_logprobs) return nullptr;
  json::object root;
  root["content"] = scores_array(choice.logprobs);
  root["refusal"] = nullptr;
  return root;
}

json::value completion_logprobs(const AnswerChoice& choice) {
  if (!choice.has_logprobs) return nullptr;
  json::array tokens, scores, tops, offsets;
  size_t offset = choice.text_offset;
  for (const TokenScores& entry : choice.logprobs) {
    tokens.push_back(json::value(valid_utf8(entry.chosen.bytes)));
    offsets.push_back(offset);
    offset += characters(entry.chosen.bytes);
    if (!entry.scored) {
      scores.push_back(nullptr);
      tops.push_back(nullptr);
      continue;
    }
    scores.push_back(finite(entry.chosen.logprob));
    json::object top;
    for (const TokenScore& other : entry.top) {
      top.emplace(valid_utf8(other.bytes), finite(other.logprob));  // of equal texts the better
    }
    tops.push_back(std::move(top));
  }
  json::object root;
  root["tokens"] = std::move(tokens);
  root["token_logprobs"] = std::move(scores);
  root["top_logprobs"] = std::move(tops);
  root["text_offset"] = std::move(offsets);
  return root;
}

// Of a stream with the index, by which pieces are put together.
json::array calls_array(const std::vector<AnswerCall>& calls, bool stream) {
  json::array list;
  for (const AnswerCall& call : calls) {
    json::object entry, function;
    if (stream) entry["index"] = call.index;
    if (!call.id.empty()) {
      entry["id"] = call.id;
      entry["type"] = "function";
      function["name"] = call.name;
    }
    function["arguments"] = call.arguments;
    entry["function"] = std::move(function);
    list.push_back(std::move(entry));
  }
  return list;
}

json::object choice_object(const AnswerChoice& choice) {
  json::object root;
  root["index"] = choice.index;
  root["finish_reason"] = text_or_null(choice.finish_reason);
  root["stop_reason"] = text_or_null(choice.stop_reason);
  return root;
}

}  // namespace

std::string chat_answer(const AnswerInfo& info, std::span<const AnswerChoice> choices,
                        const AnswerUsage& usage) {
  json::object root = envelope(info, "chat.completion");
  json::array list;
  for (const AnswerChoice& choice : choices) {
    json::object message;
    message["role"] = "assistant";
    message["content"] = choice.content;
    if (choice.has_reasoning) message["reasoning_content"] = choice.reasoning;
    if (!choice.calls.empty()) {
      if (choice.content.empty()) message["content"] = nullptr;
      message["tool_calls"] = calls_array(choice.calls, false);
    }
    json::object entry = choice_object(choice);
    entry["message"] = std::move(message);
    entry["logprobs"] = chat_logprobs(choice);
    list.push_back(std::move(entry));
  }
  root["choices"] = std::move(list);
  root["usage"] = usage_object(usage);
  return json::serialize(root);
}

std::string chat_chunk(const AnswerInfo& info, const AnswerChoice& delta, bool first,
                       bool include_usage) {
  json::object root = envelope(info, "chat.completion.chunk");
  json::object content;
  if (first) {
    content["role"] = "assistant";
    // As DeepSeek's own service opens a stream: the part that comes first is "".
    if (delta.has_reasoning) {
      content["content"] = nullptr;
      content["reasoning_content"] = "";
    } else {
      content["content"] = "";
    }
  } else {
    if (!delta.reasoning.empty()) content["reasoning_content"] = delta.reasoning;
    if (!delta.content.empty()) content["content"] = delta.content;
    if (!delta.calls.empty()) content["tool_calls"] = calls_array(delta.calls, true);
  }
  json::object entry = choice_object(delta);
  entry["delta"] = std::move(content);
  entry["logprobs"] = chat_logprobs(delta);
  root["choices"] = json::array{std::move(entry)};
  if (include_usage) root["usage"] = nullptr;
  return json::serialize(root);
}

std::string completion_answer(const AnswerInfo& info, std::span<const AnswerChoice> choices,
                              const AnswerUsage& usage) {
  json::object root = envelope(info, "text_completion");
  json::array list;
  for (const AnswerChoice& choice : choices) {
    json::object entry = choice_object(choice);
    entry["text"] = choice.content;
    entry["logprobs"] = completion_logprobs(choice);
    list.push_back(std::move(entry));
  }
  root["choices"] = std::move(list);
  root["usage"] = usage_object(usage);
  return json::serialize(root);
}

std::string completion_chunk(const AnswerInfo& info, const AnswerChoice& delta,
                             bool include_usage) {
  json::object root = envelope(info, "text_completion");
  json::object entry = choice_object(delta);
  entry["text"] = delta.content;
  entry["logprobs"] = completion_logprobs(delta);
  root["choices"] = json::array{std::move(entry)};
  if (include_usage) root["usage"] = nullptr;
  return json::serialize(root);
}

std::string usage_chunk(const AnswerInfo& info, bool chat, const AnswerUsage& usage) {
  json::object root = envelope(info, chat ? "chat.completion.chunk" : "text_completion");
  root["choices"] = json::array();
  root["usage"] = usage_object(usage);
  return json::serialize(root);
}

namespace {

std::string sse(std::string_view text) { return "data: " + std::string(text) + "\n\n"; }

class OpenAiForm final : public AnswerForm {
 public:
  OpenAiForm(AnswerInfo info, bool chat, bool include_usage)
      : info_(std::move(info)), chat_(chat), include_usage_(include_usage) {}

  std::string whole(std::span<const AnswerChoice> choices, const AnswerUsage& usage) override {
    return chat_ ? chat_answer(info_, choices, usage) : completion_answer(info_, choices, usage);
  }
  std::string stream_begin(std::span<const AnswerChoice> openings) override {
    std::string out;
    if (!chat_) return out;
    for (const AnswerChoice& opening : openings) {
      out += sse(chat_chunk(info_, opening, true, include_usage_));
    }
    return out;
  }
  std::string stream_delta(const AnswerChoice& delta) override {
    return sse(chat_ ? chat_chunk(info_, delta, false, include_usage_)
                     : completion_chunk(info_, delta, include_usage_));
  }
  std::string stream_end(const AnswerUsage& usage) override {
    return (include_usage_ ? sse(usage_chunk(info_, chat_, usage)) : std::string()) + sse("[DONE]");
  }
  std::string stream_error(const ApiError& error) override { return sse(error_json(error)); }

 private:
  const AnswerInfo info_;
  const bool chat_;
  const bool include_usage_;
};

}  // namespace

std::unique_ptr<AnswerForm> chat_form(AnswerInfo info, bool include_usage) {
  return std::make_unique<OpenAiForm>(std::move(info), true, include_usage);
}
std::unique_ptr<AnswerForm> completion_form(AnswerInfo info, bool include_usage) {
  return std::make_unique<OpenAiForm>(std::move(info), false, include_usage);
}

namespace {

json::object card_object(const ModelCard& model) {
  json::object root;
  root["id"] = model.id;
  root["object"] = "model";
  root["created"] = model.created;
  root["owned_by"] = "hadal";
  root["root"] = model.root;
  root["parent"] = nullptr;
  root["max_model_len"] = nullptr;
  if (model.context > 0) root["max_model_len"] = model.context;
  return root;
}

}  // namespace

std::string model_answer(const ModelCard& model) { return json::serialize(card_object(model)); }

std::string models_answer(std::span<const ModelCard> models) {
  json::array list;
  for (const ModelCard& model : models) list.push_back(card_object(model));
  json::object root;
  root["object"] = "list";
  root["data"] = std::move(list);
  return json::serialize(root);
}

std::string tokenize_answer(std::span<const int32_t> tokens, int32_t context,
                            const std::vector<std::string>* strings) {
  json::object root;
  root["count"] = tokens.size();
  root["max_model_len"] = context;
  root["tokens"] = json::array(tokens.begin(), tokens.end());
  root["token_strs"] = nullptr;
  if (strings != nullptr) {
    json::array list;
    for (const std::string& bytes : *strings) list.push_back(json::value(valid_utf8(bytes)));
    root["token_strs"] = std::move(list);
  }
  return json::serialize(root);
}

std::string detokenize_answer(std::string_view text) {
  json::object root;
  root["prompt"] = valid_utf8(text);
  return json::serialize(root);
}

}  // namespace hadal::api
