#include "hadal/api/error.h"

#include <boost/json.hpp>

#include "hadal/api/utf8.h"

namespace hadal::api {
namespace {

struct Row {
  int status;
  std::string_view type;
  std::string_view name;
};

Row row_of(Code code) {
  switch (code) {
    case Code::kInvalidInput:
      return {400, "invalid_request_error", "invalid_value"};
    case Code::kNotFound:
      return {404, "invalid_request_error", "not_found"};
    case Code::kUnsupported:
      return {400, "invalid_request_error", "unsupported"};
    case Code::kTooLarge:
      return {413, "invalid_request_error", "too_large"};
    case Code::kExhausted:
      return {429, "rate_limit_error", "overloaded"};
    case Code::kCancelled:
      return {499, "invalid_request_error", "cancelled"};
    case Code::kDeadline:
      return {504, "server_error", "timeout"};
    case Code::kUnavailable:
      return {503, "server_error", "unavailable"};
    case Code::kUnauthorized:
      return {401, "invalid_request_error", "invalid_api_key"};
    case Code::kForbidden:
      return {403, "permission_error", "forbidden"};
    case Code::kCorrupt:
    case Code::kInternal:
      break;
  }
  return {500, "server_error", "internal_error"};
}

}  // namespace

int http_status(Code code) { return row_of(code).status; }
std::string_view error_type(Code code) { return row_of(code).type; }
std::string_view error_name(Code code) { return row_of(code).name; }

Code code_for_status(int status) {
  switch (status) {
    case 401:
      return Code::kUnauthorized;
    case 403:
      return Code::kForbidden;
    case 404:
      return Code::kNotFound;
    case 408:
    case 504:
      return Code::kDeadline;
    case 413:
    case 431:
      return Code::kTooLarge;
    case 429:
      return Code::kExhausted;
    case 501:
    case 505:
      return Code::kUnsupported;
    case 503:
      return Code::kUnavailable;
    default:
      return status >= 500 ? Code::kInternal : Code::kInvalidInput;
  }
}

std::string error_json(const ApiError& error) {
  boost::json::object inner;
  inner["message"] = valid_utf8(error.message);
  inner["type"] = error_type(error.code);
  inner["param"] = nullptr;
  if (!error.param.empty()) inner["param"] = valid_utf8(error.param);
  inner["code"] = error.name.empty() ? error_name(error.code) : std::string_view(error.name);
  boost::json::object outer;
  outer["error"] = std::move(inner);
  return boost::json::serialize(outer);
}

}  // namespace hadal::api
