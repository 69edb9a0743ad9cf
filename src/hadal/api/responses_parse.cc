#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <utility>

#include "hadal/api/openai_messages.h"
#include "hadal/api/openai_tables.h"
#include "hadal/api/responses.h"
#include "hadal/api/sealed.h"
#include "hadal/base/limits.h"

namespace hadal::api {
namespace table {
namespace {

constexpr auto kItemPartRules = std::to_array<FieldRule>({
    {"type", kHonoured, "reasoning_text: of reasoning",
     shape::word("input_text|output_text|text|reasoning_text")},
    {"text", kHonoured, "", shape::text(kTextBytesMax)},
});
constexpr FieldTable kItemPart = {"ItemPart", kItemPartRules, "text", true};

constexpr auto kItemRules = std::to_array<FieldRule>({
    {"type", kHonoured, "",
     shape::word("message|reasoning|function_call|function_call_output").otherwise("\"message\"")},
    {"role", kHonoured, "of message; developer: as system",
     shape::word("user|assistant|system|developer")},
    {"content", kHonoured, "of message: text only; of reasoning: kept or dropped by the template",
     shape::text_or_objects(kItemPart, 0, kPartsMax)},
    {"encrypted_content", kHonoured, "of reasoning, where content is missing; others' are left out",
     shape::text(kTextBytesMax)},
    {"call_id", kHonoured, "of function_call and function_call_output", shape::text(kIdBytesMax)},
    {"name", kHonoured, "of function_call", kToolName},
    {"arguments", kHonoured, "of function_call: JSON as text, or an object",
     shape::other(R"({"type": ["string", "object"]})", "string or object").otherwise("\"{}\"")},
    {"output", kHonoured, "of function_call_output",
     shape::text_or_objects(kItemPart, 0, kPartsMax)},
    {"id", kIgnored, "items are not stored"},
    {"status", kIgnored, "part of an earlier answer"},
    {"summary", kIgnored, "the reasoning itself is what counts"},
});
constexpr FieldTable kItem = {"InputItem", kItemRules, {}, true};

constexpr auto kResponsesToolRules = std::to_array<FieldRule>({
    {"type", kHonoured, "", shape::word("function")},
    {"name", kHonoured, "", kToolName},
    {"description", kHonoured, "", shape::text(kTextBytesMax)},
    {"parameters", kHonoured, "", kSchema},
    {"strict", kRefused, kStrictNote},
});
constexpr FieldTable kResponsesTool = {"ResponsesTool", kResponsesToolRules, "type|name", true};

constexpr auto kResponsesToolNameRules = std::to_array<FieldRule>({
    {"type", kHonoured, "", shape::word("function").otherwise("\"function\"")},
    {"name", kHonoured, "", kToolName},
});
constexpr FieldTable kResponsesToolName = {"ResponsesToolName", kResponsesToolNameRules, "name"};
constexpr auto kResponsesToolChoiceRules = std::to_array<FieldRule>({
    {"type", kHonoured, "", shape::word("function|allowed_tools")},
    {"name", kHonoured, "of function", kToolName},
    {"mode", kHonoured, "of allowed_tools", shape::word("auto|required")},
    {"tools", kHonoured, "of allowed_tools: the others are not offered",
     shape::objects(kResponsesToolName, 1, kToolsMax)},
});
constexpr FieldTable kResponsesToolChoice = {"ResponsesToolChoice", kResponsesToolChoiceRules,
                                             "type"};

constexpr auto kReasoningRules = std::to_array<FieldRule>({
    {"effort", kHonoured, "none: no thinking; the others: thinking, low, high or max", kEffort},
    {"summary", kHonoured, "there is none: the reasoning itself is shown", shape::word("auto")},
    {"context", kHonoured, "the model's template decides", shape::word("auto")},
    {"mode", kHonoured, "", shape::word("standard")},
    {"generate_summary", kRefused, "use summary"},
});
constexpr FieldTable kReasoning = {"Reasoning", kReasoningRules};

constexpr auto kTextRules = std::to_array<FieldRule>({
    {"format", kHonoured, "json_object: an answer that is not JSON is an error",
     shape::object(kResponseFormat)},
    {"verbosity", kIgnored, "models here have no such setting"},
});
constexpr FieldTable kText = {"ResponsesText", kTextRules};

constexpr std::string_view kSealed = "reasoning.encrypted_content";
constexpr std::string_view kLogprobs = "message.output_text.logprobs";

constexpr auto kResponsesRules = std::to_array<FieldRule>({
    {"input", kHonoured, "the whole conversation",
     shape::text_or_objects(kItem, 1, limits::kMessagesMax)},
    {"instructions", kHonoured, "a system message before the input", shape::text(kTextBytesMax)},
    HADAL_GENERATION_FIELDS,
    {"max_output_tokens", kHonoured, "clamped to the context", shape::integer(1, kTokensMax)},
    {"thinking_token_budget", kHonoured, "thinking is closed after so many tokens",
     shape::integer(0, kTokensMax)},
    {"top_logprobs", kHonoured, "with include: message.output_text.logprobs",
     shape::integer(0, limits::kTopLogprobsMax).otherwise("0")},
    {"include", kHonoured, "",
     shape::texts(8, kIdBytesMax, "reasoning.encrypted_content|message.output_text.logprobs")},
    {"reasoning", kHonoured, "", shape::object(kReasoning)},
    {"text", kHonoured, "", shape::object(kText)},
    {"tools", kHonoured, "functions; no tools that run at the server",
     shape::objects(kResponsesTool, 0, kToolsMax)},
    {"tool_choice", kHonoured, "", shape::word_or_object(kToolChoiceWords, kResponsesToolChoice)},
    {"parallel_tool_calls", kHonoured, "false: the answer ends with its first call",
     shape::boolean().otherwise("true")},
    {"metadata", kHonoured, "comes back with the answer",
     shape::other(R"({"type": "object", "maxProperties": 16, "additionalProperties": )"
                  R"({"type": "string", "maxLength": 512}})",
                  "object of at most 16 strings")},
    {"truncation", kHonoured, "what does not fit is refused",
     shape::word("disabled").otherwise("\"disabled\"")},
    {"max_tool_calls", kIgnored, "counts tools that run at the server, of which there are none"},
    {"prompt_cache_options", kIgnored, "every prefix is looked up"},
    {"prompt_cache_retention", kIgnored, "every prefix is looked up"},
    {"client_metadata", kIgnored, "a label"},
    {"previous_response_id", kRefused, "answers are not stored; send the conversation as input"},
    {"conversation", kRefused, "conversations are not stored; send it as input"},
    {"background", kRefused, "answers are not stored; use stream"},
    {"prompt", kRefused, "no prompts are stored here"},
    {"context_management", kRefused, "send the input that the model is to see"},
    {"moderation", kRefused, "this server does not moderate"},
});
constexpr FieldTable kResponses = {"ResponsesRequest", kResponsesRules, "input"};

}  // namespace
}  // namespace table

namespace {

namespace json = boost::json;

// The items so far, as messages. What one turn of the assistant made, reasoning, text and calls in
// items of their own, becomes one message.
class Conversation {
 public:
  explicit Conversation(std::vector<Message>* messages) : messages_(*messages) {}

  void system(const std::string& text) {
    // Many templates take one system message, at the start.
    if (messages_.size() == 1 && messages_[0].role == "system") {
      messages_[0].content += "\n\n" + text;
    } else {
      messages_.push_back({"system", text});
    }
  }
  void user(const std::string& text) { messages_.push_back({"user", text}); }
  void assistant(const std::string& text) {
    const bool begun =
        in_turn() && (messages_.back().content.empty() || !messages_.back().tool_calls.empty());
    if (begun) {
      messages_.back().content += text;
    } else {
      messages_.push_back({"assistant", text});
    }
  }
  void reasoning(const std::string& text) { turn().reasoning += text; }
  void call(ToolCall call) {
    names_.push_back({call.id, call.name});
    turn().tool_calls.push_back(std::move(call));
  }
  // False: no call of this id came before it.
  bool result(const std::string& call_id, const std::string& text) {
    const bool known = std::any_of(names_.begin(), names_.end(),
                                   [&](const auto& name) { return name.first == call_id; });
    if (known) {
      messages_.push_back({"tool", text});
      messages_.back().tool_call_id = call_id;
    }
    return known;
  }

 private:
  bool in_turn() const { return !messages_.empty() && messages_.back().role == "assistant"; }
  Message& turn() {
    if (!in_turn()) messages_.push_back({"assistant", ""});
    return messages_.back();
  }

  std::vector<Message>& messages_;
  std::vector<std::pair<std::string, std::string>> names_;  // of calls, by id
};

void parse_message_item(Fields& item, Conversation* conversation) {
  item.require("role");
  item.require("content");
  std::string role, text;
  item.word("role", &role);
  parse_text_parts(item, "content", "", &text);
  if (!item.ok()) return;
  if (role == "user") {
    conversation->user(text);
  } else if (role == "assistant") {
    conversation->assistant(text);
  } else {
    conversation->system(text);
  }
}

void parse_reasoning_item(Fields& item, Conversation* conversation) {
  std::string text, sealed;
  parse_text_parts(item, "content", "", &text);
  item.text("encrypted_content", &sealed);
  if (text.empty()) text = unseal(sealed).value_or("");
  if (!text.empty()) conversation->reasoning(text);
}

void parse_item(Fields& item, Conversation* conversation) {
  std::string type = "message";
  item.text("type", &type);
  if (type == "message") {
    parse_message_item(item, conversation);
  } else if (type == "reasoning") {
    parse_reasoning_item(item, conversation);
  } else if (type == "function_call") {
    ToolCall call;
    item.require("call_id");
    item.require("name");
    item.text("call_id", &call.id);
    parse_function_name(item, &call.name);
    parse_arguments(item, "arguments", &call.arguments);
    conversation->call(std::move(call));
  } else if (type == "function_call_output") {
    std::string call_id, text;
    item.require("call_id");
    item.require("output");
    item.text("call_id", &call_id);
    parse_text_parts(item, "output", "", &text);
    if (item.ok() && !conversation->result(call_id, text)) {
      item.fault("call_id", "no function_call before it has this call_id");
    }
  } else {
    item.unsupported("type", fmt::format("items of type '{}' are not supported", type));
  }
}

void parse_input(Fields& fields, std::vector<Message>* messages) {
  Conversation conversation(messages);
  std::string instructions, text;
  fields.text("instructions", &instructions);
  if (!instructions.empty()) conversation.system(instructions);
  const json::value* input = fields.find("input");
  if (input != nullptr && input->is_string()) {
    fields.text("input", &text);
    conversation.user(text);
  } else {
    fields.objects("input", [&](Fields& item) { parse_item(item, &conversation); });
    if (fields.ok() && messages->empty()) fields.fault("input", "holds no message");
  }
  if (fields.ok()) check_conversation(fields, messages);
}

void parse_choice(Fields& fields, ChatRequest* request) {
  ToolChoice* target = &request->tool_choice;
  if (!parse_tool_choice_word(fields, target) && fields.has("tool_choice")) {
    AllowedTools allowed;
    fields.object("tool_choice", [&](Fields& choice) {
      std::string type;
      choice.word("type", &type);
      if (type == "function") choice.require("name");
      if (type == "allowed_tools") choice.require("mode");
      if (type == "allowed_tools") choice.require("tools");
      parse_function_name(choice, &target->name);
      choice.word("mode", &allowed.mode);
      choice.objects("tools", [&](Fields& tool) {
        parse_type(tool, "function");
        parse_function_name(tool, &allowed.names.emplace_back());
      });
      target->kind = ToolChoice::Kind::kNamed;
    });
    if (!allowed.mode.empty() && fields.ok()) allow_tools(fields, allowed, &request->tools, target);
  }
  check_tool_choice(fields, request->tools, *target);
}

void parse_reasoning(Fields& fields, ChatRequest* request) {
  ThinkingWish wish;
  fields.object("reasoning", [&](Fields& reasoning) {
    std::string word;
    parse_effort(reasoning, "effort", &wish);
    reasoning.word("summary", &word);
    reasoning.word("context", &word);
    reasoning.word("mode", &word);
  });
  request->thinking = wish.thinking;
  request->effort = std::move(wish.effort);
  fields.integer("thinking_token_budget", &request->thinking_budget);
}

void parse_include(Fields& fields, ResponsesRequest* request) {
  std::vector<std::string> include;
  fields.texts("include", &include);
  const auto asks = [&](std::string_view what) {
    return std::find(include.begin(), include.end(), what) != include.end();
  };
  request->echo.sealed_reasoning = asks(table::kSealed);
  int32_t top = 0;
  fields.integer("top_logprobs", &top);
  if (asks(table::kLogprobs)) {
    request->logprobs = top;
  } else if (top > 0) {
    fields.fault("top_logprobs", "needs \"include\": [\"message.output_text.logprobs\"]");
  }
}

// The answer has a value for everything that was asked, and for what was not its default.
std::string echo_of(const Fields& fields, const ResponsesRequest& request) {
  const auto given = [&](std::string_view name, json::value otherwise) {
    const json::value* value = fields.find(name);
    return value != nullptr ? *value : otherwise;
  };
  json::object echo;
  echo["instructions"] = given("instructions", nullptr);
  echo["max_output_tokens"] = given("max_output_tokens", nullptr);
  echo["metadata"] = given("metadata", json::object());
  echo["parallel_tool_calls"] = request.parallel_tool_calls;
  echo["prompt_cache_key"] = given("prompt_cache_key", nullptr);
  echo["safety_identifier"] = given("safety_identifier", nullptr);
  echo["temperature"] = given("temperature", nullptr);
  echo["tool_choice"] = given("tool_choice", "auto");
  echo["top_logprobs"] = given("top_logprobs", 0);
  echo["top_p"] = given("top_p", nullptr);
  echo["truncation"] = "disabled";
  echo["user"] = given("user", nullptr);
  const json::object reasoning = given("reasoning", json::object()).as_object();
  const auto effort = reasoning.find("effort");
  echo["reasoning"] = {
      {"effort", effort == reasoning.end() ? json::value(nullptr) : effort->value()},
      {"summary", nullptr}};
  echo["text"] = {{"format", {{"type", request.json_object ? "json_object" : "text"}}},
                  {"verbosity", "medium"}};
  json::array tools = given("tools", json::array()).as_array();
  for (json::value& tool : tools) {
    tool.as_object().emplace("description", nullptr);
    tool.as_object().emplace("parameters", nullptr);
    tool.as_object()["strict"] = false;
  }
  echo["tools"] = std::move(tools);
  return json::serialize(echo);
}

}  // namespace

const FieldTable& responses_fields() { return table::kResponses; }

Parsed<ResponsesRequest> parse_responses(std::string_view body) {
  HADAL_TRY(const Document document, Document::parse(body));
  Fields fields(document.root(), responses_fields());
  ResponsesRequest request;
  HADAL_TRY_VOID(fields.status());
  parse_input(fields, &request.messages);
  parse_generation(fields, &request);
  fields.integer("max_output_tokens", &request.sampling.max_tokens);
  parse_reasoning(fields, &request);
  parse_include(fields, &request);
  fields.objects("tools", [&](Fields& tool) {
    parse_type(tool, "function");
    if (tool.complete()) parse_flat_tool(tool, "parameters", &request.tools);
  });
  parse_choice(fields, &request);
  fields.boolean("parallel_tool_calls", &request.parallel_tool_calls);
  fields.object("text",
                [&](Fields& text) { request.json_object = parse_format(text, "format", true); });
  check_metadata(fields);
  std::string truncation;
  fields.word("truncation", &truncation);
  check_forms(fields, "text.format", request);
  HADAL_TRY_VOID(fields.status());
  request.echo.fields = echo_of(fields, request);
  return request;
}

}  // namespace hadal::api
