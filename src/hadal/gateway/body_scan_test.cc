#include "hadal/gateway/body_scan.h"

#include <gtest/gtest.h>

#include "hadal/base/rng.h"

namespace hadal::gateway {
namespace {

TEST(BodyScan, FindsWhatMatters) {
  const auto scan = scan_body(R"( {"a": {"model": "no", "b": [1, "}"]}, "model" : "m\"\u0041x",
      "stream": true, "max_tokens": 77, "thinking": {"type": "enabled"}, "messages": []} )");
  ASSERT_TRUE(scan) << scan.error().what;
  EXPECT_EQ(scan->model, "m\"Ax");
  EXPECT_TRUE(scan->stream);
  EXPECT_TRUE(scan->has_thinking);
  EXPECT_FALSE(scan->has_effort);
  EXPECT_EQ(scan->max_tokens, 77);
  EXPECT_EQ(scan_body(R"({"mod\u0065l": "x"})")->model, "x");  // as any parser reads it
  EXPECT_EQ(scan_body("{}")->model, "");
  EXPECT_EQ(scan_body(R"({"model": null})")->model, "");
  EXPECT_FALSE(scan_body(R"({"thinking": null})")->has_thinking);
}

TEST(BodyScan, WhatIsNotAnObject) {
  for (const char* body : {"",
                           " ",
                           "[]",
                           "1",
                           "\"x\"",
                           "{",
                           "}",
                           "{]",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{\"a\":1 2}",
                           "{\"a\":[}",
                           "{\"a\":[1}",
                           "{\"a\":\"}",
                           "{\"a\":\"\\\"}",
                           "{'a':1}",
                           "{a:1}",
                           "{} {}",
                           "{}x",
                           "{\"a\":\"\n\"}",
                           "{\"model\":1}",
                           "{\"model\":[\"x\"]}",
                           "{\"model\":\"a\",\"model\":\"b\"}",
                           "{\"model\":\"a\",\"mod\\u0065l\":\"b\"}"}) {
    EXPECT_FALSE(scan_body(body)) << body;
  }
  EXPECT_FALSE(scan_body("{\"a\":" + std::string(100'000, '[') + "}"));
  EXPECT_FALSE(scan_body(std::string("{\"a\":\0}", 7)));
}

TEST(BodyScan, NoTextMakesItReadPastTheEnd) {  // under a sanitizer; else that it ends
  const std::string seed =
      R"({"model": "a\u0041", "messages": [{"role": "user", "content": "x\\"}], "stream": true})";
  const Rng rng(7);
  for (uint64_t i = 0; i < 20'000; ++i) {
    std::string body = seed.substr(0, rng.at(3 * i) % (seed.size() + 1));
    if (!body.empty()) body[rng.at(3 * i + 1) % body.size()] = static_cast<char>(rng.at(3 * i + 2));
    const auto scan = scan_body(std::string(body));
    if (!scan) continue;
    EXPECT_TRUE(scan_body(rewrite_body(body, *scan, {"m", true, "max"}))) << body;
  }
}

struct Rewrite {
  std::string body;
  BodyChanges changes;
  std::string expected;
};

TEST(BodyScan, RewritesOnlyTheModelAndAddsDefaults) {
  const Rewrite cases[] = {
      {R"({"x" : 1.0e5,"model":"a","y":"\u00e9"})",
       {"big", {}, ""},
       R"({"x" : 1.0e5,"model":"big","y":"\u00e9"})"},
      {R"({"model": null})", {"b", {}, ""}, R"({"model": "b"})"},
      {R"( {"x":1})", {"b", {}, ""}, R"( {"model":"b","x":1})"},
      {"{}", {"b", false, ""}, R"({"model":"b","thinking":{"type":"disabled"}})"},
      {R"({"model":"a"})",
       {"q\"\\\n", true, "max"},
       R"({"thinking":{"type":"enabled"},"reasoning_effort":"max","model":"q\"\\\u000a"})"},
      {R"({"model":"a","thinking":{"type":"enabled"}})",
       {"b", false, "low"},
       R"({"model":"b","thinking":{"type":"enabled"}})"},
      {R"({"model":"a","reasoning_effort":"high"})",
       {"b", false, ""},
       R"({"model":"b","reasoning_effort":"high"})"},
      {R"({"model":"a"})", {"b", false, "max"}, R"({"thinking":{"type":"disabled"},"model":"b"})"},
  };
  for (const Rewrite& one : cases) {
    const auto scan = scan_body(one.body);
    ASSERT_TRUE(scan) << one.body;
    EXPECT_EQ(rewrite_body(one.body, *scan, one.changes), one.expected);
  }
}

TEST(BodyScan, OneConversationHasOnePrefix) {
  const auto hash = [](const std::string& body) { return scan_body(body)->prefix_hash; };
  const std::string system = R"({"role":"system","content":"Be brief."})";
  const std::string first = R"({"content":"Hi","role":"user"})";
  const std::string begin = R"({"messages":[)" + system + "," + first;
  const uint64_t turn = hash(begin + "]}");
  EXPECT_EQ(hash(begin + R"(,{"role":"assistant","content":"Hello"}]})"), turn);
  EXPECT_EQ(
      hash(begin +
           R"(,{"role":"assistant","content":"Hello"},{"role":"user","content":"x"}],"n":1})"),
      turn);
  EXPECT_NE(hash(R"({"messages":[)" + system + R"(,{"role":"user","content":"Ho"}]})"), turn);
  EXPECT_NE(hash(R"({"messages":[)" + first + "]}"), turn);
  const std::string long_prompt(2'000, 'p');
  EXPECT_EQ(hash(R"({"prompt":")" + long_prompt + "a\"}"),
            hash(R"({"prompt":")" + long_prompt + "b\"}"));
  EXPECT_NE(hash(R"({"prompt":"a"})"), hash(R"({"prompt":"b"})"));
}

}  // namespace
}  // namespace hadal::gateway
