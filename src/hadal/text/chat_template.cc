#include "hadal/text/chat_template.h"

#include <array>
#include <utility>

namespace hadal {
namespace {

using jinja::Dict;
using jinja::Value;

constexpr size_t kShortId = 9;  // Mistral's templates raise for any other length

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string short_id(std::string_view id) {
  std::string out;
  for (const char c : id) {
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
      out.push_back(c);
  }
  if (out.size() > kShortId) out.erase(0, out.size() - kShortId);
  return std::string(kShortId - out.size(), '0') + out;
}

// JSON text as a value; text that is no JSON stays text.
Value from_json(const std::string& text) {
  if (auto value = jinja::foreign_from_json(text)) return std::move(*value);
  return Value::foreign(text);
}

Value call_value(const ChatToolCall& call, bool argument_objects, const std::string& id) {
  Dict function;
  function.set("name", Value::foreign(call.name));
  function.set("arguments", argument_objects
                                ? from_json(call.arguments.empty() ? "{}" : call.arguments)
                                : Value::foreign(call.arguments));
  Dict out;
  if (!id.empty()) out.set("id", Value::foreign(id));
  out.set("type", Value::string("function"));
  out.set("function", Value::dict(std::move(function)));
  return Value::dict(std::move(out));
}

// What the vocabulary and the protocols say are names, not words of the conversation.
Value role_value(const std::string& role) {
  for (const char* known : {"system", "user", "assistant", "tool", "developer"}) {
    if (role == known) return Value::string(role);
  }
  return Value::foreign(role);
}

// The last <think> of the text is not closed behind it.
bool ends_inside_thinking(std::string_view text) {
  const size_t open = text.rfind("<think>");
  return open != std::string_view::npos && !has(text.substr(open), "</think>");
}

}  // namespace

ChatTemplate::ChatTemplate(jinja::Template parsed, std::string bos, std::string eos)
    : template_(std::move(parsed)), bos_(std::move(bos)), eos_(std::move(eos)) {}

Result<ChatTemplate> ChatTemplate::make(std::string_view source, std::string bos, std::string eos) {
  HADAL_TRY(auto parsed, jinja::Template::parse(source));
  ChatTemplate out(std::move(parsed), std::move(bos), std::move(eos));
  out.probe();
  return out;
}

void ChatTemplate::probe() {
  const std::vector<ChatTool> tools = {
      {"probe_offered",
       R"({"type": "function", "function": {"name": "probe_offered", "description": "d",)"
       R"( "parameters": {"type": "object", "properties": {}}}})"}};
  const ChatToolCall call = {"call_0123456789", "probe_called", R"({"probe_key": "probe_value"})"};
  const std::vector<ChatMessage> asked = {{.role = "user", .content = "q"}};
  const std::vector<ChatMessage> called = {
      {.role = "user", .content = "q"},
      {.role = "assistant", .content = "", .tool_calls = {call}},
      {.role = "tool", .content = "probe_result", .tool_call_id = call.id, .name = call.name}};

  // transformers passes None; a template written for tools alone may walk it.
  if (!render_as({}, asked, {})) {
    shape_.no_tools_is_list = render_as({.no_tools_is_list = true}, asked, {}).has_value();
  }
  for (const bool thinking : {false, true}) {
    const auto text = render_as(shape_, asked, {.thinking = thinking});
    opens_thinking_[thinking ? 1 : 0] = text && ends_inside_thinking(text->text);
  }
  for (int i = 0; i < 8 && !renders_calls_; ++i) {
    Shape shape = shape_;
    shape.argument_objects = (i & 2) == 0;
    shape.empty_is_none = (i & 1) != 0;
    shape.short_ids = (i & 4) != 0;
    const auto text = render_as(shape, called, {});
    if (!text || !has(text->text, "probe_called") || !has(text->text, "probe_result")) continue;
    // Text that was made JSON a second time shows its quotes escaped.
    if (!has(text->text, "probe_value") || has(text->text, "\\\"probe_key")) continue;
    shape_ = shape;
    renders_calls_ = true;
  }
  const auto offered = render_as(shape_, asked, {.tools = tools});
  renders_tools_ = offered && has(offered->text, "probe_offered");
}

Result<jinja::Str> ChatTemplate::render(std::span<const ChatMessage> messages,
                                        const TemplateInput& input) const {
  return render_as(shape_, messages, input);
}

Result<jinja::Str> ChatTemplate::render_as(const Shape& shape,
                                           std::span<const ChatMessage> messages,
                                           const TemplateInput& input) const {
  std::vector<Value> turns;
  turns.reserve(messages.size());
  for (const ChatMessage& message : messages) {
    const auto id_of = [&shape](const std::string& id) {
      return shape.short_ids && !id.empty() ? short_id(id) : id;
    };
    Dict turn;
    turn.set("role", role_value(message.role));
    const bool none = shape.empty_is_none && message.content.empty() && !message.tool_calls.empty();
    turn.set("content", none ? Value::none() : Value::foreign(message.content));
    if (!message.reasoning.empty())
      turn.set("reasoning_content", Value::foreign(message.reasoning));
    if (!message.tool_calls.empty()) {
      std::vector<Value> calls;
      for (const ChatToolCall& call : message.tool_calls) {
        calls.push_back(call_value(call, shape.argument_objects, id_of(call.id)));
      }
      turn.set("tool_calls", Value::list(std::move(calls)));
    }
    if (!message.tool_call_id.empty())
      turn.set("tool_call_id", Value::foreign(id_of(message.tool_call_id)));
    if (!message.name.empty()) turn.set("name", Value::foreign(message.name));
    turns.push_back(Value::dict(std::move(turn)));
  }
  std::vector<Value> tools;
  for (const ChatTool& tool : input.tools) tools.push_back(from_json(tool.definition));

  Dict variables;
  variables.set("messages", Value::list(std::move(turns)));
  variables.set("tools", tools.empty() && !shape.no_tools_is_list ? Value::none()
                                                                  : Value::list(std::move(tools)));
  variables.set("documents", Value::none());
  variables.set("add_generation_prompt", Value::boolean(input.add_generation_prompt));
  variables.set("thinking", Value::boolean(input.thinking));
  variables.set("enable_thinking", Value::boolean(input.thinking));
  variables.set("bos_token", Value::string(bos_));
  variables.set("eos_token", Value::string(eos_));
  if (!input.reasoning_effort.empty()) {
    variables.set("reasoning_effort", Value::foreign(std::string(input.reasoning_effort)));
  }
  if (!input.date.empty()) variables.set("date_string", Value::foreign(std::string(input.date)));
  return template_.render(variables, {.local_seconds = input.local_seconds});
}

}  // namespace hadal
