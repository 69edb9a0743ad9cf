// OpenAI's Responses protocol, without a store: every request brings its whole conversation. Its
// requests as the one ChatRequest that every protocol becomes, and answers in its form.
//
// Pure: no I/O, any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "hadal/api/openai.h"
#include "hadal/api/openai_answer.h"

namespace hadal::api {

// What an answer repeats of its request.
struct ResponsesEcho {
  std::string fields;             // a JSON object
  bool sealed_reasoning = false;  // reasoning items have encrypted_content
};

struct ResponsesRequest : ChatRequest {
  ResponsesEcho echo;
};

Parsed<ResponsesRequest> parse_responses(std::string_view body);

// What the parser obeys.
const FieldTable& responses_fields();

std::unique_ptr<AnswerForm> responses_form(AnswerInfo info, ResponsesEcho echo);

}  // namespace hadal::api
