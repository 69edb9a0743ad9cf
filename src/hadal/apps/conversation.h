// One answer of a runtime in this process, event by event, for a terminal.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "hadal/apps/runtime.h"
#include "hadal/apps/signals.h"
#include "hadal/text/chat.h"
#include "hadal/text/parse_answer.h"

namespace hadal::apps {

struct LocalAnswer {
  std::string reasoning;
  std::string content;
  Usage usage;
  double seconds = 0;
  bool interrupted = false;  // by a signal; what came before it is here
};

struct LocalRequest {
  std::span<const ChatMessage> messages;
  bool thinking = true;
  std::optional<float> temperature;  // the model's default
  std::optional<uint64_t> seed;
  std::optional<int32_t> max_tokens;
};

// Blocks until the answer is complete. `show` gets each piece as it comes, reasoning or content. A
// signal from `signals` ends the answer.
Result<LocalAnswer> answer_locally(Runtime& runtime, const LocalRequest& request, Signals& signals,
                                   const std::function<void(const AnswerEvent&)>& show);

}  // namespace hadal::apps
