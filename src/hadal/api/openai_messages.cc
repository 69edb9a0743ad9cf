#include "hadal/api/openai_messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <limits>
#include <utility>

#include "hadal/base/limits.h"

namespace hadal::api {
namespace {

namespace json = boost::json;

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
    if (type != "text" && type != "input_text" && type != "output_text") {
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

// The object at `name` of `outer`, as fields; a fault there is a fault of `outer`.
template <class Read>
void within(Fields& outer, std::string_view name, std::string_view expected, const Read& read) {
  const json::value* value = outer.find(name);
  if (value == nullptr) return outer.require(name, expected);
  if (!value->is_object()) return outer.wrong(name, *value, expected);
  Fields inner(value->get_object(), outer.path(name) + ".");
  read(inner);
  if (auto status = inner.status(); !status) outer.fault(status.error());
}

void parse_function_name(Fields& function, std::string* target) {
  function.require("name", "a string");
  function.text("name", limits::kBodyBytesMax, target);
  if (function.ok() && !is_tool_name(*target)) {
    function.fault("name",
                   fmt::format("expected 1 to {} letters, digits and \"_-.:/\"", kToolNameMax));
  }
}

// Arguments as OpenAI has them, text; as others have them, an object.
void parse_arguments(Fields& function, std::string* target) {
  const json::value* value = function.find("arguments");
  if (value == nullptr) {
    *target = "{}";
  } else if (value->is_object()) {
    *target = json::serialize(*value);
  } else {
    function.text("arguments", limits::kBodyBytesMax, target);
  }
}

void parse_tool_calls(Fields& message, std::vector<ToolCall>* target) {
  const json::value* value = message.find("tool_calls");
  if (value == nullptr) return;
  if (!value->is_array() || value->get_array().size() > kToolCallsMax) {
    return message.wrong("tool_calls", *value,
                         fmt::format("array of at most {} calls", kToolCallsMax));
  }
  const json::array& list = value->get_array();
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string name = fmt::format("tool_calls[{}]", i);
    if (!list[i].is_object()) return message.wrong(name, list[i], "object with id and function");
    Fields fields(list[i].get_object(), message.path(name) + ".");
    ToolCall& call = target->emplace_back();
    std::string type = "function";
    fields.require("id", "the call's id");
    fields.text("id", 256, &call.id);
    fields.text("type", 32, &type);
    if (type != "function") {
      fields.fault({Code::kUnsupported, fields.path("type") + ": only functions are supported",
                    fields.path("type")});
    }
    within(fields, "function", "object with name and arguments", [&](Fields& function) {
      parse_function_name(function, &call.name);
      parse_arguments(function, &call.arguments);
    });
    if (auto status = fields.status(); !status) return message.fault(status.error());
  }
}

constexpr auto kMessage = std::to_array<FieldRule>({
    {"role", FieldUse::kHonoured, ""},
    {"content", FieldUse::kHonoured, ""},
    {"reasoning_content", FieldUse::kHonoured, "kept or dropped by the model's template"},
    {"reasoning", FieldUse::kHonoured, "as reasoning_content"},
    {"tool_calls", FieldUse::kHonoured, ""},
    {"tool_call_id", FieldUse::kHonoured, ""},
    {"prefix", FieldUse::kHonoured, "of the last message: the answer goes on with it"},
    {"name", FieldUse::kIgnored, "the models' templates have no place for it"},
    {"refusal", FieldUse::kIgnored, "part of an earlier answer"},
    {"annotations", FieldUse::kIgnored, "part of an earlier answer"},
    {"index", FieldUse::kIgnored, "part of an earlier answer"},
    {"audio", FieldUse::kRefused, "only text is supported"},
    {"function_call", FieldUse::kRefused, "use tool_calls"},
});

Parsed<Message> parse_message(const json::object& object, const std::string& where) {
  Fields fields(object, where);
  Message message;
  fields.require("role", "system, user, assistant or tool");
  fields.text("role", 64, &message.role);
  if (message.role == "developer") message.role = "system";
  const bool assistant = message.role == "assistant";
  const bool tool = message.role == "tool";
  if (message.role == "function") {
    fields.fault({Code::kUnsupported,
                  fields.path("role") + ": 'function' is not supported, use "
                                        "'tool' with a tool_call_id",
                  fields.path("role")});
  } else if (!assistant && !tool && message.role != "system" && message.role != "user") {
    fields.fault("role", fmt::format("found '{}', expected system, user, assistant or tool",
                                     message.role.substr(0, 32)));
  }
  fields.allow(kMessage);
  if (!assistant) fields.require("content", "a string or an array of text parts");
  parse_content(fields, where, &message.content);
  fields.text("reasoning", limits::kBodyBytesMax, &message.reasoning);
  fields.text("reasoning_content", limits::kBodyBytesMax, &message.reasoning);
  parse_tool_calls(fields, &message.tool_calls);
  if (!assistant && !message.tool_calls.empty()) {
    fields.fault("tool_calls", "only an assistant's message has them");
  }
  if (tool) fields.require("tool_call_id", "the id of the call that this answers");
  if (tool) fields.text("tool_call_id", 256, &message.tool_call_id);
  fields.boolean("prefix", &message.prefix);
  HADAL_TRY_VOID(fields.status());
  return message;
}

}  // namespace

bool is_tool_name(std::string_view name) {
  return !name.empty() && name.size() <= kToolNameMax &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  std::string_view("_-.:/").find(c) != std::string_view::npos;
         });
}

void check_conversation(Fields& fields, std::vector<Message>* messages) {
  std::vector<ToolCall> calls;  // of the assistant's messages so far
  for (size_t i = 0; i < messages->size(); ++i) {
    Message& message = (*messages)[i];
    calls.insert(calls.end(), message.tool_calls.begin(), message.tool_calls.end());
    if (message.prefix && (message.role != "assistant" || i + 1 < messages->size())) {
      return fields.fault(fmt::format("messages[{}].prefix", i),
                          "only the last message may have it, and only an assistant's");
    }
    if (message.prefix && !message.tool_calls.empty()) {
      return fields.fault(fmt::format("messages[{}].prefix", i),
                          "a message with tool calls is complete and cannot be gone on with");
    }
    if (message.role != "tool") continue;
    const auto call = std::find_if(calls.rbegin(), calls.rend(), [&](const ToolCall& known) {
      return known.id == message.tool_call_id;
    });
    if (call == calls.rend()) {
      return fields.fault(fmt::format("messages[{}].tool_call_id", i),
                          "no assistant's message before it has a call of this id");
    }
    message.name = call->name;
  }
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
  check_conversation(fields, target);
}

void parse_tools(Fields& fields, std::vector<Tool>* target) {
  const json::value* value = fields.find("tools");
  if (value == nullptr) return;
  if (!value->is_array() || value->get_array().size() > kToolsMax) {
    return fields.wrong("tools", *value, fmt::format("array of at most {} tools", kToolsMax));
  }
  const json::array& list = value->get_array();
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string name = fmt::format("tools[{}]", i);
    if (!list[i].is_object()) return fields.wrong(name, list[i], "object with type and function");
    Fields tool(list[i].get_object(), name + ".");
    std::string type;
    tool.require("type", "\"function\"");
    tool.text("type", 32, &type);
    if (!type.empty() && type != "function") {
      tool.fault({Code::kUnsupported,
                  fmt::format("{}: '{}' is not supported, only function", tool.path("type"), type),
                  tool.path("type")});
    }
    Tool& added = target->emplace_back();
    within(tool, "function", "object with a name", [&](Fields& function) {
      parse_function_name(function, &added.name);
      const json::value* schema = function.find("parameters");
      if (schema != nullptr && !schema->is_object()) {
        function.wrong("parameters", *schema, "a JSON schema, an object");
      }
      bool strict = false;
      function.boolean("strict", &strict);
      if (strict) {
        function.fault({Code::kUnsupported,
                        function.path("strict") +
                            ": arguments are not held to the schema while they are written; "
                            "remove it and check them",
                        function.path("strict")});
      }
    });
    if (auto status = tool.status(); !status) return fields.fault(status.error());
    added.definition = json::serialize(list[i]);
  }
}

void parse_tool_choice(Fields& fields, const std::vector<Tool>& tools, ToolChoice* target) {
  using Kind = ToolChoice::Kind;
  const json::value* value = fields.find("tool_choice");
  if (value == nullptr) return;
  constexpr std::string_view kExpected =
      "none, auto, required or {\"type\": \"function\", \"function\": {\"name\": ...}}";
  if (value->is_string()) {
    const std::string_view word = value->get_string();
    if (word != "none" && word != "auto" && word != "required") {
      return fields.wrong("tool_choice", *value, kExpected);
    }
    target->kind = word == "none" ? Kind::kNone : word == "auto" ? Kind::kAuto : Kind::kRequired;
  } else if (value->is_object()) {
    target->kind = Kind::kNamed;
    within(fields, "tool_choice", kExpected, [&](Fields& choice) {
      std::string type = "function";
      choice.text("type", 32, &type);
      if (type != "function") choice.fault("type", "only function is supported");
      within(choice, "function", "object with a name",
             [&](Fields& function) { parse_function_name(function, &target->name); });
    });
  } else {
    return fields.wrong("tool_choice", *value, kExpected);
  }
  const bool must = target->kind == Kind::kRequired || target->kind == Kind::kNamed;
  if (must && tools.empty()) return fields.fault("tool_choice", "asks for a call without tools");
  const bool known = std::any_of(tools.begin(), tools.end(),
                                 [target](const Tool& tool) { return tool.name == target->name; });
  if (target->kind == Kind::kNamed && fields.ok() && !known) {
    fields.fault("tool_choice", fmt::format("names '{}', which is not in tools", target->name));
  }
}

std::string_view known_effort(std::string_view effort) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kEfforts = {
      {{"none", "none"},
       {"minimal", "low"},
       {"low", "low"},
       {"medium", "high"},
       {"high", "high"},
       {"xhigh", "high"},
       {"max", "max"},
       {"ultra", "max"}}};
  for (const auto& [name, known] : kEfforts) {
    if (name == effort) return known;
  }
  return {};
}

namespace {

void parse_effort(Fields& fields, ThinkingWish* wish) {
  std::string effort;
  fields.text("reasoning_effort", 32, &effort);
  if (effort.empty()) return;
  const std::string_view known = known_effort(effort);
  if (known.empty()) {
    return fields.fault("reasoning_effort",
                        fmt::format("found '{}', expected none, minimal, low, medium, high, "
                                    "xhigh, max or ultra",
                                    effort));
  }
  wish->thinking = known != "none";
  if (known != "none") wish->effort = known;
}

}  // namespace

void parse_thinking(Fields& fields, ThinkingWish* wish) {
  parse_effort(fields, wish);
  fields.integer("thinking_token_budget", 0, std::numeric_limits<int32_t>::max(), &wish->budget);
  if (const json::value* value = fields.find("chat_template_kwargs")) {
    if (!value->is_object()) return fields.wrong("chat_template_kwargs", *value, "object");
    static constexpr auto kArguments = std::to_array<FieldRule>({
        {"thinking", FieldUse::kHonoured, ""},
        {"enable_thinking", FieldUse::kHonoured, ""},
    });
    Fields inner(value->get_object(), "chat_template_kwargs.");
    inner.allow(kArguments);
    inner.boolean("enable_thinking", &wish->thinking);
    inner.boolean("thinking", &wish->thinking);
    if (auto status = inner.status(); !status) return fields.fault(status.error());
  }
  if (!fields.has("thinking")) return;
  within(fields, "thinking", "object with a type", [&](Fields& inner) {
    std::string type;
    inner.require("type", "\"enabled\", \"disabled\" or \"adaptive\"");
    inner.text("type", 32, &type);
    if (inner.ok() && type != "enabled" && type != "disabled" && type != "adaptive") {
      inner.fault("type", fmt::format("found '{}', expected enabled, disabled or adaptive", type));
    }
    inner.integer("budget_tokens", 0, std::numeric_limits<int32_t>::max(), &wish->budget);
    wish->thinking = type != "disabled";
  });
}

}  // namespace hadal::api
