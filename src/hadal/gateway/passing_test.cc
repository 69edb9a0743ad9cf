#include "hadal/gateway/passing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hadal::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string lines(const std::vector<net::Header>& headers) {
  std::string text;
  for (const net::Header& header : headers) text += header.name + ": " + header.value + "\n";
  return text;
}

TEST(Passing, Paths) {
  const struct {
    const char* path;
    const char* upstream;
  } cases[] = {
      {"/v1/chat/completions", "/chat/completions"},
      {"/chat/completions", "/chat/completions"},
      {"/beta/v1/completions", "/completions"},
      {"/beta/completions", "/completions"},
      {"/v1/responses", "/responses"},
      {"/v1/embeddings", "/embeddings"},
      {"/v1/messages", "/messages"},
      {"/anthropic/v1/messages/count_tokens", "/messages/count_tokens"},
      {"/messages", ""},
      {"/anthropic/v1/chat/completions", ""},
      {"/v1/chat/completions/", ""},
      {"/v1/../chat/completions", ""},
      {"/v1/models", ""},
      {"/metrics", ""},
      {"/", ""},
      {"", ""},
  };
  for (const auto& one : cases) EXPECT_EQ(upstream_path(one.path), one.upstream) << one.path;
}

TEST(Passing, RequestHeaders) {
  const std::vector<net::Header> headers = {{"host", "h"},
                                            {"AUTHORIZATION", "Bearer mine"},
                                            {"x-api-key", "mine"},
                                            {"Accept", "a"},
                                            {"connection", "close , X-One,x-two"},
                                            {"X-ONE", "1"},
                                            {"X-Two", "2"},
                                            {"Te", "trailers"},
                                            {"transfer-encoding", "chunked"},
                                            {"Content-Length", "5"},
                                            {"X-Forwarded-Host", "f"},
                                            {"Content-Type", "j"}};
  EXPECT_EQ(lines(request_headers(headers, "k")),
            "Accept: a\nContent-Type: j\nAuthorization: Bearer k\n");
  EXPECT_EQ(lines(request_headers(headers, "")), "Accept: a\nContent-Type: j\n");
  EXPECT_THAT(lines(request_headers({{"Anthropic-Version", "v"}}, "k")),
              HasSubstr("X-Api-Key: k\n"));
}

TEST(Passing, AnswerHeaders) {
  EXPECT_EQ(lines(answer_headers({{"Content-Type", "t"},
                                  {"Keep-Alive", "timeout=5"},
                                  {"Transfer-Encoding", "chunked"},
                                  {"Content-Length", "3"},
                                  {"Set-Cookie", "a=b"},
                                  {"Retry-After", "7"},
                                  {"Upgrade", "h2c"}},
                                 "name")),
            "Content-Type: t\nRetry-After: 7\nX-Hadal-Backend: name\n");
}

TEST(Passing, ErrorsInTheProtocolOfThePath) {
  const api::ApiError error(Code::kUnavailable, "why", {}, "code");
  EXPECT_THAT(error_body("/v1/messages", error), HasSubstr(R"("type":"error")"));
  EXPECT_THAT(error_body("/v1/chat/completions", error), HasSubstr(R"("code":"code")"));
}

}  // namespace
}  // namespace hadal::gateway
