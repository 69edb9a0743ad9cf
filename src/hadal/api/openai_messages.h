// Private to api: the parts of a request that are more than one value, for every protocol.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/api/fields.h"
#include "hadal/api/openai.h"

namespace hadal::api {

// What HADAL_GENERATION_FIELDS holds.
void parse_generation(Fields& fields, GenerationBase* request);

// The "messages" of a request. A tool's message must answer a call that an assistant's message
// before it holds.
void parse_messages(Fields& fields, std::vector<Message>* target);
// Checks that run over a whole conversation, whatever protocol it came by: `where` names messages.
void check_conversation(Fields& fields, std::vector<Message>* messages);

// The field's string, or the texts of its parts, `joined` by what is given.
void parse_text_parts(Fields& fields, std::string_view name, std::string_view joined,
                      std::string* target);
// The field's string, or its object as JSON; "{}" without either.
void parse_arguments(Fields& fields, std::string_view name, std::string* target);

// The field "type", which has one value here.
void parse_type(Fields& fields, std::string_view only);
// The field "name" of a function.
void parse_function_name(Fields& function, std::string* target);
void parse_tools(Fields& fields, std::vector<Tool>* target);
// A function whose fields stand beside its type; `schema`: the field of its parameters' schema.
void parse_flat_tool(Fields& tool, std::string_view schema, std::vector<Tool>* target);

// Tools that may be called, of all that were given, by "allowed_tools".
struct AllowedTools {
  std::string mode;  // auto or required
  std::vector<std::string> names;
};
void parse_tool_choice(Fields& fields, std::vector<Tool>* tools, ToolChoice* target);
// "none", "auto" or "required" at tool_choice; false: it is an object, or absent.
bool parse_tool_choice_word(Fields& fields, ToolChoice* target);
// Keeps the tools that are allowed.
void allow_tools(Fields& fields, const AllowedTools& allowed, std::vector<Tool>* tools,
                 ToolChoice* target);
void check_tool_choice(Fields& fields, const std::vector<Tool>& tools, const ToolChoice& choice);
// A forced call goes neither with an answer that has begun nor with a JSON answer.
void check_forms(Fields& fields, std::string_view json_field, const ChatRequest& request);

struct ThinkingWish {
  std::optional<bool> thinking;
  std::string effort;
  std::optional<int64_t> budget;
};
// The ways in which clients ask for thinking or none; called in this order, the more exact last.
void parse_effort(Fields& fields, std::string_view name, ThinkingWish* wish);
void parse_template_arguments(Fields& fields, ThinkingWish* wish);
void parse_thinking(Fields& fields, ThinkingWish* wish);
// How a request says that its answer is to be JSON: an object with a type. `json_object`: this
// endpoint can see to it.
bool parse_format(Fields& fields, std::string_view name, bool json_object);

}  // namespace hadal::api
