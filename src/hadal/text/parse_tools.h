// Tool calls in a model's text, as it arrives. Each family writes them in its own way; what comes
// out is one stream of content, calls and pieces of arguments.
//
//   kDeepseekV3   <|tool_calls_begin|><|tool_call_begin|>function<|tool_sep|>NAME\n```json\nARGS\n
//                 ```<|tool_call_end|><|tool_calls_end|>                          V3, R1, distills
//   kDeepseekV31  ...<|tool_call_begin|>NAME<|tool_sep|>ARGS<|tool_call_end|>...   V3.1
//   kDsmlV32      <|DSML|function_calls><|DSML|invoke name="N"><|DSML|parameter name="P"
//                 string="true">VALUE</|DSML|parameter></|DSML|invoke></|DSML|function_calls>
//   kDsmlV4       the same within <|DSML|tool_calls>
//   kHermes       <tool_call>{"name": N, "arguments": ARGS}</tool_call>            Qwen2.5, Qwen3
//   kLlama3       {"name": N, "parameters": ARGS}, bare at the start or after <|python_tag|>
// (bars are full-width and underscores U+2581 in DeepSeek's). The two forms of one family are read
// by one parser, as models mix them.
//
// A call counts once its name and the beginning of its arguments are there; what does not get that
// far is content, byte for byte, markers included. From then on arguments go out as they come:
// whatever the model writes up to the call's end is in them, valid JSON or not. Nothing else is
// lost but the markers and the white space that the model's own template puts around calls.
//
// Linear time; holds at most kCallHeadMax bytes, or kCallHeldMax of a value that is only understood
// whole (a DSML parameter that is no string, arguments written as a string). The same events,
// joined, however the text is cut.
//
// Threads: one stream, one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hadal {

enum class ToolForm : uint8_t {
  kNone,  // no tools: everything is content
  kDeepseekV3,
  kDeepseekV31,
  kDsmlV32,
  kDsmlV4,
  kHermes,
  kLlama3,
};

inline constexpr size_t kCallHeadMax = 4'096;    // what stands around a call's arguments
inline constexpr size_t kCallHeldMax = 1 << 20;  // one value that must be complete to be understood

struct AnswerEvent {
  enum class Kind : uint8_t {
    kContent,    // text
    kReasoning,  // text
    kCallBegin,  // text: the function's name
    kArguments,  // text: a piece of JSON
  };
  Kind kind = Kind::kContent;
  int32_t call = 0;  // of kCallBegin and kArguments: 0, 1, ... in order
  std::string text;
  bool operator==(const AnswerEvent&) const = default;
};
// Appends, joined with the event before where both are text of the same kind and call.
void append_event(AnswerEvent event, std::vector<AnswerEvent>* events);

// What opens a list of calls in this form; such text ends thinking that was never closed. Empty
// where the marker is no token of its own and may well be thought about.
std::span<const std::string_view> call_openers(ToolForm form);
// Every marker of the form that a vocabulary may hold as a (control) token.
std::span<const std::string_view> call_markers(ToolForm form);
// What an answer that must call begins with: up to the name, or when `name` is given into the
// arguments, so that the call counts whatever comes.
std::string forced_call(ToolForm form, std::string_view name);

class CallReader;

class ToolCallParser {
 public:
  // `names`: the tools on offer; needed by kLlama3 alone, where any JSON could be meant as content.
  ToolCallParser(ToolForm form, std::vector<std::string> names);
  ToolCallParser(ToolCallParser&&) noexcept;
  ToolCallParser& operator=(ToolCallParser&&) noexcept;
  ~ToolCallParser();

  void push(std::string_view text, std::vector<AnswerEvent>* events);
  // `cut`: the answer ended for want of room, and what it broke off stays so. Otherwise the strings
  // and objects that this parser itself opened, for DSML's parameters, are closed.
  void finish(bool cut, std::vector<AnswerEvent>* events);

  int32_t calls_ended() const;  // calls whose end has been seen

 private:
  std::unique_ptr<CallReader> reader_;  // null for kNone
};

}  // namespace hadal
