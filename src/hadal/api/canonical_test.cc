#include "hadal/api/canonical.h"

#include <gtest/gtest.h>

#include <set>

namespace hadal::api {
namespace {

std::string canonical(std::string_view body) {
  const auto request = canonical_request(body);
  EXPECT_TRUE(request) << body;
  return request ? request->text : "";
}

TEST(Canonical, FormsOfOneRequestAreOne) {
  const std::string one =
      canonical(R"({"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0})");
  for (const char* other : {
           R"({ "temperature": 0.0, "model":"m", "messages": [ {"content":"hi","role":"user"} ] })",
           R"({"model":"m","messages":[{"role":"user","content":"\u0068i"}],"temperature":0e5})",
           R"({"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":-0.0})",
           R"({"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0,"n":null})",
           R"({"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0,)"
           R"("metadata":{"a":"b"},"store":true,"priority":3})",
       }) {
    EXPECT_EQ(canonical(other), one);
  }
}

TEST(Canonical, WhateverMayChangeAnAnswerIsPartOfIt) {
  std::set<std::string> all;
  const char* const kBodies[] = {
      R"({})",
      R"({"messages":[]})",
      R"({"messages":[{"role":"user","content":"hi"}]})",
      R"({"messages":[{"role":"user","content":"hi "}]})",
      R"({"messages":[{"role":"user","content":"Hi"}]})",
      R"({"messages":[{"role":"user","content":["hi"]}]})",
      R"({"messages":[{"role":"system","content":"hi"}]})",
      R"({"messages":[{"role":"user","content":"hi"}],"model":"a"})",
      R"({"messages":[{"role":"user","content":"hi"}],"stream":true})",
      R"({"messages":[{"role":"user","content":"hi"}],"user":"a"})",
      R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":1})",
      R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":"1"})",
      R"({"messages":[{"role":"user","content":"hi"}],"a_field_of_next_year":0})",
      R"({"messages":[{"role":"user","content":"hi","metadata":1}]})",
      R"({"temperature":0.1})",
      R"({"temperature":0.10000000001})",
      R"({"seed":9007199254740993})",
      R"({"seed":9007199254740992})",
      R"({"stop":["a","b"]})",
      R"({"stop":["b","a"]})",
      R"({"stop":"a\",\"b"})",
      R"({"a":{"b":1}})",
      R"({"a":{},"b":1})",
  };
  for (const char* body : kBodies) EXPECT_TRUE(all.insert(canonical(body)).second) << body;
}

TEST(Canonical, WhatIsNoRequestIsRefused) {
  for (const char* body : {"", "[]", "1", "{", "{} {}", "{\"a\":\"\xff\"}"}) {
    EXPECT_FALSE(canonical_request(body)) << body;
  }
  EXPECT_FALSE(canonical_request(std::string(100'000, '[')));
}

TEST(Canonical, QuestionIsTakenOutOfItsFrame) {
  const auto read = [](const char* messages) {
    return *canonical_request(std::string(R"({"temperature":0,"messages":)") + messages + "}");
  };
  const auto one = read(R"([{"role":"system","content":"s"},{"role":"user","content":"why?"}])");
  EXPECT_EQ(one.question, "why?");
  EXPECT_TRUE(one.single_turn);
  const auto parts = read(
      R"([{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"why?"}]}])");
  EXPECT_EQ(parts.question, "why?");
  const auto other = read(R"([{"role":"system","content":"s"},{"role":"user","content":"how?"}])");
  EXPECT_EQ(other.frame, one.frame);
  EXPECT_NE(other.text, one.text);
  EXPECT_NE(read(R"([{"role":"system","content":"t"},{"role":"user","content":"why?"}])").frame,
            one.frame);
  const auto turns = read(
      R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}])");
  EXPECT_EQ(turns.question, "c");
  EXPECT_FALSE(turns.single_turn);
  EXPECT_EQ(read(R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"}])").question,
            "");
  EXPECT_EQ(read(R"([{"role":"user","content":[{"type":"image_url","image_url":"x"}]}])").question,
            "");
  EXPECT_EQ(read(R"([{"role":"user","content":""}])").question, "");
  EXPECT_EQ(read(R"([7])").question, "");
}

TEST(Canonical, WhatMattersToACacheIsRead) {
  const auto request =
      *canonical_request(R"({"model":"m","stream":true,"temperature":0.5,"seed":7})");
  EXPECT_EQ(request.model, "m");
  EXPECT_TRUE(request.stream);
  EXPECT_EQ(request.temperature, 0.5);
  EXPECT_TRUE(request.seeded);
  EXPECT_FALSE(request.stateful);
  EXPECT_TRUE(canonical_request(R"({"previous_response_id":"x"})")->stateful);
}

TEST(Canonical, OnlyAStreamThatEndedProperlyIsWhole) {
  EXPECT_TRUE(is_whole_stream("data: {\"a\":1}\n\ndata: [DONE]\n\n"));
  EXPECT_TRUE(is_whole_stream("event: message_stop\ndata: {}\n\n"));
  EXPECT_TRUE(is_whole_stream("data: {\"content\":\"data: {\\\"error\\\"\"}\n\ndata: [DONE]\n\n"));
  EXPECT_FALSE(is_whole_stream(""));
  EXPECT_FALSE(is_whole_stream("data: {\"a\":1}\n\n"));
  EXPECT_FALSE(is_whole_stream("data: {\"content\":\"data: [DONE]\"}\n\n"));
  EXPECT_FALSE(is_whole_stream("data: {\"error\":{}}\n\ndata: [DONE]\n\n"));
  EXPECT_FALSE(is_whole_stream("event: error\ndata: {}\n\nevent: message_stop\n\n"));
  EXPECT_EQ(answered_tokens(R"({"usage":{"completion_tokens": 12}})"), 12);
  EXPECT_EQ(answered_tokens("\"output_tokens\":1 \"output_tokens\":9"), 9);
  EXPECT_EQ(answered_tokens("{}"), 0);
}

}  // namespace
}  // namespace hadal::api
