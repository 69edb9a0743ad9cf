// The most tokens that a request can cost.
//
// Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hadal::gateway {

struct AnswerBound {
  int64_t prompt = 0;  // no token is shorter than a byte
  int64_t output = 0;  // of all answers together
};

// A body that says no maximum gets `answer_max`, in the field of the path's protocol. Nothing: what
// it says is no number, so that there is no bound. `body`: JSON.
std::optional<AnswerBound> bound_answer(std::string_view path, std::string* body,
                                        int64_t answer_max);

}  // namespace hadal::gateway
