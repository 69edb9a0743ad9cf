// A conversation as every protocol's messages become one: what api parses into, what templates
// render.
#pragma once

#include <string>
#include <vector>

namespace hadal {

struct ChatToolCall {
  std::string id;
  std::string name;
  std::string arguments;  // JSON text, as the model wrote it; may be anything a model writes
};

struct ChatMessage {
  std::string role;  // system, user, assistant, tool (developer is mapped to system by api)
  std::string content;
  // Assistant only: an earlier turn's thinking, dropped or kept by the form's rule.
  std::string reasoning = {};
  std::vector<ChatToolCall> tool_calls = {};  // assistant only
  std::string tool_call_id = {};              // tool only: the call that this answers
  std::string name = {};                      // tool only: the function's name, where it is known
  // The last assistant message of a request, to be gone on with: its turn is not closed.
  bool prefix = false;
};

// A function that the model may call.
struct ChatTool {
  std::string name;
  std::string definition;  // the whole tool as JSON text: {"type": "function", "function": {...}}
};

}  // namespace hadal
