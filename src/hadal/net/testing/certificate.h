// For tests: certificates that are made when they are needed.
#pragma once

#include <string>

namespace hadal::net {

struct Certificate {
  std::string key;  // PEM
  std::string certificate;
};

// Signed by itself, for `names` ("DNS:localhost,IP:127.0.0.1"), valid for an hour before and after
// `shift` seconds from now.
Certificate make_certificate(const char* names, long shift = 0);

}  // namespace hadal::net
