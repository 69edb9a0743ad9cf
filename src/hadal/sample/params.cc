#include "hadal/sample/params.h"

#include <fmt/format.h>

#include <cmath>

#include "hadal/base/limits.h"
#include "hadal/text/unicode.h"

namespace hadal {
namespace {

Status wrong(std::string_view field, const auto& found, std::string_view allowed) {
  return fail(Code::kInvalidInput, fmt::format("{} is {}, allowed is {}", field, found, allowed));
}

Status check_count(std::string_view field, size_t found, size_t most) {
  if (found <= most) return {};
  return fail(Code::kTooLarge,
              fmt::format("{} has {} entries, at most {} are allowed", field, found, most));
}

Status check_token(std::string_view field, TokenId token, int32_t vocabulary) {
  if (token >= 0 && token < vocabulary) return {};
  return fail(Code::kInvalidInput, fmt::format("{} holds token {}, the vocabulary is 0 to {}",
                                               field, token, vocabulary - 1));
}

// Comparisons are written so that NaN fails them.
Status check_numbers(const SamplingParams& p) {
  if (!(p.temperature >= 0.0f && std::isfinite(p.temperature))) {
    return wrong("temperature", p.temperature, "a number from 0");
  }
  if (p.top_k < -1) return wrong("top_k", p.top_k, "1 or more, or 0 or -1 for off");
  if (!(p.top_p > 0.0f && p.top_p <= 1.0f)) return wrong("top_p", p.top_p, "above 0 up to 1");
  if (!(p.min_p >= 0.0f && p.min_p <= 1.0f)) return wrong("min_p", p.min_p, "0 to 1");
  if (!(p.repetition_penalty > 0.0f && std::isfinite(p.repetition_penalty))) {
    return wrong("repetition_penalty", p.repetition_penalty, "a number above 0");
  }
  if (!(std::abs(p.presence_penalty) <= 2.0f)) {
    return wrong("presence_penalty", p.presence_penalty, "-2 to 2");
  }
  if (!(std::abs(p.frequency_penalty) <= 2.0f)) {
    return wrong("frequency_penalty", p.frequency_penalty, "-2 to 2");
  }
  if (p.max_tokens && *p.max_tokens < 1) return wrong("max_tokens", *p.max_tokens, "1 or more");
  if (p.min_tokens < 0) return wrong("min_tokens", p.min_tokens, "0 or more");
  if (p.max_tokens && p.min_tokens > *p.max_tokens) {
    return wrong("min_tokens", p.min_tokens, fmt::format("at most max_tokens, {}", *p.max_tokens));
  }
  return {};
}

}  // namespace

Status SamplingParams::validate(int32_t vocabulary) const {
  HADAL_TRY_VOID(check_numbers(*this));
  HADAL_TRY_VOID(check_count("logit_bias", logit_bias.size(), limits::kLogitBiasMax));
  for (const auto& [token, bias] : logit_bias) {
    HADAL_TRY_VOID(check_token("logit_bias", token, vocabulary));
    if (!(std::abs(bias) <= 100.0f)) {
      return wrong(fmt::format("logit_bias of token {}", token), bias, "-100 to 100");
    }
  }
  HADAL_TRY_VOID(check_count("stop", stop.size(), limits::kStopStringsMax));
  for (const std::string& text : stop) {
    if (text.empty()) return wrong("stop", "an empty string", "text");
    if (!is_valid_utf8(text)) return wrong("stop", "not valid UTF-8", "text");
    if (text.size() > limits::kStopStringBytesMax) {
      return fail(Code::kTooLarge,
                  fmt::format("stop has a string of {} bytes, at most {} are allowed", text.size(),
                              limits::kStopStringBytesMax));
    }
  }
  HADAL_TRY_VOID(check_count("stop_token_ids", stop_token_ids.size(), limits::kLogitBiasMax));
  for (const TokenId token : stop_token_ids) {
    HADAL_TRY_VOID(check_token("stop_token_ids", token, vocabulary));
  }
  return {};
}

}  // namespace hadal
