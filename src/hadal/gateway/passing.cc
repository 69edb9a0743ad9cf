#include "hadal/gateway/passing.h"

#include <algorithm>
#include <array>
#include <utility>

#include "hadal/api/anthropic.h"
#include "hadal/base/ascii.h"

namespace hadal::gateway {
namespace {

template <size_t N>
bool is_one_of(std::string_view name, const std::array<std::string_view, N>& names) {
  return std::any_of(names.begin(), names.end(),
                     [&](std::string_view known) { return equal_in_any_case(name, known); });
}

constexpr std::array<std::string_view, 9> kOfOneConnection = {
    "Connection", "Keep-Alive", "Proxy-Connection",  "Proxy-Authenticate",
    "TE",         "Trailer",    "Transfer-Encoding", "Proxy-Authorization",
    "Upgrade"};
constexpr std::array<std::string_view, 9> kNotToUpstream = {
    "Host",   "Content-Length", "Authorization", "X-Api-Key", "Api-Key",
    "Cookie", "Expect",         "Forwarded",     "Via"};
constexpr std::array<std::string_view, 4> kNotToClient = {"Content-Length", "Date", "Server",
                                                          "Set-Cookie"};

// Is `name` listed in a Connection header?
bool is_named_by_connection(const std::vector<net::Header>& headers, std::string_view name) {
  for (const net::Header& header : headers) {
    if (!equal_in_any_case(header.name, "Connection")) continue;
    std::string_view rest = header.value;
    while (!rest.empty()) {
      const size_t comma = std::min(rest.find(','), rest.size());
      std::string_view token = rest.substr(0, comma);
      rest.remove_prefix(std::min(comma + 1, rest.size()));
      while (!token.empty() && (token.front() == ' ' || token.front() == '\t')) {
        token.remove_prefix(1);
      }
      while (!token.empty() && (token.back() == ' ' || token.back() == '\t')) {
        token.remove_suffix(1);
      }
      if (equal_in_any_case(token, name)) return true;
    }
  }
  return false;
}

template <size_t N>
std::vector<net::Header> filtered(const std::vector<net::Header>& headers,
                                  const std::array<std::string_view, N>& without) {
  std::vector<net::Header> kept;
  for (const net::Header& header : headers) {
    const bool forwarded =
        header.name.size() > 12 &&
        equal_in_any_case(std::string_view(header.name).substr(0, 12), "X-Forwarded-");
    // What pages may ask here is said here.
    const bool cors =
        header.name.size() > 15 &&
        equal_in_any_case(std::string_view(header.name).substr(0, 15), "Access-Control-");
    if (forwarded || cors || is_one_of(header.name, kOfOneConnection) ||
        is_one_of(header.name, without) || is_named_by_connection(headers, header.name)) {
      continue;
    }
    kept.push_back(header);
  }
  return kept;
}

}  // namespace

std::string_view upstream_path(std::string_view path) {
  constexpr std::array<std::string_view, 5> kBases = {"/beta/v1", "/v1", "/beta", "/anthropic/v1",
                                                      ""};
  constexpr std::array<std::string_view, 6> kPaths = {
      "/chat/completions", "/completions",           "/responses",
      "/messages",         "/messages/count_tokens", "/embeddings"};
  for (const std::string_view base : kBases) {
    if (!path.starts_with(base)) continue;
    const std::string_view rest = path.substr(base.size());
    const auto found = std::find(kPaths.begin(), kPaths.end(), rest);
    if (found == kPaths.end()) continue;
    const bool anthropic = rest.starts_with("/messages");
    // Addresses that this server does not have itself are not invented here.
    if (anthropic ? base != "/v1" && base != "/anthropic/v1" : base == "/anthropic/v1") continue;
    return *found;
  }
  return {};
}

int64_t prompt_tokens(const net::HttpRequest& request) {
  constexpr int64_t kTokenBytes = 4;  // of English and JSON, about
  return static_cast<int64_t>(request.body.size()) / kTokenBytes + 1;
}

std::string error_body(std::string_view path, const api::ApiError& error) {
  const bool anthropic = upstream_path(path).starts_with("/messages");
  return anthropic ? api::messages_error(error) : api::error_json(error);
}

std::vector<net::Header> request_headers(const std::vector<net::Header>& headers,
                                         const std::string& key) {
  std::vector<net::Header> passed = filtered(headers, kNotToUpstream);
  if (!key.empty()) {
    passed.push_back({"Authorization", "Bearer " + key});
    // Anthropic's protocol has a header of its own.
    if (!net::find_header(headers, "anthropic-version").empty()) {
      passed.push_back({"X-Api-Key", key});
    }
  }
  return passed;
}

std::vector<net::Header> answer_headers(const std::vector<net::Header>& headers,
                                        const std::string& backend) {
  std::vector<net::Header> passed = filtered(headers, kNotToClient);
  passed.push_back({"X-Hadal-Backend", backend});
  return passed;
}

}  // namespace hadal::gateway
