#include "hadal/net/url.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace hadal::net {
namespace {

bool is_host_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '-' || c == '_';
}
bool is_address_char(char c) {
  return (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || (c >= '0' && c <= '9') || c == ':' ||
         c == '.';
}

}  // namespace

std::string Url::authority() const {
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return port == (tls ? 443 : 80) ? name : fmt::format("{}:{}", name, port);
}

Result<Url> parse_url(std::string_view text) {
  const auto wrong = [&](std::string_view why) {
    return fail(Code::kInvalidInput, fmt::format("found '{}', {}", text.substr(0, 256), why));
  };
  Url url;
  constexpr std::string_view kPlain = "http://", kTls = "https://";
  url.tls = text.starts_with(kTls);
  if (!url.tls && !text.starts_with(kPlain)) return wrong("expected http://... or https://...");
  std::string_view rest = text.substr(url.tls ? kTls.size() : kPlain.size());
  const size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view authority = rest.substr(0, slash);
  std::string_view path = rest.substr(slash);
  if (text.find_first_of("?#") != std::string_view::npos) {
    return wrong("expected no query and no fragment");
  }
  if (authority.find('@') != std::string_view::npos) {
    return wrong("expected no user name; a key has a field of its own");
  }
  std::string_view port;
  if (authority.starts_with('[')) {
    const size_t end = authority.find(']');
    if (end == std::string_view::npos) return wrong("expected ']' after the address");
    url.host = authority.substr(1, end - 1);
    port = authority.substr(end + 1);
    if (!std::all_of(url.host.begin(), url.host.end(), is_address_char)) {
      return wrong("expected an IPv6 address in brackets");
    }
  } else {
    const size_t colon = std::min(authority.find(':'), authority.size());
    url.host = authority.substr(0, colon);
    port = authority.substr(colon);
    if (!std::all_of(url.host.begin(), url.host.end(), is_host_char)) {
      return wrong("expected a host of letters, digits, '.', '-' and '_'");
    }
  }
  if (url.host.empty()) return wrong("expected a host");
  url.port = url.tls ? 443 : 80;
  if (!port.empty()) {
    const auto [end, error] = std::from_chars(port.data() + 1, port.data() + port.size(), url.port);
    if (port[0] != ':' || error != std::errc() || end != port.data() + port.size() ||
        url.port == 0) {
      return wrong("expected a port from 1 to 65535");
    }
  }
  while (path.ends_with('/')) path.remove_suffix(1);
  const bool plain = std::all_of(path.begin(), path.end(),
                                 [](char c) { return c > 0x20 && c < 0x7f && c != '"'; });
  if (!plain) return wrong("expected a path of printable ASCII");
  url.path = path;
  return url;
}

}  // namespace hadal::net
