// What a gateway must know of a request's JSON, found without building a tree of it: so a body of
// megabytes costs one pass, and what is passed on keeps its bytes.
//
// Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "hadal/base/result.h"

namespace hadal::gateway {

struct BodyScan {
  std::string model;       // decoded; empty: not said
  size_t model_begin = 0;  // of the value as written, with its quotes
  size_t model_end = 0;    // 0: there is none
  size_t inside = 0;       // behind the body's '{'
  bool is_empty = false;   // "{}"
  bool stream = false;
  bool has_thinking = false;  // "thinking"
  bool has_effort = false;    // "reasoning_effort"
  int64_t max_tokens = 0;     // 0: not said
  // Equal for all requests of one conversation, and for conversations that begin alike: of the
  // messages up to the first of a user, or of how the prompt begins.
  uint64_t prefix_hash = 0;
  // Whom the request is for: "user", "user_id", or "user_id" in "metadata"; empty: not said.
  std::string user;
};

// kInvalidInput: the body is not a JSON object as far as its form goes, or says "model" twice, in
// which two readers could disagree.
Result<BodyScan> scan_body(std::string_view body);

struct BodyChanges {
  std::string model;             // always replaced
  std::optional<bool> thinking;  // put in where the body says nothing of thinking or effort
  std::string effort;            // as DeepSeek's reasoning_effort
};
// The body with another model name; every other byte as it was.
std::string rewrite_body(std::string_view body, const BodyScan& scan, const BodyChanges& changes);

}  // namespace hadal::gateway
