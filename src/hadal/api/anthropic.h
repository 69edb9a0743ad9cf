// Anthropic's Messages protocol: its requests as the one ChatRequest that every protocol becomes,
// and answers in its form.
//
// Pure: no I/O, any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "hadal/api/openai.h"
#include "hadal/api/openai_answer.h"

namespace hadal::api {

// `counting`: of /v1/messages/count_tokens, which needs no max_tokens.
Parsed<ChatRequest> parse_messages_request(std::string_view body, bool counting);

// What the parser obeys. They differ in what is required.
const FieldTable& messages_fields();
const FieldTable& count_tokens_fields();

std::unique_ptr<AnswerForm> messages_form(AnswerInfo info);
// {"type": "error", "error": {"type", "message"}}
std::string messages_error(const ApiError& error);
std::string count_answer(int64_t tokens);

}  // namespace hadal::api
