#include "hadal/api/openai_messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <utility>

#include "hadal/api/openai_tables.h"
#include "hadal/base/limits.h"

namespace hadal::api {
namespace {

namespace json = boost::json;
using Kind = ToolChoice::Kind;

bool is_tool_name(std::string_view name) {
  return !name.empty() && name.size() <= table::kToolNameMax &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  std::string_view("_-.:/").find(c) != std::string_view::npos;
         });
}

void parse_tool_call(Fields& fields, std::vector<ToolCall>* target) {
  ToolCall& call = target->emplace_back();
  parse_type(fields, "function");
  fields.text("id", &call.id);
  fields.object("function", [&](Fields& function) {
    parse_function_name(function, &call.name);
    parse_arguments(function, "arguments", &call.arguments);
  });
}

void parse_message(Fields& fields, std::vector<Message>* target) {
  Message& message = target->emplace_back();
  if (!fields.complete()) return;
  fields.text("role", &message.role);
  if (message.role == "developer") message.role = "system";
  const bool assistant = message.role == "assistant";
  const bool tool = message.role == "tool";
  if (message.role == "function") {
    fields.unsupported("role", "'function' is not supported, use 'tool' with a tool_call_id");
  } else if (!assistant && !tool && message.role != "system" && message.role != "user") {
    fields.fault("role", fmt::format("found '{}', expected system, user, assistant or tool",
                                     message.role.substr(0, 32)));
  }
  if (!assistant) fields.require("content");
  parse_text_parts(fields, "content", "", &message.content);
  fields.text("reasoning", &message.reasoning);
  fields.text("reasoning_content", &message.reasoning);
  fields.objects("tool_calls", [&](Fields& call) { parse_tool_call(call, &message.tool_calls); });
  if (!assistant && !message.tool_calls.empty()) {
    fields.fault("tool_calls", "only an assistant's message has them");
  }
  if (tool) fields.require("tool_call_id");
  if (tool) fields.text("tool_call_id", &message.tool_call_id);
  fields.boolean("prefix", &message.prefix);
}

}  // namespace

void parse_type(Fields& fields, std::string_view only) {
  std::string type(only);
  fields.text("type", &type);
  if (type == only) return;
  fields.unsupported("type", fmt::format("'{}' is not supported, only {}", type, only));
}

void parse_text_parts(Fields& fields, std::string_view name, std::string_view joined,
                      std::string* target) {
  const json::value* content = fields.find(name);
  if (content == nullptr) return;
  if (content->is_string()) return fields.text(name, target);
  if (!content->is_array()) return fields.wrong(name, *content);
  fields.objects(name, [&](Fields& part) {
    std::string type = "text";
    std::string text;
    part.text("type", &type);
    if (!part.lists("type", type)) {
      part.unsupported("type",
                       fmt::format("parts of type '{}' are not supported here, only text", type));
    }
    part.text("text", &text);
    if (!target->empty()) *target += joined;
    *target += text;
  });
}

void parse_arguments(Fields& fields, std::string_view name, std::string* target) {
  const json::value* value = fields.find(name);
  if (value == nullptr) {
    *target = "{}";
  } else if (value->is_object()) {
    *target = json::serialize(*value);
  } else {
    fields.text(name, target);
  }
}

void parse_function_name(Fields& function, std::string* target) {
  function.text("name", target);
  if (function.ok() && function.has("name") && !is_tool_name(*target)) {
    function.fault("name", "expected " + std::string(table::kToolName.expected));
  }
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
  fields.objects("messages", [&](Fields& message) { parse_message(message, target); });
  if (fields.ok()) check_conversation(fields, target);
}

void parse_tools(Fields& fields, std::vector<Tool>* target) {
  fields.objects("tools", [&](Fields& tool) {
    if (tool.has("type")) parse_type(tool, "function");
    Tool& added = target->emplace_back();
    tool.object("function", [&](Fields& function) {
      std::string description;
      parse_function_name(function, &added.name);
      function.text("description", &description);
      const json::value* schema = function.find("parameters");
      if (schema != nullptr && !schema->is_object()) function.wrong("parameters", *schema);
    });
    added.definition = tool.as_json();
  });
}

void parse_flat_tool(Fields& tool, std::string_view schema_name, std::vector<Tool>* target) {
  Tool& added = target->emplace_back();
  std::string description;
  parse_function_name(tool, &added.name);
  tool.text("description", &description);
  const json::value* schema = tool.find(schema_name);
  if (schema != nullptr && !schema->is_object()) return tool.wrong(schema_name, *schema);
  json::object function;
  function["name"] = added.name;
  if (!description.empty()) function["description"] = description;
  function["parameters"] =
      schema != nullptr ? *schema : json::value(json::object{{"type", "object"}});
  added.definition =
      json::serialize(json::object{{"type", "function"}, {"function", std::move(function)}});
}

bool parse_tool_choice_word(Fields& fields, ToolChoice* target) {
  const json::value* value = fields.find("tool_choice");
  if (value == nullptr || value->is_object()) return false;
  std::string word;
  fields.word("tool_choice", &word);
  target->kind = word == "none" ? Kind::kNone : word == "required" ? Kind::kRequired : Kind::kAuto;
  return true;
}

void allow_tools(Fields& fields, const AllowedTools& allowed, std::vector<Tool>* tools,
                 ToolChoice* target) {
  target->kind = allowed.mode == "required" ? Kind::kRequired : Kind::kAuto;
  for (const std::string& name : allowed.names) {
    const bool known = std::any_of(tools->begin(), tools->end(),
                                   [&](const Tool& tool) { return tool.name == name; });
    if (!known) {
      return fields.fault("tool_choice", fmt::format("names '{}', which is not in tools", name));
    }
  }
  std::erase_if(*tools, [&](const Tool& tool) {
    return std::find(allowed.names.begin(), allowed.names.end(), tool.name) == allowed.names.end();
  });
}

void check_tool_choice(Fields& fields, const std::vector<Tool>& tools, const ToolChoice& choice) {
  const bool must = choice.kind == Kind::kRequired || choice.kind == Kind::kNamed;
  if (!must || !fields.ok()) return;
  if (tools.empty()) return fields.fault("tool_choice", "asks for a call without tools");
  const bool known = std::any_of(tools.begin(), tools.end(),
                                 [&](const Tool& tool) { return tool.name == choice.name; });
  if (choice.kind == Kind::kNamed && !known) {
    fields.fault("tool_choice", fmt::format("names '{}', which is not in tools", choice.name));
  }
}

void parse_tool_choice(Fields& fields, std::vector<Tool>* tools, ToolChoice* target) {
  if (!parse_tool_choice_word(fields, target) && fields.has("tool_choice")) {
    AllowedTools allowed;
    fields.object("tool_choice", [&](Fields& choice) {
      std::string type = "function";
      choice.word("type", &type);
      choice.require(type);
      choice.object("allowed_tools", [&](Fields& inner) {
        inner.word("mode", &allowed.mode);
        inner.objects("tools", [&](Fields& tool) {
          parse_type(tool, "function");
          tool.object("function", [&](Fields& function) {
            parse_function_name(function, &allowed.names.emplace_back());
          });
        });
      });
      choice.object("function",
                    [&](Fields& function) { parse_function_name(function, &target->name); });
      target->kind = Kind::kNamed;
    });
    if (!allowed.mode.empty() && fields.ok()) allow_tools(fields, allowed, tools, target);
  }
  check_tool_choice(fields, *tools, *target);
}

void check_forms(Fields& fields, std::string_view json_field, const ChatRequest& request) {
  const bool must =
      request.tool_choice.kind == Kind::kRequired || request.tool_choice.kind == Kind::kNamed;
  const bool goes_on = !request.messages.empty() && request.messages.back().prefix;
  if (must && goes_on) {
    fields.fault("tool_choice", "a call cannot be forced where the last message is gone on with");
  }
  if (request.json_object && (must || goes_on)) {
    fields.fault(json_field, "json_object goes with neither a forced call nor a prefix");
  }
}

namespace {

// DeepSeek's map of every vendor's efforts.
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

}  // namespace

void parse_effort(Fields& fields, std::string_view name, ThinkingWish* wish) {
  std::string effort;
  fields.word(name, &effort);
  if (effort.empty()) return;
  const std::string_view known = known_effort(effort);
  wish->thinking = known != "none";
  if (known != "none") wish->effort = known;
}

void parse_template_arguments(Fields& fields, ThinkingWish* wish) {
  fields.object("chat_template_kwargs", [&](Fields& inner) {
    inner.boolean("enable_thinking", &wish->thinking);
    inner.boolean("thinking", &wish->thinking);
  });
}

void parse_thinking(Fields& fields, ThinkingWish* wish) {
  fields.object("thinking", [&](Fields& inner) {
    std::string type;
    inner.word("type", &type);
    inner.integer("budget_tokens", &wish->budget);
    wish->thinking = type != "disabled";
  });
}

bool parse_format(Fields& fields, std::string_view name, bool json_object) {
  std::string type = "text";
  fields.object(name, [&](Fields& format) { format.text("type", &type); });
  if (type == "json_object" && json_object) return true;
  if (type != "text") {
    fields.fault({Code::kUnsupported,
                  fmt::format("{}: type '{}' is not supported here; remove it and ask for the form "
                              "in a message",
                              fields.path(name), type.substr(0, 32)),
                  fields.path(name)});
  }
  return false;
}

}  // namespace hadal::api
