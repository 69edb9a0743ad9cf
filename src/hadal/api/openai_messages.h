// Private to api: the parts of a chat request that are more than one value.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/api/fields.h"
#include "hadal/api/openai.h"

namespace hadal::api {

inline constexpr size_t kToolsMax = 512;
inline constexpr size_t kToolCallsMax = 512;  // of one message
inline constexpr size_t kToolNameMax = 128;

// The "messages" of a request. A tool's message must answer a call that an assistant's message
// before it holds.
void parse_messages(Fields& fields, std::vector<Message>* target);
// Checks that run over a whole conversation, whatever protocol it came by: `where` names messages.
void check_conversation(Fields& fields, std::vector<Message>* messages);

void parse_tools(Fields& fields, std::vector<Tool>* target);
void parse_tool_choice(Fields& fields, const std::vector<Tool>& tools, ToolChoice* target);
// Whether a function may be called so.
bool is_tool_name(std::string_view name);

struct ThinkingWish {
  std::optional<bool> thinking;
  std::string effort;
  std::optional<int64_t> budget;
};
// The ways in which clients ask for thinking or none, the more exact last.
void parse_thinking(Fields& fields, ThinkingWish* wish);
// DeepSeek's map of every vendor's efforts to low, high and max; empty: unknown.
std::string_view known_effort(std::string_view effort);

}  // namespace hadal::api
