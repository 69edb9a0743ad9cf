// Any bytes as a request's body: refused with one line that JSON can carry, or values within
// bounds.
#include <cmath>

#include "hadal/api/anthropic.h"
#include "hadal/api/openai.h"
#include "hadal/api/responses.h"
#include "hadal/api/utf8.h"
#include "hadal/base/check.h"
#include "hadal/base/limits.h"

namespace {

using namespace hadal;

void check_refusal(const api::ApiError& error) {
  HADAL_CHECK(!error.message.empty());
  HADAL_CHECK(error.message.find('\n') == std::string::npos, error.message);
  const std::string body = api::error_json(error);
  HADAL_CHECK(api::valid_utf8(body) == body);
  const int status = api::http_status(error.code);
  HADAL_CHECK(status >= 400 && status < 500);
}

void check_request(const api::GenerationBase& request) {
  const api::Sampling& sampling = request.sampling;
  HADAL_CHECK(request.choices >= 1 && request.choices <= limits::kChoicesMax);
  HADAL_CHECK(request.logprobs >= -1 && request.logprobs <= limits::kTopLogprobsMax);
  HADAL_CHECK(sampling.stop.size() <= limits::kStopStringsMax);
  HADAL_CHECK(sampling.logit_bias.size() <= limits::kLogitBiasMax);
  for (const auto& value : {sampling.temperature, sampling.top_p, sampling.min_p,
                            sampling.repetition_penalty, sampling.presence_penalty}) {
    HADAL_CHECK(!value || std::isfinite(*value));
  }
  for (const auto& [token, bias] : sampling.logit_bias) {
    HADAL_CHECK(token >= 0 && bias >= -100.0f && bias <= 100.0f);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  const auto chat = api::parse_chat(body);
  if (chat) {
    check_request(*chat);
    HADAL_CHECK(!chat->messages.empty() && chat->messages.size() <= limits::kMessagesMax);
  } else {
    check_refusal(chat.error());
  }
  const auto completion = api::parse_completion(body);
  if (completion) {
    check_request(*completion);
    HADAL_CHECK(!completion->prompts.empty());
  } else {
    check_refusal(completion.error());
  }
  const auto messages = api::parse_messages_request(body, false);
  if (messages) {
    check_request(*messages);
    HADAL_CHECK(!messages->messages.empty());
  } else {
    check_refusal(messages.error());
  }
  const auto responses = api::parse_responses(body);
  if (responses) {
    check_request(*responses);
    HADAL_CHECK(!responses->messages.empty());
    HADAL_CHECK(api::valid_utf8(responses->echo.fields) == responses->echo.fields);
  } else {
    check_refusal(responses.error());
  }
  const auto tokenize = api::parse_tokenize(body);
  if (!tokenize) check_refusal(tokenize.error());
  const auto detokenize = api::parse_detokenize(body);
  if (!detokenize) check_refusal(detokenize.error());
  return 0;
}
