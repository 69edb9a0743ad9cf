#include "hadal/gateway/cors.h"

#include <gtest/gtest.h>

#include <string>

namespace hadal::gateway {
namespace {

net::HttpRequest request(const char* method, std::vector<net::Header> headers) {
  net::HttpRequest made;
  made.method = method;
  made.path = "/v1/chat/completions";
  made.headers = std::move(headers);
  return made;
}

net::HttpRequest preflight(const char* origin, const char* names = "content-type") {
  return request("OPTIONS", {{"Origin", origin},
                             {"Access-Control-Request-Method", "POST"},
                             {"Access-Control-Request-Headers", names}});
}

std::string get(const std::vector<net::Header>& headers, const char* name) {
  return std::string(net::find_header(headers, name));
}

CorsConfig listed(bool credentials) {
  CorsConfig config;
  config.origins = {"https://chat.example.org", "http://localhost:3000"};
  config.credentials = credentials;
  config.headers = {"X-Mine"};
  return config;
}

TEST(Cors, Origins) {
  for (const char* good : {"https://chat.example.org", "http://localhost:3000", "http://[::1]:80",
                           "tauri://localhost", "chrome-extension://abcdef"}) {
    EXPECT_TRUE(is_origin(good)) << good;
  }
  for (const char* bad : {"", "chat.example.org", "https://", "https://a/", "https://a/b", "null",
                          "https://A.example", "https://a b", "https://u@a", "://a", "https://*.a",
                          "https://a\r\nX: y", "https://a,https://b"}) {
    EXPECT_FALSE(is_origin(bad)) << bad;
  }
}

TEST(Cors, OffAllowsNothing) {
  const Cors cors{CorsConfig{}};
  EXPECT_FALSE(cors.on());
  EXPECT_EQ(get(cors.preflight(preflight("https://a.example")), "Access-Control-Allow-Origin"), "");
}

TEST(Cors, PreflightOfAListedOrigin) {
  const Cors cors(listed(true));
  const auto asked = preflight("http://localhost:3000",
                               "Content-Type,authorization , x-stainless-lang, x-mine, x-other");
  ASSERT_TRUE(Cors::is_preflight(asked));
  const auto headers = cors.preflight(asked);
  EXPECT_EQ(get(headers, "Access-Control-Allow-Origin"), "http://localhost:3000");
  EXPECT_EQ(get(headers, "Access-Control-Allow-Headers"),
            "content-type, authorization, x-stainless-lang, x-mine");
  EXPECT_EQ(get(headers, "Access-Control-Allow-Methods"), "GET, POST, DELETE");
  EXPECT_EQ(get(headers, "Access-Control-Allow-Credentials"), "true");
  EXPECT_EQ(get(headers, "Access-Control-Max-Age"), "600");
  EXPECT_NE(get(headers, "Vary").find("Origin"), std::string::npos);
}

TEST(Cors, NobodyElseIsReflected) {
  const Cors cors(listed(true));
  for (const char* origin : {"https://evil.example", "https://chat.example.org.evil.example",
                             "https://chat.example.org:444", "http://chat.example.org", "null",
                             "https://chat.example.org/", "HTTPS://CHAT.EXAMPLE.ORG", ""}) {
    for (const auto& headers :
         {cors.preflight(preflight(origin)), cors.answer(request("POST", {{"Origin", origin}}))}) {
      for (const net::Header& header : headers) EXPECT_EQ(header.name, "Vary") << origin;
    }
  }
}

TEST(Cors, AnyOriginComesWithoutCredentials) {
  CorsConfig config;
  config.origins = {"*"};
  config.credentials = true;  // refused by the check of the configuration; not believed here either
  const Cors cors(config);
  for (const auto& headers : {cors.preflight(preflight("https://a.example")),
                              cors.answer(request("POST", {{"Origin", "https://a.example"}}))}) {
    EXPECT_EQ(get(headers, "Access-Control-Allow-Origin"), "*");
    EXPECT_EQ(get(headers, "Access-Control-Allow-Credentials"), "");
  }
}

TEST(Cors, AnswersOfAListedOrigin) {
  const Cors cors(listed(false));
  const auto headers = cors.answer(request("POST", {{"Origin", "https://chat.example.org"}}));
  EXPECT_EQ(get(headers, "Access-Control-Allow-Origin"), "https://chat.example.org");
  EXPECT_EQ(get(headers, "Access-Control-Allow-Credentials"), "");
  EXPECT_EQ(get(headers, "Vary"), "Origin");
  EXPECT_NE(get(headers, "Access-Control-Expose-Headers").find("Retry-After"), std::string::npos);
  EXPECT_EQ(get(cors.answer(request("GET", {})), "Vary"), "Origin");
}

TEST(Cors, OnlyWithBothHeadersIsItAPreflight) {
  EXPECT_FALSE(Cors::is_preflight(request("OPTIONS", {{"Origin", "https://a.example"}})));
  EXPECT_FALSE(Cors::is_preflight(request("OPTIONS", {{"Access-Control-Request-Method", "POST"}})));
  EXPECT_FALSE(Cors::is_preflight(request(
      "POST", {{"Origin", "https://a.example"}, {"Access-Control-Request-Method", "POST"}})));
}

TEST(Cors, ManyHeadersAreCut) {
  const Cors cors(listed(false));
  std::string names;
  for (int i = 0; i < 500; ++i) names += "x-hadal-" + std::to_string(i) + ",";
  names += "bad name, x-hadal-\x01";
  const auto headers = cors.preflight(preflight("http://localhost:3000", names.c_str()));
  EXPECT_LT(get(headers, "Access-Control-Allow-Headers").size(), 1'500u);
}

}  // namespace
}  // namespace hadal::gateway
