// A request that is refused, in OpenAI's form: {"error": {"message", "type", "param", "code"}}.
#pragma once

#include <string>
#include <string_view>

#include "hadal/base/result.h"

namespace hadal::api {

struct ApiError {
  ApiError() = default;
  ApiError(Error error) : code(error.code), message(std::move(error.what)) {}  // NOLINT: by design
  ApiError(Code c, std::string text, std::string field = {}, std::string label = {})
      : code(c), message(std::move(text)), param(std::move(field)), name(std::move(label)) {}

  Code code = Code::kInternal;
  std::string
      message;  // for the caller: what was found, what is expected. No path, address or secret
  std::string param;  // the field at fault; empty: null on the wire
  std::string name;   // OpenAI's "code" when it is more exact than the table's; may be empty
};

template <class T>
using Parsed = tl::expected<T, ApiError>;

// The one table from Code to HTTP.
int http_status(Code code);
// OpenAI's "type" and default "code" for it.
std::string_view error_type(Code code);
std::string_view error_name(Code code);
// The nearest Code for a status that a lower layer decided.
Code code_for_status(int status);

// The body, one line of JSON.
std::string error_json(const ApiError& error);

}  // namespace hadal::api

namespace hadal {
inline tl::unexpected<api::ApiError> fail(api::ApiError error) {
  return tl::unexpected<api::ApiError>(std::move(error));
}
}  // namespace hadal
