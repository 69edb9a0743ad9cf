// The file of a batch: a request a line, `{"custom_id": ..., "method": "POST", "url": ..., "body":
// {...}}`, as OpenAI's batches have it.
//
// Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"

namespace hadal::api {

struct BatchLine {
  std::string custom_id;
  size_t offset = 0;  // of the line in its file, without the line's end
  size_t length = 0;
};

// What is wrong with a file, in the terms of OpenAI's `errors.data`.
struct LineFault {
  std::string code;
  std::string message;
  std::string param;  // may be empty
  int64_t line = 0;   // from 1; 0: the file as a whole
  bool operator==(const LineFault&) const = default;
};

struct BatchInput {
  std::vector<BatchLine> lines;
  std::vector<LineFault> faults;  // empty: the file is good
};

struct BatchInputLimits {
  size_t lines = 50'000;
  size_t line_bytes = 16u << 20;
};
inline constexpr size_t kBatchFaultsMax = 50;  // more are not looked for
inline constexpr size_t kCustomIdBytesMax = 512;

// Empty lines are no requests, but count as lines. `endpoint`: where all requests must go.
BatchInput read_batch_input(std::string_view file, std::string_view endpoint,
                            const BatchInputLimits& limits);

// The body of a good line, as JSON. kCorrupt: it is not one, so the file has changed.
Result<std::string> batch_line_body(std::string_view line);

// What came of a request.
struct LineAnswer {
  int status = 0;
  std::string request_id;
  std::string body;
};
// A line of an output or error file, without the line's end. A body that is no JSON becomes a
// string.
std::string batch_result(std::string_view id, std::string_view custom_id, const LineAnswer& answer);
std::string batch_error(std::string_view id, std::string_view custom_id, std::string_view code,
                        std::string_view message);

// `errors.data` as JSON, and `errors` around it.
std::string batch_faults(const std::vector<LineFault>& faults);

}  // namespace hadal::api
