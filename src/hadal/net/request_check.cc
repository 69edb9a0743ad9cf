#include "hadal/net/request_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "hadal/base/ascii.h"

namespace hadal::net {
namespace {}  // namespace

Refusal check_framing(const HttpRequest& request, bool http11, size_t body_bytes_max) {
  std::string_view length, coding, expect;
  int lengths = 0, codings = 0;
  for (const Header& header : request.headers) {
    if (equal_in_any_case(header.name, "content-length")) {
      ++lengths;
      length = header.value;
    } else if (equal_in_any_case(header.name, "transfer-encoding")) {
      ++codings;
      if (coding.empty()) coding = header.value;
    } else if (expect.empty() && equal_in_any_case(header.name, "expect")) {
      expect = header.value;
    }
  }
  if (lengths > 1 || length.find_first_not_of("0123456789") != length.npos ||  // "5, 5": two
      (codings > 0 && (lengths > 0 || !http11))) {
    return {400, "a request has one Content-Length or Transfer-Encoding: chunked, not both"};
  }
  if (codings > 0 && !equal_in_any_case(coding, "chunked")) {
    return {501, "the only Transfer-Encoding understood here is chunked"};
  }
  size_t bytes = 0;
  const auto read = std::from_chars(length.data(), length.data() + length.size(), bytes);
  if (!length.empty() && (read.ec != std::errc() || bytes > body_bytes_max)) {
    return {413, fmt::format("the request body has {} bytes, at most {} are allowed", length,
                             body_bytes_max)};
  }
  if (!expect.empty() && !equal_in_any_case(expect, "100-continue")) {
    return {417, "the only expectation understood here is 100-continue"};
  }
  return {};
}

}  // namespace hadal::net
