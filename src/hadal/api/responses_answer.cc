#include <fmt/format.h>

#include <boost/json.hpp>
#include <utility>

#include "hadal/api/answer_json.h"
#include "hadal/api/responses.h"
#include "hadal/api/sealed.h"
#include "hadal/api/utf8.h"

namespace hadal::api {
namespace {

namespace json = boost::json;

json::object usage_object(const AnswerUsage& usage) {
  return {
      {"input_tokens", usage.prompt_tokens},
      {"input_tokens_details", {{"cached_tokens", usage.cached_tokens}, {"cache_write_tokens", 0}}},
      {"output_tokens", usage.completion_tokens},
      {"output_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}},
      {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
}

std::string_view error_code(const ApiError& error) {
  const int status = http_status(error.code);
  return status == 429 ? "rate_limit_exceeded" : status < 500 ? "invalid_prompt" : "server_error";
}

// Whole answers are the last event of their stream: one course of events makes both.
class ResponsesForm final : public AnswerForm {
 public:
  ResponsesForm(AnswerInfo info, ResponsesEcho echo)
      : info_(std::move(info)), echo_(std::move(echo)) {}

  std::string whole(std::span<const AnswerChoice> choices, const AnswerUsage& usage) override {
    take(choices.front());
    return json::serialize(response(usage_object(usage)));
  }

  std::string stream_begin(std::span<const AnswerChoice>) override {
    emit("response.created", {{"response", response(nullptr)}});
    emit("response.in_progress", {{"response", response(nullptr)}});
    return std::exchange(out_, {});
  }
  std::string stream_delta(const AnswerChoice& delta) override {
    take(delta);
    return std::exchange(out_, {});
  }
  std::string stream_end(const AnswerUsage& usage) override {
    emit("response." + status_, {{"response", response(usage_object(usage))}});
    return std::exchange(out_, {});
  }
  std::string stream_error(const ApiError& error) override {
    status_ = "failed";
    error_ = {{"code", error_code(error)}, {"message", valid_utf8(error.message)}};
    emit("response.failed", {{"response", response(nullptr)}});
    return std::exchange(out_, {});
  }

 private:
  enum class Item : uint8_t { kNone, kReasoning, kMessage, kCall };

  void emit(std::string_view type, json::object fields) {
    json::object root;
    root["type"] = type;
    root["sequence_number"] = sequence_++;
    for (auto& field : fields) root[field.key()] = std::move(field.value());
    out_ += fmt::format("event: {}\ndata: {}\n\n", type, json::serialize(root));
  }
  // An event of the open item; `part`: of its only part.
  void emit_of_item(std::string_view type, bool part, json::object fields) {
    json::object root;
    root["item_id"] = id_;
    root["output_index"] = items_.size();
    if (part) root["content_index"] = 0;
    for (auto& field : fields) root[field.key()] = std::move(field.value());
    emit(type, std::move(root));
  }

  json::object response(json::value usage) const {
    json::object root;
    root["id"] = info_.id;
    root["object"] = "response";
    root["created_at"] = info_.created;
    root["status"] = status_;
    root["background"] = false;
    root["error"] = error_;
    root["incomplete_details"] = nullptr;
    if (status_ == "incomplete") root["incomplete_details"] = {{"reason", "max_output_tokens"}};
    root["model"] = info_.model;
    root["output"] = items_;
    root["previous_response_id"] = nullptr;
    root["service_tier"] = info_.service_tier.empty() ? "default" : info_.service_tier;
    root["store"] = false;
    root["usage"] = std::move(usage);
    json::error_code ec;
    const json::value echo = json::parse(echo_.fields, ec);
    if (!ec && echo.is_object()) {
      for (const auto& field : echo.get_object()) root[field.key()] = field.value();
    }
    return root;
  }

  json::object part() const {
    if (item_ == Item::kReasoning) return {{"type", "reasoning_text"}, {"text", text_}};
    return {{"type", "output_text"},
            {"text", text_},
            {"annotations", json::array()},
            {"logprobs", scores_}};
  }
  json::object item(std::string_view status) const {
    const bool begun = status == "in_progress";
    json::object root;
    root["id"] = id_;
    if (item_ == Item::kReasoning) {
      root["type"] = "reasoning";
      root["summary"] = json::array();
      root["content"] = begun ? json::array() : json::array{part()};
      root["encrypted_content"] = nullptr;
      if (echo_.sealed_reasoning && !begun) root["encrypted_content"] = seal(text_);
    } else if (item_ == Item::kMessage) {
      root["type"] = "message";
      root["role"] = "assistant";
      root["content"] = begun ? json::array() : json::array{part()};
    } else {
      root["type"] = "function_call";
      root["call_id"] = call_.id;
      root["name"] = call_.name;
      root["arguments"] = text_;
    }
    root["status"] = status;
    return root;
  }

  void begin_item(Item kind) {
    end_item("completed");
    item_ = kind;
    const std::string_view tail = std::string_view(info_.id).substr(info_.id.find('_') + 1);
    const std::string_view prefix = kind == Item::kReasoning ? "rs"
                                    : kind == Item::kMessage ? "msg"
                                                             : "fc";
    id_ = fmt::format("{}_{}_{}", prefix, tail, items_.size());
    emit("response.output_item.added",
         {{"output_index", items_.size()}, {"item", item("in_progress")}});
    if (kind != Item::kCall) emit_of_item("response.content_part.added", true, {{"part", part()}});
  }
  void end_item(std::string_view status) {
    switch (item_) {
      case Item::kNone:
        return;
      case Item::kReasoning:
        emit_of_item("response.reasoning_text.done", true, {{"text", text_}});
        break;
      case Item::kMessage:
        emit_of_item("response.output_text.done", true, {{"text", text_}, {"logprobs", scores_}});
        break;
      case Item::kCall:
        emit_of_item("response.function_call_arguments.done", false,
                     {{"name", call_.name}, {"arguments", text_}});
        break;
    }
    if (item_ != Item::kCall) {
      emit_of_item("response.content_part.done", true, {{"part", part()}});
    }
    json::object ended = item(status);
    emit("response.output_item.done", {{"output_index", items_.size()}, {"item", ended}});
    items_.push_back(std::move(ended));
    item_ = Item::kNone;
    text_.clear();
    scores_.clear();
  }

  void take(const AnswerChoice& choice) {
    json::array scores = scores_array(choice.logprobs);
    late_scores_.insert(late_scores_.end(), scores.begin(), scores.end());
    in_order(
        choice, [&](std::string_view text) { take_reasoning(text); },
        [&](std::string_view text) { take_content(text); },
        [&](const AnswerCall& call) { take_call(call); });
    if (!choice.finish_reason.empty()) finish(choice.finish_reason == "length");
  }
  void take_reasoning(std::string_view text) {
    if (item_ != Item::kReasoning) begin_item(Item::kReasoning);
    text_ += text;
    emit_of_item("response.reasoning_text.delta", true, {{"delta", text}});
  }
  void take_content(std::string_view text) {
    if (item_ != Item::kMessage) begin_item(Item::kMessage);
    text_ += text;
    json::array scores = std::exchange(late_scores_, {});
    scores_.insert(scores_.end(), scores.begin(), scores.end());
    emit_of_item("response.output_text.delta", true,
                 {{"delta", text}, {"logprobs", std::move(scores)}});
  }
  void take_call(const AnswerCall& call) {
    if (!call.id.empty()) {
      end_item("completed");
      call_ = call;
      begin_item(Item::kCall);
    }
    if (call.arguments.empty()) return;
    text_ += call.arguments;
    emit_of_item("response.function_call_arguments.delta", false, {{"delta", call.arguments}});
  }
  // A turn that is complete has a message or a call, if only an empty one.
  void finish(bool cut) {
    const bool thought = item_ == Item::kReasoning || items_.empty();
    if (!cut && item_ != Item::kMessage && item_ != Item::kCall && thought) {
      begin_item(Item::kMessage);
    }
    if (item_ == Item::kMessage) {
      scores_.insert(scores_.end(), late_scores_.begin(), late_scores_.end());
    }
    status_ = cut ? "incomplete" : "completed";
    end_item(status_);
  }

  const AnswerInfo info_;
  const ResponsesEcho echo_;
  std::string out_;
  int64_t sequence_ = 0;
  std::string status_ = "in_progress";
  json::value error_ = nullptr;
  json::array items_;  // that have ended
  // The open one.
  Item item_ = Item::kNone;
  std::string id_;
  std::string text_;  // or a call's arguments
  json::array scores_;
  json::array late_scores_;  // of tokens whose text is still to come
  AnswerCall call_;
};

}  // namespace

std::unique_ptr<AnswerForm> responses_form(AnswerInfo info, ResponsesEcho echo) {
  return std::make_unique<ResponsesForm>(std::move(info), std::move(echo));
}

}  // namespace hadal::api
