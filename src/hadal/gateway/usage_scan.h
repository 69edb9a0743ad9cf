// What an upstream's answer says it used, found in its bytes as they pass by: of OpenAI's,
// DeepSeek's and Anthropic's forms, whole or streamed. A quote inside a JSON string is escaped, so
// that no text of a model can pass for a count.
//
// Pure; one thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "hadal/gateway/limits.h"

namespace hadal::gateway {

class UsageScan {
 public:
  // The next piece, however the answer is cut.
  void push(std::string_view bytes);
  // So far. Of a stream that says nothing each event counts as a token of the answer, and the
  // prompt as `prompt_tokens`; of an answer that has not begun, nothing.
  Tokens tokens(int64_t prompt_tokens) const;
  // Whether the answer has said how long prompt and answer are.
  bool is_reported() const { return prompt_ >= 0 && output_ >= 0; }

 private:
  void take(std::string_view key, int64_t value);

  std::string kept_;  // the end of what came before: a key or a number may go on
  int64_t prompt_ = -1, output_ = -1, hit_ = 0, read_ = 0, written_ = 0;
  int64_t events_ = 0;
};

}  // namespace hadal::gateway
