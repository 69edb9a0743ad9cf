#include "hadal/text/chat_tools.h"

#include "hadal/text/json_scan.h"

namespace hadal {
namespace {

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

constexpr std::string_view kDeepseekHead = "## Tools\nYou have access to the following tools:\n\n";
constexpr std::string_view kDeepseekRules =
    "\n\nWhere:\n\n- `tool_call_name` must be an exact match to one of the available tools\n"
    "- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters "
    "Schema\n"
    "- For multiple tool calls, chain them directly without separators or spaces";

constexpr std::string_view kHermesHead =
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are "
    "provided with function signatures within <tools></tools> XML tags:\n<tools>";
constexpr std::string_view kHermesTail =
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    "within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, "
    "\"arguments\": <args-json-object>}\n</tool_call>";

std::string deepseek_description(ToolForm form, std::span<const ChatTool> tools) {
  std::string text(kDeepseekHead);
  for (const ChatTool& tool : tools) text += "### " + tool.name + "\n" + tool.definition + "\n\n";
  text +=
      "IMPORTANT: ALWAYS adhere to this exact format for tool use:\n"
      "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>";
  text += form == ToolForm::kDeepseekV3
              ? "function<｜tool▁sep｜>tool_call_name\n```json\ntool_call_arguments\n```"
              : "tool_call_name<｜tool▁sep｜>tool_call_arguments";
  text += "<｜tool▁call▁end｜>{additional_tool_calls}<｜tool▁calls▁end｜>";
  return text + std::string(kDeepseekRules);
}

std::string call_text(const ChatToolCall& call) {
  std::string name;
  append_json_escaped(call.name, &name);
  const bool json = is_json(call.arguments);
  std::string text;
  if (!json) append_json_escaped(call.arguments, &text);
  return "<tool_call>\n{\"name\": \"" + name +
         "\", \"arguments\": " + (json ? call.arguments : "\"" + text + "\"") + "}\n</tool_call>";
}

}  // namespace

ToolForm tool_form(std::string_view chat_template) {
  if (has(chat_template, "｜DSML｜")) {
    return has(chat_template, "function_calls>") ? ToolForm::kDsmlV32 : ToolForm::kDsmlV4;
  }
  if (has(chat_template, "<｜tool▁call▁begin｜>")) {
    return has(chat_template, "```json") ? ToolForm::kDeepseekV3 : ToolForm::kDeepseekV31;
  }
  const bool llama =
      has(chat_template, "<|start_header_id|>") && has(chat_template, "\"parameters\"");
  return llama && !has(chat_template, "<tool_call>") ? ToolForm::kLlama3 : ToolForm::kHermes;
}

bool reads_calls(std::string_view chat_template) {
  const bool others = has(chat_template, "<arg_key>");
  return tool_form(chat_template) != ToolForm::kHermes ||
         (has(chat_template, "<tool_call>") && !others);
}

std::string tool_description(ToolForm form, std::span<const ChatTool> tools) {
  if (form == ToolForm::kDeepseekV3 || form == ToolForm::kDeepseekV31) {
    return deepseek_description(form, tools);
  }
  std::string text(kHermesHead);
  for (const ChatTool& tool : tools) text += "\n" + tool.definition;
  return text + std::string(kHermesTail);
}

std::vector<ChatMessage> with_description(std::span<const ChatMessage> messages,
                                          const std::string& description) {
  std::vector<ChatMessage> out(messages.begin(), messages.end());
  for (ChatMessage& message : out) {
    if (message.role != "system") continue;
    message.content += (message.content.empty() ? "" : "\n\n") + description;
    return out;
  }
  ChatMessage system;
  system.role = "system";
  system.content = description;
  out.insert(out.begin(), std::move(system));
  return out;
}

std::vector<ChatMessage> calls_as_text(std::span<const ChatMessage> messages) {
  std::vector<ChatMessage> out;
  bool in_results = false;
  for (const ChatMessage& message : messages) {
    if (message.role == "tool") {
      const std::string result = "<tool_response>\n" + message.content + "\n</tool_response>";
      if (in_results) {
        out.back().content += "\n" + result;
      } else {
        ChatMessage user;
        user.role = "user";
        user.content = result;
        out.push_back(std::move(user));
      }
      in_results = true;
      continue;
    }
    in_results = false;
    out.push_back(message);
    for (const ChatToolCall& call : message.tool_calls) {
      std::string& content = out.back().content;
      content += (content.empty() ? "" : "\n") + call_text(call);
    }
    out.back().tool_calls.clear();
  }
  return out;
}

}  // namespace hadal
