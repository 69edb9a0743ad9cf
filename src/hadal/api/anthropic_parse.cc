#include <fmt/format.h>

#include <array>
#include <boost/json.hpp>
#include <limits>
#include <utility>

#include "hadal/api/anthropic.h"
#include "hadal/api/openai_messages.h"
#include "hadal/base/limits.h"

namespace hadal::api {
namespace {

namespace json = boost::json;
using enum FieldUse;

constexpr int32_t kTokensMax = std::numeric_limits<int32_t>::max();

constexpr auto kRequest = std::to_array<FieldRule>({
    {"model", kHonoured, "must be a served name"},
    {"messages", kHonoured, "text, tool_use, tool_result and thinking blocks"},
    {"system", kHonoured, "string or text blocks"},
    {"max_tokens", kHonoured, "clamped to the context"},
    {"stop_sequences", kHonoured, ""},
    {"stream", kHonoured, ""},
    {"temperature", kHonoured, "0 to 2"},
    {"top_p", kHonoured, ""},
    {"top_k", kHonoured, ""},
    {"tools", kHonoured, "functions; no tools that run at the server"},
    {"tool_choice", kHonoured, "auto, any, tool, none; disable_parallel_tool_use"},
    {"thinking", kHonoured, "enabled with budget_tokens, adaptive, disabled; absent: disabled"},
    {"output_config", kHonoured, "effort"},
    {"metadata", kHonoured, "user_id: prefixes are shared only within one"},
    {"service_tier", kHonoured, "auto and standard_only are one tier"},
    {"cache_control", kIgnored, "every prefix is cached"},
    {"inference_geo", kIgnored, "it runs here"},
    {"container", kRefused, "this server runs no code"},
    {"mcp_servers", kRefused, "this server calls no other"},
    {"context_management", kRefused, "send the messages that the model is to see"},
});

// Reads every element of `list` as an object.
template <class Read>
void each_object(Fields& outer, std::string_view name, const json::array& list, const Read& read) {
  for (size_t i = 0; i < list.size() && outer.ok(); ++i) {
    const std::string element = fmt::format("{}[{}]", name, i);
    if (!list[i].is_object()) return outer.wrong(element, list[i], "object");
    Fields fields(list[i].get_object(), outer.path(element) + ".");
    read(fields);
    if (auto status = fields.status(); !status) outer.fault(status.error());
  }
}

// A string, or blocks of type text.
void parse_text_blocks(Fields& fields, std::string_view name, std::string* target) {
  const json::value* value = fields.find(name);
  if (value == nullptr) return;
  if (value->is_string()) {
    target->assign(value->get_string().data(), value->get_string().size());
    return;
  }
  if (!value->is_array()) return fields.wrong(name, *value, "string or array of text blocks");
  each_object(fields, name, value->get_array(), [&](Fields& block) {
    std::string type, text;
    block.require("type", "\"text\"");
    block.text("type", 64, &type);
    if (block.ok() && type != "text") {
      block.fault({Code::kUnsupported,
                   fmt::format("{}: blocks of type '{}' are not supported here, only text",
                               block.path("type"), type),
                   block.path("type")});
    }
    block.require("text", "a string");
    block.text("text", limits::kBodyBytesMax, &text);
    *target += (target->empty() ? "" : "\n") + text;
  });
}

void parse_tool_use(Fields& block, Message* message) {
  ToolCall& call = message->tool_calls.emplace_back();
  block.require("id", "the call's id");
  block.text("id", 256, &call.id);
  block.require("name", "the tool's name");
  block.text("name", limits::kBodyBytesMax, &call.name);
  if (block.ok() && !is_tool_name(call.name)) {
    block.fault("name",
                fmt::format("expected 1 to {} letters, digits and \"_-.:/\"", kToolNameMax));
  }
  const json::value* input = block.find("input");
  if (input != nullptr && !input->is_object()) return block.wrong("input", *input, "object");
  call.arguments = input == nullptr ? "{}" : json::serialize(*input);
}

// One block of a message's content. Results of tools are messages of their own, before the text
// that came with them.
void parse_block(Fields& block, Message* message, std::vector<Message>* results) {
  const bool assistant = message->role == "assistant";
  std::string type;
  block.require("type", "a block's type");
  block.text("type", 64, &type);
  if (!block.ok()) return;
  if (type == "text") {
    std::string text;
    block.require("text", "a string");
    block.text("text", limits::kBodyBytesMax, &text);
    message->content += text;
  } else if (type == "thinking" && assistant) {
    std::string text;
    block.text("thinking", limits::kBodyBytesMax, &text);
    message->reasoning += text;
  } else if (type == "tool_use" && assistant) {
    parse_tool_use(block, message);
  } else if (type == "tool_result" && !assistant) {
    Message& result = results->emplace_back();
    result.role = "tool";
    block.require("tool_use_id", "the id of the call that this answers");
    block.text("tool_use_id", 256, &result.tool_call_id);
    parse_text_blocks(block, "content", &result.content);
    bool is_error = false;
    block.boolean("is_error", &is_error);
    if (is_error) result.content = "Error: " + result.content;
  } else if (type != "redacted_thinking" || !assistant) {
    block.fault({Code::kUnsupported,
                 fmt::format("{}: blocks of type '{}' are not supported in the role {}",
                             block.path("type"), type, message->role),
                 block.path("type")});
  }
}

void parse_message(Fields& fields, std::vector<Message>* target) {
  static constexpr auto kMessage = std::to_array<FieldRule>({
      {"role", kHonoured, ""},
      {"content", kHonoured, ""},
      {"cache_control", kIgnored, "every prefix is cached"},
  });
  Message message;
  fields.require("role", "user or assistant");
  fields.require("content", "a string or an array of blocks");
  fields.text("role", 64, &message.role);
  if (fields.ok() && message.role != "user" && message.role != "assistant" &&
      message.role != "system") {
    fields.fault("role", fmt::format("found '{}', expected user or assistant", message.role));
  }
  fields.allow(kMessage);
  if (!fields.ok()) return;
  const json::value& content = *fields.find("content");
  std::vector<Message> results;
  if (content.is_array()) {
    each_object(fields, "content", content.get_array(),
                [&](Fields& block) { parse_block(block, &message, &results); });
  } else {
    fields.text("content", limits::kBodyBytesMax, &message.content);
  }
  const bool only_results = !results.empty() && message.content.empty();
  for (Message& result : results) target->push_back(std::move(result));
  if (!only_results) target->push_back(std::move(message));
}

void parse_all_messages(Fields& fields, ChatRequest* request) {
  std::string system;
  parse_text_blocks(fields, "system", &system);
  if (!system.empty()) request->messages.push_back({"system", system});
  fields.require("messages", "an array of messages");
  const json::value* value = fields.find("messages");
  if (value == nullptr || !fields.ok()) return;
  if (!value->is_array() || value->get_array().empty() ||
      value->get_array().size() > limits::kMessagesMax) {
    return fields.wrong("messages", *value,
                        fmt::format("array of 1 to {} messages", limits::kMessagesMax));
  }
  each_object(fields, "messages", value->get_array(),
              [&](Fields& message) { parse_message(message, &request->messages); });
  if (!fields.ok()) return;
  // An answer that has begun is gone on with; a call in it must be answered first.
  Message& last = request->messages.back();
  if (last.role == "assistant" && !last.tool_calls.empty()) {
    return fields.fault("messages", "the last tool_use has no tool_result");
  }
  last.prefix = last.role == "assistant";
  check_conversation(fields, &request->messages);
}

void parse_tool(Fields& fields, std::vector<Tool>* target) {
  std::string type = "custom";
  std::string description;
  Tool& tool = target->emplace_back();
  fields.text("type", 64, &type);
  if (type != "custom") {
    return fields.fault({Code::kUnsupported,
                         fmt::format("{}: '{}' runs at its vendor's server and not here",
                                     fields.path("type"), type),
                         fields.path("type")});
  }
  fields.require("name", "the tool's name");
  fields.text("name", limits::kBodyBytesMax, &tool.name);
  fields.text("description", limits::kBodyBytesMax, &description);
  if (fields.ok() && !is_tool_name(tool.name)) {
    fields.fault("name",
                 fmt::format("expected 1 to {} letters, digits and \"_-.:/\"", kToolNameMax));
  }
  const json::value* schema = fields.find("input_schema");
  if (schema != nullptr && !schema->is_object()) {
    return fields.wrong("input_schema", *schema, "a JSON schema, an object");
  }
  json::object function;
  function["name"] = tool.name;
  if (!description.empty()) function["description"] = description;
  function["parameters"] =
      schema != nullptr ? *schema : json::value(json::object{{"type", "object"}});
  json::object root;
  root["type"] = "function";
  root["function"] = std::move(function);
  tool.definition = json::serialize(root);
}

void parse_choice(Fields& fields, ChatRequest* request) {
  const json::value* value = fields.find("tool_choice");
  if (value == nullptr) return;
  if (!value->is_object()) return fields.wrong("tool_choice", *value, "object with a type");
  Fields choice(value->get_object(), "tool_choice.");
  std::string type;
  bool single = false;
  choice.require("type", "auto, any, tool or none");
  choice.text("type", 32, &type);
  choice.text("name", 256, &request->tool_choice.name);
  choice.boolean("disable_parallel_tool_use", &single);
  request->parallel_tool_calls = !single;
  using Kind = ToolChoice::Kind;
  if (type == "any") request->tool_choice.kind = Kind::kRequired;
  if (type == "tool") request->tool_choice.kind = Kind::kNamed;
  if (type == "none") request->tool_choice.kind = Kind::kNone;
  if (choice.ok() && type != "auto" && type != "any" && type != "tool" && type != "none") {
    choice.fault("type", fmt::format("found '{}', expected auto, any, tool or none", type));
  }
  bool known = type != "tool";
  for (const Tool& tool : request->tools) known |= tool.name == request->tool_choice.name;
  if (choice.ok() && (!known || (type == "any" && request->tools.empty()))) {
    choice.fault("name", "asks for a call of a tool that is not in tools");
  }
  if (auto status = choice.status(); !status) fields.fault(status.error());
}

void parse_metadata(Fields& fields, ChatRequest* request) {
  const json::value* value = fields.find("metadata");
  if (value == nullptr) return;
  if (!value->is_object()) return fields.wrong("metadata", *value, "object");
  Fields metadata(value->get_object(), "metadata.");
  metadata.text("user_id", 1'024, &request->cache_scope);
  if (auto status = metadata.status(); !status) fields.fault(status.error());
}

void parse_thinking_and_effort(Fields& fields, ChatRequest* request) {
  ThinkingWish wish;
  wish.thinking = false;
  parse_thinking(fields, &wish);
  request->thinking = wish.thinking;
  request->thinking_budget = wish.budget;
  request->include_reasoning = wish.thinking.value_or(false);
  const json::value* value = fields.find("output_config");
  if (value == nullptr) return;
  if (!value->is_object()) return fields.wrong("output_config", *value, "object");
  Fields config(value->get_object(), "output_config.");
  static constexpr auto kConfig = std::to_array<FieldRule>({
      {"effort", kHonoured, ""},
      {"format", kRefused, "answers are not held to a schema"},
  });
  config.allow(kConfig);
  std::string effort;
  config.text("effort", 32, &effort);
  request->effort = known_effort(effort);
  if (config.ok() && !effort.empty() && request->effort.empty()) {
    config.fault("effort", fmt::format("found '{}', expected low, medium, high or max", effort));
  }
  if (auto status = config.status(); !status) fields.fault(status.error());
}

}  // namespace

std::span<const FieldRule> messages_fields() { return kRequest; }

Parsed<ChatRequest> parse_messages_request(std::string_view body, bool counting) {
  HADAL_TRY(const Document document, Document::parse(body));
  Fields fields(document.root());
  ChatRequest request;
  fields.allow(kRequest);
  fields.text("model", 1'024, &request.model);
  parse_all_messages(fields, &request);
  if (!counting) fields.require("max_tokens", "the most tokens of the answer");
  Sampling& sampling = request.sampling;
  fields.integer("max_tokens", 1, kTokensMax, &sampling.max_tokens);
  fields.texts("stop_sequences", limits::kStopStringsMax, limits::kStopStringBytesMax,
               &sampling.stop);
  fields.number("temperature", 0, 2, &sampling.temperature);
  fields.number("top_p", 0, 1, &sampling.top_p, true);
  fields.integer("top_k", -1, kTokensMax, &sampling.top_k);
  fields.boolean("stream", &request.stream);
  if (const json::value* tools = fields.find("tools")) {
    if (!tools->is_array() || tools->get_array().size() > kToolsMax) {
      fields.wrong("tools", *tools, fmt::format("array of at most {} tools", kToolsMax));
    } else {
      each_object(fields, "tools", tools->get_array(),
                  [&](Fields& tool) { parse_tool(tool, &request.tools); });
    }
  }
  parse_choice(fields, &request);
  parse_metadata(fields, &request);
  parse_thinking_and_effort(fields, &request);
  const auto kind = request.tool_choice.kind;
  const bool must = kind == ToolChoice::Kind::kRequired || kind == ToolChoice::Kind::kNamed;
  if (must && !request.messages.empty() && request.messages.back().prefix) {
    fields.fault("tool_choice", "a call cannot be forced where the last message is gone on with");
  }
  HADAL_TRY_VOID(fields.status());
  return request;
}

}  // namespace hadal::api
