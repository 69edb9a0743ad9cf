// Cross-origin requests (https://fetch.spec.whatwg.org/#http-cors-protocol): which pages a browser
// lets read the answers.
//
// An origin is answered by its own name only when it is listed, so that no page is ever reflected
// unasked; `*` stays `*`, and never comes with credentials.
//
// Pure. Immutable; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/gateway/edge_config.h"
#include "hadal/net/message.h"

namespace hadal::gateway {

// A scheme, a host and perhaps a port, as browsers write it: "https://chat.example.org".
bool is_origin(std::string_view text);
bool is_header_name(std::string_view text);

class Cors {
 public:
  // `config` has been checked.
  explicit Cors(const CorsConfig& config);

  bool on() const { return any_ || !origins_.empty(); }
  // Whether it is a browser's question before the request itself, which no key comes with.
  static bool is_preflight(const net::HttpRequest& request);
  // Of a preflight's answer, 204. An origin that may not ask gets no header that allows anything.
  std::vector<net::Header> preflight(const net::HttpRequest& request) const;
  // That every other answer has, errors too.
  std::vector<net::Header> answer(const net::HttpRequest& request) const;

 private:
  // As Access-Control-Allow-Origin says it; empty: may not.
  std::string_view allowed(std::string_view origin) const;
  bool may_send(std::string_view header) const;

  bool any_ = false;
  bool credentials_ = false;
  std::vector<std::string> origins_;
  std::vector<std::string> headers_;  // lower case
  std::string expose_;
  std::string max_age_;
};

}  // namespace hadal::gateway
