// Private to api: what answers of several protocols are made of.
#pragma once

#include <span>
#include <string_view>

#include "hadal/api/openai_answer.h"

namespace boost::json {
class array;
}

namespace hadal::api {

// Of -infinity a number that stands for it.
double finite(float logprob);
// OpenAI's list of tokens with their alternatives.
boost::json::array scores_array(std::span<const TokenScores> scores);

// Calls the functions for the choice's runs, in order; without runs its reasoning, then its
// content, then its calls.
template <class Reasoning, class Content, class Call>
void in_order(const AnswerChoice& choice, const Reasoning& reasoning, const Content& content,
              const Call& call) {
  using Kind = AnswerRun::Kind;
  std::string_view thought = choice.reasoning;
  std::string_view text = choice.content;
  size_t calls = 0;
  for (const AnswerRun& run : choice.runs) {
    if (run.kind == Kind::kReasoning) {
      reasoning(thought.substr(0, run.bytes));
      thought.remove_prefix(run.bytes);
    } else if (run.kind == Kind::kContent) {
      content(text.substr(0, run.bytes));
      text.remove_prefix(run.bytes);
    } else {
      call(choice.calls[calls++]);
    }
  }
  if (!thought.empty()) reasoning(thought);
  if (!text.empty()) content(text);
  while (calls < choice.calls.size()) call(choice.calls[calls++]);
}

}  // namespace hadal::api
