// A model's answer as it arrives: reasoning first, then content and tool calls. The whole answer
// and the stream of it are made by this one parser, so they carry the same message.
//
// Threads: one stream, one thread at a time.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "hadal/text/parse_tools.h"
#include "hadal/text/reasoning.h"

namespace hadal {

struct AnswerFormat {
  bool reasons = false;           // <think> in an answer is a marker, not text
  bool inside_reasoning = false;  // the prompt ends inside <think>
  ToolForm tools = ToolForm::kNone;
  std::vector<std::string> tool_names = {};
  bool thinking_closed = false;  // the prompt ends with the </think> of a thinking without words
};

class AnswerParser {
 public:
  explicit AnswerParser(AnswerFormat format)
      : reasoning_(format.reasons, format.reasons && format.inside_reasoning,
                   call_openers(format.tools), format.thinking_closed),
        calls_(format.tools, std::move(format.tool_names)) {}

  std::vector<AnswerEvent> push(std::string_view text) { return take(reasoning_.push(text)); }
  // `cut`: the answer ended for want of room.
  std::vector<AnswerEvent> finish(bool cut) {
    std::vector<AnswerEvent> events = take(reasoning_.finish());
    calls_.finish(cut, &events);
    return events;
  }

  bool inside_reasoning() const { return reasoning_.inside(); }
  int32_t calls_ended() const { return calls_.calls_ended(); }

 private:
  std::vector<AnswerEvent> take(const ReasoningDelta& delta) {
    std::vector<AnswerEvent> events;
    append_event({AnswerEvent::Kind::kReasoning, 0, delta.reasoning}, &events);
    calls_.push(delta.content, &events);
    return events;
  }

  ReasoningSplitter reasoning_;
  ToolCallParser calls_;
};

}  // namespace hadal
