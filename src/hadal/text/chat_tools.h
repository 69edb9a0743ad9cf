// Tools in a conversation: which form a model writes calls in, and how a conversation with tools is
// put to a template that knows nothing of them.
//
// Pure, any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/text/chat_message.h"
#include "hadal/text/parse_tools.h"

namespace hadal {

// By the model's template; a model that knows no form that is read here is asked for Hermes'.
ToolForm tool_form(std::string_view chat_template);
// False: its template writes calls in another vendor's way (or none), which is not read here.
bool reads_calls(std::string_view chat_template);

// What a system message tells the model of its tools, in the words it was trained on.
std::string tool_description(ToolForm form, std::span<const ChatTool> tools);

// The conversation for a template that does not render the list of tools: it is put into the first
// system message, or into a new one.
std::vector<ChatMessage> with_description(std::span<const ChatMessage> messages,
                                          const std::string& description);
// ... that renders neither calls nor results: both become text, results in the user's turn.
std::vector<ChatMessage> calls_as_text(std::span<const ChatMessage> messages);

}  // namespace hadal
