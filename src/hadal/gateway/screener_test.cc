#include "hadal/gateway/screener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace hadal::gateway {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::shared_ptr<const Screener> make(SensitivityConfig config = {}) {
  config.on = true;
  auto made = Screener::make(config);
  EXPECT_TRUE(made);
  return *made;
}

net::HttpRequest chat(std::string body) {
  net::HttpRequest request;
  request.method = "POST";
  request.path = "/v1/chat/completions";
  request.headers = {{"Content-Type", "application/json"}};
  request.body = std::move(body);
  return request;
}

std::string said(std::string_view content) {
  return R"({"model":"m","messages":[{"role":"user","content":")" + std::string(content) + "\"}]}";
}

TEST(Screener, LetsHarmlessTextGo) {
  const Screening seen = make()->screen(chat(said("What is 17 + 25? 在 2025-11-22 见")));
  EXPECT_THAT(seen.labels, IsEmpty());
  EXPECT_FALSE(seen.stays);
  EXPECT_THAT(seen.spans, IsEmpty());
}

// Wherever in a request of whatever protocol text can stand.
class Everywhere : public testing::TestWithParam<const char*> {};
TEST_P(Everywhere, IsLookedAt) {
  const Screening seen = make()->screen(chat(GetParam()));
  EXPECT_THAT(seen.labels, ElementsAre("phone"));
  EXPECT_TRUE(seen.stays);
  EXPECT_EQ(seen.reason.find("138"), std::string::npos);
}
INSTANTIATE_TEST_SUITE_P(
    Fields, Everywhere,
    testing::Values(
        R"({"messages":[{"role":"system","content":"13800138000"},{"role":"user","content":"x"}]})",
        R"({"messages":[{"role":"user","content":[{"type":"text","text":"13800138000"}]}]})",
        R"({"messages":[{"role":"user","content":[{"type":"text","text":"tel 1380"},
            {"type":"text","text":"0138000"}]}]})",
        R"({"messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":
            {"name":"f","arguments":"{\"n\":\"13800138000\"}"}}]}]})",
        R"({"messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":
            {"name":"f","arguments":"{\"n\":\"\\u0031\\u0033800138000\"}"}}]}]})",
        R"({"messages":[{"role":"tool","tool_call_id":"c","content":"{\"n\":13800138000}"}]})",
        R"({"messages":[{"role":"user","content":"\u0031\u00338\u0030\u0030138000"}]})",
        R"({"messages":[{"role":"user","content":"\uff11\uff13\uff18００１３８０００"}]})",
        R"({"messages":[{"role":"user","content":"1 3 8 0 0 1 3 8 0 0 0"}]})",
        R"({"messages":[{"role":"user","content":"x","name":"13800138000"}]})",
        R"({"messages":[],"user":"13800138000"})",
        R"({"messages":[],"metadata":{"p":13800138000}})",
        R"({"messages":[],"metadata":{"13800138000":1}})",
        R"({"tools":[{"type":"function","function":{"description":"call 13800138000"}}]})",
        R"({"prompt":"13800138000"})", R"({"prompt":["a","13800138000"]})",
        R"({"suffix":"13800138000"})", R"({"input":"13800138000"})",
        R"({"input":[{"role":"user","content":[{"type":"input_text","text":"13800138000"}]}]})",
        R"({"input":[{"type":"function_call_output","call_id":"c","output":"13800138000"}]})",
        R"({"instructions":"13800138000"})", R"({"system":[{"type":"text","text":"13800138000"}]})",
        R"({"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":
            [{"type":"text","text":"13800138000"}]}]}]})",
        R"({"messages":[{"role":"assistant","content":[{"type":"tool_use","input":
            {"n":"13800138000"}}]}]})",
        R"({"stop":["13800138000"]})", R"({"anything":{"else":[[["13800138000"]]]}})"));

// What nobody can look into.
class Closed : public testing::TestWithParam<std::pair<std::string, const char*>> {};
TEST_P(Closed, Stays) {
  const Screening seen = make()->screen(chat(GetParam().first));
  EXPECT_THAT(seen.labels, ElementsAre(GetParam().second));
  EXPECT_TRUE(seen.stays);
}
INSTANTIATE_TEST_SUITE_P(
    Bodies, Closed,
    testing::Values(
        std::pair(std::string("{"), "unreadable"), std::pair(std::string(), "unreadable"),
        std::pair(std::string("[]"), "unreadable"), std::pair(std::string("{}x"), "unreadable"),
        std::pair(said("\xff"), "unreadable"), std::pair(std::string("\x1f\x8b\x08"), "unreadable"),
        std::pair(std::string(R"({"prompt":[1,2,3]})"), "opaque"),
        std::pair(std::string(R"({"input":[[1,2,3]]})"), "opaque"),
        std::pair(said(std::string(600, 'A')), "opaque"),
        std::pair(std::string(R"({"messages":[{"role":"user","content":[{"type":"image_url",
            "image_url":{"url":"https://x.example/a.png"}}]}]})"),
                  "opaque")));

TEST(Screener, LooksIntoQueryAndPassedHeaders) {
  net::HttpRequest request = chat(said("x"));
  request.query = "beta=true";
  EXPECT_FALSE(make()->screen(request).stays);
  request.query = "q=138%30013800%30";
  EXPECT_TRUE(make()->screen(request).stays);
  request.query = "q=%zz";
  EXPECT_TRUE(make()->screen(request).stays);
  request.query = "";
  request.headers.push_back({"Anthropic-Beta", "13800138000"});
  EXPECT_TRUE(make()->screen(request).stays);
  request.headers.back() = {"X-Anything", "13800138000"};  // is not passed on
  EXPECT_FALSE(make()->screen(request).stays);
  EXPECT_FALSE(Screener::passes("X-Anything"));
}

TEST(Screener, KnowsTheOperatorsWords) {
  SensitivityConfig config;
  config.classes.push_back({"secret", {"Project Falcon", "绝密", "内部一号"}, {"EMP-\\d{4}"}, {}});
  config.classes.push_back({"marked", {}, {}, {{"X-Data-Class", "confidential"}, {"X-Any", "*"}}});
  const auto screener = make(config);
  const auto labels = [&](std::string_view text) {
    return screener->screen(chat(said(text))).labels;
  };
  EXPECT_THAT(labels("about project FALCON."), ElementsAre("secret"));
  EXPECT_THAT(labels("ｐｒｏｊｅｃｔ ｆａｌｃｏｎ"), ElementsAre("secret"));
  EXPECT_THAT(labels("myproject falcons"), IsEmpty());
  EXPECT_THAT(labels("这是绝密文件"), ElementsAre("secret"));
  EXPECT_THAT(labels("\\u7edd\\u5bc6"), ElementsAre("secret"));
  EXPECT_THAT(labels("内部一号"), ElementsAre("secret"));
  EXPECT_THAT(labels("emp-1234"), ElementsAre("secret"));
  EXPECT_THAT(labels("emp-123"), IsEmpty());
  net::HttpRequest request = chat(said("x"));
  request.headers.push_back({"x-data-class", "Confidential"});
  EXPECT_THAT(screener->screen(request).labels, ElementsAre("marked"));
  EXPECT_TRUE(screener->screen(request).stays);
  request.headers.back().value = "public";
  EXPECT_FALSE(screener->screen(request).stays);
  request.headers.back() = {"X-ANY", ""};
  EXPECT_TRUE(screener->screen(request).stays);
}

TEST(Screener, AnEndlessPatternCountsAsFound) {
  SensitivityConfig config;
  config.classes.push_back({"slow", {}, {"(a+)+$"}, {}});
  EXPECT_TRUE(make(config)->screen(chat(said(std::string(200, 'a') + "b"))).stays);
}

TEST(Screener, MasksAndAllowsWhatItIsTold) {
  SensitivityConfig config;
  config.mask = {"email"};
  config.allow = {"phone"};
  const auto screener = make(config);
  const std::string body = said("bob@example.com or 13800138000");
  const Screening seen = screener->screen(chat(body));
  EXPECT_THAT(seen.labels, ElementsAre("phone", "email"));
  EXPECT_FALSE(seen.stays);
  ASSERT_EQ(seen.spans.size(), 1u);
  EXPECT_EQ(body.substr(seen.spans[0].begin, seen.spans[0].end - seen.spans[0].begin),
            "bob@example.com");
  // Where nothing can be put in its place.
  EXPECT_TRUE(screener->screen(chat(R"({"messages":[],"metadata":{"bob@example.com":1}})")).stays);
}

}  // namespace
}  // namespace hadal::gateway
