#include "hadal/gateway/answer_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hadal::gateway {
namespace {

struct Answer {
  const char* name;
  std::string bytes;
  int64_t pieces;
  int64_t characters;
  std::string text;
  bool refused = false;
  bool failed = false;
};

std::string stream(const std::vector<std::string>& events) {
  std::string bytes = ": beat\n\n";
  for (const std::string& event : events) bytes += event + "\n\n";
  return bytes;
}

const Answer kAnswers[] = {
    {"chat",
     R"({"id":"x","model":"content","choices":[{"index":0,"message":{"role":"assistant",)"
     R"("content":"42 \"is\" it\n","reasoning_content":"17 + 25"},"finish_reason":"stop"}],)"
     R"("usage":{"prompt_tokens":5}})",
     2, 18, "42 \"is\" it\n"},
    {"chat stream",
     stream({R"(data: {"choices":[{"delta":{"role":"assistant","content":""}}]})",
             R"(data: {"choices":[{"delta":{"reasoning_content":"hm"}}]})",
             R"(data: {"choices":[{"delta":{"content":"你"},"finish_reason":null}]})",
             R"(data: {"choices":[{"delta":{"content":"\u597d\ud83d\ude00"}}]})",
             R"(data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{}})",
             "data: [DONE]"}),
     3, 5, "你好😀"},
    {"filtered", R"({"choices":[{"message":{"content":null},"finish_reason":"content_filter"}]})",
     0, 0, "", true},
    {"broken stream",
     stream({R"(data: {"choices":[{"delta":{"content":"a"}}]})",
             R"(data: {"error":{"message":"x","code":"upstream_broken"}})"}),
     1, 1, "a", false, true},
    {"completions", R"({"choices":[{"text":"abc","logprobs":{"tokens":["abc"]}}]})", 1, 3, "abc"},
    {"messages",
     R"({"type":"message","content":[{"type":"thinking","thinking":"so"},)"
     R"({"type":"text","text":"yes"}],"stop_reason":"end_turn"})",
     2, 5, "yes"},
    {"messages stream",
     stream({"event: message_start\ndata: {\"message\":{\"content\":[]}}",
             "event: content_block_start\ndata: {\"content_block\":{\"text\":\"\"}}",
             "event: content_block_delta\r\ndata: "
             "{\"delta\":{\"type\":\"text_delta\",\"text\":\"y\"}}",
             "event: content_block_delta\ndata: {\"delta\":{\"partial_json\":\"{\"}}",
             "event: message_delta\ndata: {\"delta\":{\"stop_reason\":\"refusal\"}}"}),
     2, 2, "y", true},
    {"messages error", stream({"event: error\ndata: {\"type\":\"error\",\"error\":{}}"}), 0, 0, "",
     false, true},
    {"responses stream",
     stream({"event: response.created\ndata: {\"response\":{\"error\":null,\"output\":[]}}",
             "event: response.reasoning_text.delta\ndata: {\"delta\":\"hm\"}",
             "event: response.output_text.delta\ndata: {\"delta\":\"ab\"}",
             "event: response.output_text.done\ndata: {\"text\":\"ab\"}",
             "event: response.completed\ndata: {\"response\":{\"output\":[{\"text\":\"ab\"}]}}"}),
     2, 4, "ab"},
    {"responses failed", stream({"event: response.failed\ndata: {\"response\":{\"error\":{}}}"}), 0,
     0, "", false, true},
    {"no error", R"({"error":null,"output":[{"content":[{"type":"output_text","text":"t"}]}]})", 1,
     1, "t"},
    {"not JSON", "<html>\"content\":\"x\"</html>", 0, 0, ""},
};

TEST(AnswerScan, EveryFormHoweverItIsCut) {
  for (const Answer& answer : kAnswers) {
    for (const size_t cut : {answer.bytes.size(), size_t{1}, size_t{7}}) {
      AnswerScan scan;
      for (size_t at = 0; at < answer.bytes.size(); at += cut) {
        scan.push(std::string_view(answer.bytes).substr(at, cut));
      }
      EXPECT_EQ(scan.pieces(), answer.pieces) << answer.name << cut;
      EXPECT_EQ(scan.characters(), answer.characters) << answer.name << cut;
      EXPECT_EQ(scan.text(), answer.text) << answer.name << cut;
      EXPECT_EQ(scan.refused(), answer.refused) << answer.name << cut;
      EXPECT_EQ(scan.failed(), answer.failed) << answer.name << cut;
    }
  }
}

TEST(AnswerScan, TextOfAModelCannotPassForMore) {
  AnswerScan scan;
  scan.push(
      R"({"choices":[{"message":{"content":"\",\"finish_reason\":\"content_filter\"}]},{"}}]})");
  EXPECT_FALSE(scan.refused());
  EXPECT_FALSE(scan.failed());
  EXPECT_EQ(scan.pieces(), 1);
}

TEST(AnswerScan, KeepsNoMoreThanTheBeginning) {
  AnswerScan scan(10);
  scan.push("{\"content\":\"" + std::string(100'000, 'x'));
  EXPECT_EQ(scan.text().size(), 10u);
  EXPECT_EQ(scan.characters(), 100'000);
  AnswerScan odd;
  odd.push(std::string(100'000, '{') + std::string(200'000, '}') + std::string(100'000, ':') +
           "\"" + std::string(100'000, '\\'));
}

TEST(Refusals, InEnglishAndChineseAndNothingElse) {
  for (const char* refusal :
       {"I'm sorry, but I can’t help with that.", "  **I CAN'T assist** with", "I  am\nunable to",
        "抱歉，我无法回答这个问题。", "很抱歉，我不能提供", "\"I won't do that"}) {
    EXPECT_TRUE(opens_with(refusal, usual_refusals())) << refusal;
  }
  for (const char* answer :
       {"", "I", "I can help with that.", "Sorry for the delay: 42.", "抱歉让你久等了",
        "The phrase \"I'm unable to\" is", "I would not worry"}) {
    EXPECT_FALSE(opens_with(answer, usual_refusals())) << answer;
  }
  EXPECT_TRUE(opens_with("No way, sir", {"no WAY"}));
  EXPECT_FALSE(opens_with("anything", {"", " "}));
}

}  // namespace
}  // namespace hadal::gateway
