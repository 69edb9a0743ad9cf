#include <fmt/format.h>

#include <array>
#include <boost/json.hpp>
#include <utility>

#include "hadal/api/anthropic.h"
#include "hadal/api/openai_messages.h"
#include "hadal/api/openai_tables.h"
#include "hadal/base/limits.h"

namespace hadal::api {
namespace table {
namespace {

constexpr auto kBlockRules = std::to_array<FieldRule>({
    {"type", kHonoured, "of a user: text and tool_result; of an assistant: the others",
     shape::word("text|thinking|redacted_thinking|tool_use|tool_result")},
    {"text", kHonoured, "of text", shape::text(kTextBytesMax)},
    {"thinking", kHonoured, "of thinking", shape::text(kTextBytesMax)},
    {"id", kHonoured, "of tool_use", shape::text(kIdBytesMax)},
    {"name", kHonoured, "of tool_use", kToolName},
    {"input", kHonoured, "of tool_use", shape::other(R"({"type": "object"})", "object")},
    {"tool_use_id", kHonoured, "of tool_result: the call that it answers",
     shape::text(kIdBytesMax)},
    {"content", kHonoured, "of tool_result", shape::text_or_objects(kPart, 0, kPartsMax)},
    {"is_error", kHonoured, "of tool_result", shape::boolean().otherwise("false")},
});
constexpr FieldTable kBlock = {"ContentBlock", kBlockRules, "type", true};

constexpr auto kTurnRules = std::to_array<FieldRule>({
    {"role", kHonoured, "", shape::word("user|assistant|system")},
    {"content", kHonoured, "an assistant's at the end is gone on with",
     shape::text_or_objects(kBlock, 0, kPartsMax)},
    {"cache_control", kIgnored, "every prefix is cached"},
});
constexpr FieldTable kTurn = {"MessagesTurn", kTurnRules, "role|content"};

constexpr auto kFlatToolRules = std::to_array<FieldRule>({
    {"type", kHonoured, "", shape::word("custom").otherwise("\"custom\"")},
    {"name", kHonoured, "", kToolName},
    {"description", kHonoured, "", shape::text(kTextBytesMax)},
    {"input_schema", kHonoured, "", kSchema},
    {"strict", kRefused, kStrictNote},
});
constexpr FieldTable kFlatTool = {"MessagesTool", kFlatToolRules, "name", true};

constexpr auto kChoiceRules = std::to_array<FieldRule>({
    {"type", kHonoured, "", shape::word("auto|any|tool|none")},
    {"name", kHonoured, "of type tool", kToolName},
    {"disable_parallel_tool_use", kHonoured, "true: the answer ends with its first call",
     shape::boolean().otherwise("false")},
});
constexpr FieldTable kChoice = {"MessagesToolChoice", kChoiceRules, "type", true};

constexpr auto kMetadataRules = std::to_array<FieldRule>({
    {"user_id", kHonoured, "prefixes are shared only within one", shape::text(kLabelBytesMax)},
});
constexpr FieldTable kMetadata = {"MessagesMetadata", kMetadataRules, {}, true};

constexpr auto kOutputConfigRules = std::to_array<FieldRule>({
    {"effort", kHonoured, "as reasoning_effort", kEffort},
    {"format", kRefused, "answers are not held to a schema"},
});
constexpr FieldTable kOutputConfig = {"OutputConfig", kOutputConfigRules};

constexpr auto kMessagesRules = std::to_array<FieldRule>({
    {"model", kHonoured, "a served name; absent: the first", shape::text(kLabelBytesMax)},
    {"messages", kHonoured, "", shape::objects(kTurn, 1, limits::kMessagesMax)},
    {"system", kHonoured, "", shape::text_or_objects(kPart, 0, kPartsMax)},
    {"max_tokens", kHonoured, "clamped to the context", shape::integer(1, kTokensMax)},
    {"stop_sequences", kHonoured, "",
     shape::texts(limits::kStopStringsMax, limits::kStopStringBytesMax)},
    {"stream", kHonoured, "", shape::boolean().otherwise("false")},
    {"temperature", kHonoured, "absent: the model's own", shape::number(0, 2)},
    {"top_p", kHonoured, "absent: the model's own", shape::above(0, 1)},
    {"top_k", kHonoured, "-1 and 0: off", shape::integer(-1, kTokensMax)},
    {"tools", kHonoured, "functions; no tools that run at the server",
     shape::objects(kFlatTool, 0, kToolsMax)},
    {"tool_choice", kHonoured, "", shape::object(kChoice)},
    {"thinking", kHonoured, "absent: none where the model can, else none is shown",
     shape::object(kThinking)},
    {"output_config", kHonoured, "", shape::object(kOutputConfig)},
    {"metadata", kHonoured, "", shape::object(kMetadata)},
    {"service_tier", kHonoured, "one tier", shape::word("auto|standard_only")},
    {"cache_control", kIgnored, "every prefix is cached"},
    {"inference_geo", kIgnored, "it runs here"},
    {"container", kRefused, "this server runs no code"},
    {"mcp_servers", kRefused, "this server calls no other"},
    {"context_management", kRefused, "send the messages that the model is to see"},
});
constexpr FieldTable kMessages = {"MessagesRequest", kMessagesRules, "messages|max_tokens"};
constexpr FieldTable kCount = {"CountTokensRequest", kMessagesRules, "messages"};

}  // namespace
}  // namespace table

namespace {

namespace json = boost::json;

void parse_tool_use(Fields& block, Message* message) {
  ToolCall& call = message->tool_calls.emplace_back();
  block.require("id");
  block.text("id", &call.id);
  block.require("name");
  parse_function_name(block, &call.name);
  const json::value* input = block.find("input");
  if (input != nullptr && !input->is_object()) return block.wrong("input", *input);
  call.arguments = input == nullptr ? "{}" : json::serialize(*input);
}

// One block of a message's content. Results of tools are messages of their own, before the text
// that came with them.
void parse_block(Fields& block, Message* message, std::vector<Message>* results) {
  const bool assistant = message->role == "assistant";
  std::string type;
  block.text("type", &type);
  if (!block.complete()) return;
  if (type == "text") {
    std::string text;
    block.require("text");
    block.text("text", &text);
    message->content += text;
  } else if (type == "thinking" && assistant) {
    std::string text;
    block.text("thinking", &text);
    message->reasoning += text;
  } else if (type == "tool_use" && assistant) {
    parse_tool_use(block, message);
  } else if (type == "tool_result" && !assistant) {
    Message& result = results->emplace_back();
    result.role = "tool";
    block.require("tool_use_id");
    block.text("tool_use_id", &result.tool_call_id);
    parse_text_parts(block, "content", "\n", &result.content);
    bool is_error = false;
    block.boolean("is_error", &is_error);
    if (is_error) result.content = "Error: " + result.content;
  } else if (type != "redacted_thinking" || !assistant) {
    block.unsupported("type", fmt::format("blocks of type '{}' are not supported in the role {}",
                                          type, message->role));
  }
}

void parse_turn(Fields& fields, std::vector<Message>* target) {
  Message message;
  fields.word("role", &message.role);
  if (!fields.complete()) return;
  std::vector<Message> results;
  if (fields.find("content")->is_string()) {
    fields.text("content", &message.content);
  } else {
    fields.objects("content", [&](Fields& block) { parse_block(block, &message, &results); });
  }
  const bool only_results = !results.empty() && message.content.empty();
  for (Message& result : results) target->push_back(std::move(result));
  if (!only_results) target->push_back(std::move(message));
}

void parse_all_messages(Fields& fields, ChatRequest* request) {
  std::string system;
  parse_text_parts(fields, "system", "\n", &system);
  if (!system.empty()) request->messages.push_back({"system", system});
  fields.objects("messages", [&](Fields& turn) { parse_turn(turn, &request->messages); });
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
  fields.text("type", &type);
  if (type != "custom") {
    return fields.unsupported("type",
                              fmt::format("'{}' runs at its vendor's server and not here", type));
  }
  parse_flat_tool(fields, "input_schema", target);
}

void parse_choice(Fields& fields, ChatRequest* request) {
  using Kind = ToolChoice::Kind;
  ToolChoice* target = &request->tool_choice;
  fields.object("tool_choice", [&](Fields& choice) {
    std::string type;
    bool single = false;
    choice.word("type", &type);
    if (type == "tool") choice.require("name");
    parse_function_name(choice, &target->name);
    choice.boolean("disable_parallel_tool_use", &single);
    request->parallel_tool_calls = !single;
    if (type == "any") target->kind = Kind::kRequired;
    if (type == "tool") target->kind = Kind::kNamed;
    if (type == "none") target->kind = Kind::kNone;
  });
  check_tool_choice(fields, request->tools, *target);
}

void parse_thinking_and_effort(Fields& fields, ChatRequest* request) {
  ThinkingWish wish;
  parse_thinking(fields, &wish);
  request->thinking = wish.thinking;
  request->thinks_unasked = false;
  request->thinking_budget = wish.budget;
  request->include_reasoning = wish.thinking.value_or(false);
  fields.object("output_config", [&](Fields& config) { parse_effort(config, "effort", &wish); });
  request->effort = std::move(wish.effort);
}

}  // namespace

const FieldTable& messages_fields() { return table::kMessages; }
const FieldTable& count_tokens_fields() { return table::kCount; }

Parsed<ChatRequest> parse_messages_request(std::string_view body, bool counting) {
  HADAL_TRY(const Document document, Document::parse(body));
  Fields fields(document.root(), counting ? count_tokens_fields() : messages_fields());
  ChatRequest request;
  HADAL_TRY_VOID(fields.status());
  fields.text("model", &request.model);
  parse_all_messages(fields, &request);
  Sampling& sampling = request.sampling;
  fields.integer("max_tokens", &sampling.max_tokens);
  fields.texts("stop_sequences", &sampling.stop);
  fields.number("temperature", &sampling.temperature);
  fields.number("top_p", &sampling.top_p);
  fields.integer("top_k", &sampling.top_k);
  fields.boolean("stream", &request.stream);
  std::string tier;
  fields.word("service_tier", &tier);
  fields.objects("tools", [&](Fields& tool) { parse_tool(tool, &request.tools); });
  parse_choice(fields, &request);
  fields.object("metadata",
                [&](Fields& metadata) { metadata.text("user_id", &request.cache_scope); });
  parse_thinking_and_effort(fields, &request);
  check_forms(fields, "output_config", request);
  HADAL_TRY_VOID(fields.status());
  return request;
}

}  // namespace hadal::api
