#include "hadal/gateway/cors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "hadal/base/ascii.h"

namespace hadal::gateway {
namespace {

constexpr std::string_view kUsual[] = {"authorization", "content-type",    "x-api-key", "accept",
                                       "cache-control", "idempotency-key", "user-agent"};
// Client libraries that run in browsers send many, with these beginnings.
constexpr std::string_view kUsualBeginnings[] = {"x-hadal-", "x-stainless-", "anthropic-",
                                                 "openai-"};
constexpr std::string_view kExposed =
    "Retry-After, X-Request-Id, X-Hadal-Backend, X-Hadal-Cache, X-Hadal-Limit, X-Hadal-Soft-Limit, "
    "X-Hadal-Route, X-Hadal-Rollout";
constexpr size_t kAskedMax = 100;  // headers that one preflight names

std::vector<std::string> listed(std::string_view text) {
  std::vector<std::string> names;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    std::string_view one = text.substr(0, comma);
    text = comma == text.npos ? std::string_view() : text.substr(comma + 1);
    while (!one.empty() && (one.front() == ' ' || one.front() == '\t')) one.remove_prefix(1);
    while (!one.empty() && (one.back() == ' ' || one.back() == '\t')) one.remove_suffix(1);
    if (!one.empty()) names.push_back(lower(one));
  }
  return names;
}

}  // namespace

bool is_header_name(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";  // RFC 9110, 5.6.2
  return !text.empty() && text.size() <= 128 && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kMarks.find(c) != kMarks.npos;
  });
}

bool is_origin(std::string_view text) {
  const size_t scheme = text.find("://");
  if (scheme == text.npos || scheme == 0 || text.size() > 512) return false;
  const std::string_view host = text.substr(scheme + 3);
  if (host.empty() || host.find_first_of("/?#@ \t\r\n*,\"'") != host.npos) return false;
  return std::none_of(text.begin(), text.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || static_cast<unsigned char>(c) <= ' ' || c == 0x7f;
  });
}

Cors::Cors(const CorsConfig& config)
    : credentials_(config.credentials), max_age_(std::to_string(config.max_age.count() / 1'000)) {
  for (const std::string& origin : config.origins) {
    if (origin == "*") {
      any_ = true;
    } else {
      origins_.push_back(origin);
    }
  }
  if (any_) credentials_ = false;
  for (const std::string& name : config.headers) headers_.push_back(lower(name));
  expose_ = kExposed;
  for (const std::string& name : config.expose) expose_ += ", " + name;
}

bool Cors::is_preflight(const net::HttpRequest& request) {
  return request.method == "OPTIONS" && !request.header("origin").empty() &&
         !request.header("access-control-request-method").empty();
}

std::string_view Cors::allowed(std::string_view origin) const {
  const auto found = std::find(origins_.begin(), origins_.end(), origin);
  if (found != origins_.end()) return *found;
  return any_ && !origin.empty() ? std::string_view("*") : std::string_view();
}

bool Cors::may_send(std::string_view header) const {
  return std::find(std::begin(kUsual), std::end(kUsual), header) != std::end(kUsual) ||
         std::any_of(std::begin(kUsualBeginnings), std::end(kUsualBeginnings),
                     [&](std::string_view begin) { return header.starts_with(begin); }) ||
         std::find(headers_.begin(), headers_.end(), header) != headers_.end();
}

std::vector<net::Header> Cors::preflight(const net::HttpRequest& request) const {
  std::vector<net::Header> headers = {
      {"Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}};
  const std::string_view origin = allowed(request.header("origin"));
  if (origin.empty()) return headers;
  std::string names;
  size_t asked = 0;
  for (const std::string& name : listed(request.header("access-control-request-headers"))) {
    if (++asked > kAskedMax || !is_header_name(name) || !may_send(name)) continue;
    names += (names.empty() ? "" : ", ") + name;
  }
  headers.push_back({"Access-Control-Allow-Origin", std::string(origin)});
  headers.push_back({"Access-Control-Allow-Methods", "GET, POST, DELETE"});
  if (!names.empty()) headers.push_back({"Access-Control-Allow-Headers", std::move(names)});
  if (credentials_) headers.push_back({"Access-Control-Allow-Credentials", "true"});
  headers.push_back({"Access-Control-Max-Age", max_age_});
  return headers;
}

std::vector<net::Header> Cors::answer(const net::HttpRequest& request) const {
  // Also to those without an origin: a cache between must not give them each other's answers.
  std::vector<net::Header> headers;
  if (!any_) headers.push_back({"Vary", "Origin"});
  const std::string_view origin = allowed(request.header("origin"));
  if (origin.empty()) return headers;
  headers.push_back({"Access-Control-Allow-Origin", std::string(origin)});
  if (credentials_) headers.push_back({"Access-Control-Allow-Credentials", "true"});
  headers.push_back({"Access-Control-Expose-Headers", expose_});
  return headers;
}

}  // namespace hadal::gateway
