// OpenAI's batches, as a client asks for one. What their files hold is gateway/batch_input.h.
//
// Pure: no I/O, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "hadal/api/error.h"
#include "hadal/api/fields.h"

namespace hadal::api {

struct BatchRequest {
  std::string input_file;
  std::string endpoint;
  std::string window;  // as written: "24h"
  int64_t window_seconds = 0;
  std::string metadata;                 // a JSON object, or empty
  std::optional<int64_t> keep_results;  // seconds
};

inline constexpr int64_t kKeepLeast = 3'600;  // of `expires_after`, seconds
inline constexpr int64_t kKeepMost = 30 * 24 * 3'600;

Parsed<BatchRequest> parse_batch(std::string_view body);
const FieldTable& batch_fields();

// "250s", "30m", "24h", "7d" in seconds.
std::optional<int64_t> parse_window(std::string_view text);

}  // namespace hadal::api
