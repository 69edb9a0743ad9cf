#include <boost/json.hpp>
#include <utility>

#include "hadal/api/answer_json.h"
#include "hadal/api/anthropic.h"
#include "hadal/api/utf8.h"

namespace hadal::api {
namespace {

namespace json = boost::json;

json::object usage_object(const AnswerUsage& usage) {
  json::object root;
  root["input_tokens"] = usage.prompt_tokens - usage.cached_tokens;
  root["cache_creation_input_tokens"] = 0;
  root["cache_read_input_tokens"] = usage.cached_tokens;
  root["output_tokens"] = usage.completion_tokens;
  return root;
}

std::string_view stop_reason(const AnswerChoice& choice) {
  if (choice.finish_reason == "length") return "max_tokens";
  if (choice.finish_reason == "tool_calls") return "tool_use";
  return choice.stop_reason.empty() ? "end_turn" : "stop_sequence";
}

json::value stop_sequence(const AnswerChoice& choice) {
  return choice.stop_reason.empty() ? json::value(nullptr) : json::value(choice.stop_reason);
}

json::object text_block(std::string_view text) { return {{"type", "text"}, {"text", text}}; }
json::object thinking_block(std::string_view text) {
  return {{"type", "thinking"}, {"thinking", text}, {"signature", ""}};
}
json::object tool_block(const AnswerCall& call, json::value input) {
  return {{"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", std::move(input)}};
}

// The protocol has an object where models write text: what is none is kept under a name of its own.
json::value input_of(const AnswerCall& call) {
  json::error_code error;
  json::value input = json::parse(call.arguments, error);
  if (!error && input.is_object()) return input;
  return json::object{{"raw_arguments", call.arguments}};
}

class MessagesForm final : public AnswerForm {
 public:
  explicit MessagesForm(AnswerInfo info) : info_(std::move(info)) {}

  std::string whole(std::span<const AnswerChoice> choices, const AnswerUsage& usage) override {
    const AnswerChoice& choice = choices.front();
    json::object root = message();
    json::array content;
    in_order(
        choice, [&](std::string_view text) { content.push_back(thinking_block(text)); },
        [&](std::string_view text) { content.push_back(text_block(text)); },
        [&](const AnswerCall& call) { content.push_back(tool_block(call, input_of(call))); });
    root["content"] = std::move(content);
    root["stop_reason"] = stop_reason(choice);
    root["stop_sequence"] = stop_sequence(choice);
    root["usage"] = usage_object(usage);
    return json::serialize(root);
  }

  std::string stream_begin(std::span<const AnswerChoice>) override {
    json::object root = message();
    root["content"] = json::array();
    root["stop_reason"] = nullptr;
    root["stop_sequence"] = nullptr;
    AnswerUsage usage;
    usage.prompt_tokens = info_.prompt_tokens;
    root["usage"] = usage_object(usage);
    return event("message_start", {{"message", std::move(root)}});
  }

  std::string stream_delta(const AnswerChoice& delta) override {
    std::string out;
    in_order(
        delta,
        [&](std::string_view text) {
          out += in_block(Block::kThinking, thinking_block(""));
          out += piece({{"type", "thinking_delta"}, {"thinking", text}});
        },
        [&](std::string_view text) {
          out += in_block(Block::kText, text_block(""));
          out += piece({{"type", "text_delta"}, {"text", text}});
        },
        [&](const AnswerCall& call) { out += call_piece(call); });
    if (!delta.finish_reason.empty()) {
      out += end_block();
      ending_ = {{"stop_reason", stop_reason(delta)}, {"stop_sequence", stop_sequence(delta)}};
    }
    return out;
  }

  std::string stream_end(const AnswerUsage& usage) override {
    return event("message_delta", {{"delta", std::move(ending_)}, {"usage", usage_object(usage)}}) +
           event("message_stop", {});
  }
  std::string stream_error(const ApiError& error) override {
    return "event: error\ndata: " + messages_error(error) + "\n\n";
  }
  std::string error(const ApiError& error) override { return messages_error(error); }
  std::string keep_alive() const override { return "event: ping\ndata: {\"type\": \"ping\"}\n\n"; }

 private:
  enum class Block : uint8_t { kNone, kThinking, kText, kTool };

  json::object message() const {
    json::object root;
    root["id"] = info_.id;
    root["type"] = "message";
    root["role"] = "assistant";
    root["model"] = info_.model;
    return root;
  }

  static std::string event(std::string_view type, json::object fields) {
    json::object root;
    root["type"] = type;
    for (auto& field : fields) root[field.key()] = std::move(field.value());
    return "event: " + std::string(type) + "\ndata: " + json::serialize(root) + "\n\n";
  }
  std::string piece(json::object delta) const {
    return event("content_block_delta", {{"index", index_}, {"delta", std::move(delta)}});
  }
  std::string call_piece(const AnswerCall& call) {
    std::string out;
    if (!call.id.empty()) {
      out += end_block();
      out += in_block(Block::kTool, tool_block(call, json::object()));
    }
    if (call.arguments.empty()) return out;
    return out + piece({{"type", "input_json_delta"}, {"partial_json", call.arguments}});
  }
  std::string in_block(Block block, json::object start) {
    if (block_ == block) return {};
    std::string out = end_block();
    block_ = block;
    return out +
           event("content_block_start", {{"index", index_}, {"content_block", std::move(start)}});
  }
  std::string end_block() {
    if (block_ == Block::kNone) return {};
    block_ = Block::kNone;
    return event("content_block_stop", {{"index", index_++}});
  }

  const AnswerInfo info_;
  Block block_ = Block::kNone;
  int64_t index_ = 0;
  json::object ending_;
};

std::string_view error_kind(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    default:
      return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

}  // namespace

std::unique_ptr<AnswerForm> messages_form(AnswerInfo info) {
  return std::make_unique<MessagesForm>(std::move(info));
}

std::string messages_error(const ApiError& error) {
  json::object inner;
  inner["type"] = error_kind(http_status(error.code));
  inner["message"] = valid_utf8(error.message);
  json::object outer;
  outer["type"] = "error";
  outer["error"] = std::move(inner);
  return json::serialize(outer);
}

std::string count_answer(int64_t tokens) {
  return json::serialize(json::object{{"input_tokens", tokens}});
}

}  // namespace hadal::api
