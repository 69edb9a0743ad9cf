// A chat request as the tokens that a model answers, and how to read what it answers.
//
// Pure, any thread.
#pragma once

#include <string>
#include <vector>

#include "hadal/api/openai.h"
#include "hadal/apps/served_model.h"
#include "hadal/engine/engine.h"
#include "hadal/text/parse_answer.h"

namespace hadal::apps {

struct ChatPrompt {
  std::vector<TokenId> tokens;
  AnswerFormat format;
  std::string primed;  // what the tokens already hold of the answer: a forced call's beginning
  Steering steering;
  std::vector<TokenId> shown_tokens;  // markers that the parser must see
};

// A call that must come is begun for the model, up to the name or, of the only tool, up to the
// arguments: at the end of the prompt, or where its thinking ends. Likewise the brace of a JSON
// answer. kUnsupported: the model lacks what the request needs; says what.
// `local_seconds`: see base/local_time.h, for templates that tell the date.
api::Parsed<ChatPrompt> chat_prompt(const ServedModel& model, const api::ChatRequest& request,
                                    int64_t local_seconds);

// Prompt and suffix in the model's tokens for filling in; kUnsupported if it has none.
api::Parsed<std::vector<TokenId>> infill_prompt(const ServedModel& model, std::string_view prompt,
                                                std::string_view suffix);

}  // namespace hadal::apps
