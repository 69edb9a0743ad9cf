// The address of an HTTP server: scheme, host, port, and what its paths begin with.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "hadal/base/result.h"

namespace hadal::net {

struct Url {
  bool tls = false;
  std::string host;  // a name or an address, IPv6 without brackets
  uint16_t port = 80;
  std::string path;  // empty, or begins with '/' and does not end with it

  // What a request's Host header says.
  std::string authority() const;
  bool operator==(const Url&) const = default;
};

// "http://host[:port][/path]" or "https://...". kInvalidInput says what is wrong; user names,
// queries and fragments are refused, since nothing would use them.
Result<Url> parse_url(std::string_view text);

}  // namespace hadal::net
