// Tools, forced answers and the other vendors' protocols, from request to answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hadal/apps/testing/service_fixture.h"

namespace hadal::apps {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* kTools =
    R"("thinking": {"type": "disabled"}, "tools": [{"type": "function", "function": {"name": "get"}}])";
const std::string kCall =
    "Hm.\n<tool_call>\n{\"name\": \"get\", \"arguments\": {\"a\": 1}}\n</tool_call>";

TEST_F(ServiceTest, ToolCallsWholeAndStreamed) {
  engine_.long_context = true;
  auto whole = send("POST", "/v1/chat/completions", chat(kTools));
  EXPECT_THAT(tokenizer_->decode(engine_.requests[0].prompt), HasSubstr("<tools>"));
  engine_.say(1, kCall);
  engine_.end(1);
  Seen seen;
  look(*whole, &seen);
  EXPECT_THAT(seen.body, HasSubstr(R"("content":"Hm.","tool_calls":[{"id":"call_)"));
  EXPECT_THAT(seen.body, HasSubstr(R"("function":{"name":"get","arguments":"{\"a\": 1}"}}])"));
  EXPECT_THAT(seen.body, HasSubstr(R"("finish_reason":"tool_calls")"));

  auto stream =
      send("POST", "/v1/chat/completions", chat(kTools + std::string(R"(, "stream": true)")));
  for (const char c : kCall) engine_.say(2, std::string(1, c));
  engine_.end(2);
  Seen streamed;
  look(*stream, &streamed);
  EXPECT_THAT(streamed.body, HasSubstr(R"("type":"function","function":{"name":"get")"));
  EXPECT_THAT(streamed.body, HasSubstr(R"("delta":{"tool_calls":[{"index":0,"function":)"
                                       R"({"arguments":"1"}}]})"));
  EXPECT_THAT(streamed.body, HasSubstr(R"("finish_reason":"tool_calls")"));
  EXPECT_THAT(streamed.body, Not(HasSubstr("tool_call>")));
}

TEST_F(ServiceTest, ACallThatMustComeIsBegunInThePrompt) {
  engine_.long_context = true;
  auto exchange = send("POST", "/v1/chat/completions",
                       chat(kTools + std::string(R"(, "tool_choice": "required")")));
  EXPECT_THAT(tokenizer_->decode(engine_.requests[0].prompt),
              EndsWith("<tool_call>\n{\"name\": \"get\", \"arguments\": {"));
  engine_.say(1, "}}\n</tool_call>");
  engine_.end(1);
  Seen seen;
  look(*exchange, &seen);
  EXPECT_THAT(seen.body, HasSubstr(R"("function":{"name":"get","arguments":"{}"}}])"));
}

TEST_F(ServiceTest, ACallThatMustComeWaitsForTheThinkingsEnd) {
  engine_.long_context = true;
  send("POST", "/v1/chat/completions",
       chat(R"("tools": [{"type": "function", "function": {"name": "get"}}],
               "tool_choice": {"type": "function", "function": {"name": "get"}},
               "thinking_token_budget": 5)"));
  const Steering& steering = engine_.requests[0].steering;
  EXPECT_EQ(steering.thinking_end, 261);
  EXPECT_EQ(steering.thinking_budget, 5);
  EXPECT_THAT(steering.close, ElementsAre(261));
  EXPECT_EQ(tokenizer_->decode(steering.then),
            "\n\n<tool_call>\n{\"name\": \"get\", \"arguments\": {");
}

TEST_F(ServiceTest, OneCallIsEnoughWhereCallsMayNotBeParallel) {
  engine_.long_context = true;
  auto exchange = send("POST", "/v1/chat/completions",
                       chat(kTools + std::string(R"(, "parallel_tool_calls": false)")));
  engine_.say(1, kCall + "\n" + kCall);
  Seen seen;
  look(*exchange, &seen);
  EXPECT_EQ(seen.status, 200);
  EXPECT_THAT(engine_.cancelled, ElementsAre(1));
  EXPECT_THAT(seen.body, HasSubstr(R"("arguments":"{\"a\": 1}"}}]},)"));
  EXPECT_THAT(seen.body, HasSubstr(R"("finish_reason":"tool_calls")"));
  engine_.end(1, FinishReason::kCancelled);
}

TEST_F(ServiceTest, AJsonAnswerIsJsonOrAnError) {
  const std::string fields =
      R"("thinking": {"type": "disabled"}, "response_format": {"type": "json_object"})";
  auto good = send("POST", "/v1/chat/completions", chat(fields));
  EXPECT_THAT(tokenizer_->decode(engine_.requests[0].prompt), EndsWith("{"));
  engine_.say(1, "\"a\": {}} and more");
  Seen seen;
  look(*good, &seen);
  EXPECT_THAT(seen.body, HasSubstr(R"("content":"{\"a\": {}}")"));
  EXPECT_THAT(seen.body, HasSubstr(R"("finish_reason":"stop")"));
  auto bad = send("POST", "/v1/chat/completions", chat(fields));
  engine_.say(2, "a: 1}");
  engine_.end(2);
  Seen refused;
  look(*bad, &refused);
  EXPECT_EQ(refused.status, 500);
  EXPECT_THAT(refused.body, HasSubstr("json_validate_failed"));
}

TEST_F(ServiceTest, AnAnswerThatHasBegunGoesOn) {
  const std::string messages =
      R"({"messages": [{"role": "user", "content": "hi"},
          {"role": "assistant", "content": "So <think>", "prefix": true}])";
  send("POST", "/beta/chat/completions", messages + R"(, "thinking": {"type": "disabled"}})");
  send("POST", "/v1/chat/completions", messages + "}");
  const auto prompt = [&](size_t i) {
    return tokenizer_->decode(engine_.requests[i].prompt, true);
  };
  EXPECT_THAT(prompt(0), EndsWith("<｜Assistant｜></think>So <think>"));
  EXPECT_THAT(prompt(1), EndsWith("<｜Assistant｜><think></think>So <think>"));
  EXPECT_NE(engine_.requests[0].prompt.back(), 260) << "what a user wrote is no special token";
}

TEST_F(ServiceTest, TheBestOfSeveralIsShown) {
  auto exchange = send("POST", "/v1/completions", R"({"prompt": "a", "best_of": 2})");
  ASSERT_EQ(engine_.requests.size(), 2u);
  EXPECT_EQ(engine_.requests[0].logprobs, 0);
  for (RequestId id = 1; id <= 2; ++id) {
    GenerationEvent event;
    event.text = id == 1 ? "worse" : "better";
    event.tokens = {97};
    event.logprobs = {{97, id == 1 ? -2.0f : -1.0f, {}}};
    event.usage = {1, 1, 0};
    engine_.sinks[id - 1](event);
    engine_.end(id);
  }
  Seen seen;
  look(*exchange, &seen);
  EXPECT_THAT(seen.body, AllOf(HasSubstr("better"), Not(HasSubstr("worse"))));
  EXPECT_THAT(seen.body, HasSubstr(R"("logprobs":null)"));
}

TEST_F(ServiceTest, FillingInNeedsAModelThatCan) {
  const Seen seen = ask("POST", "/beta/completions", R"({"prompt": "a", "suffix": "b"})");
  EXPECT_EQ(seen.status, 400);
  EXPECT_THAT(seen.body, HasSubstr("suffix: this model has no tokens"));
}

TEST_F(ServiceTest, AnthropicsMessages) {
  ServiceOptions options;
  options.api_keys = {"secret"};
  restart(std::move(options));
  publish();
  const std::string body = R"({"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}])";
  const std::vector<net::Header> key = {{"x-api-key", "secret"}};
  const Seen refused = ask("POST", "/v1/messages", body + "}");
  EXPECT_EQ(refused.status, 401);
  EXPECT_THAT(refused.body, HasSubstr(R"({"type":"error","error":{"type":"authentication_error")"));
  auto exchange = send("POST", "/anthropic/v1/messages", body + R"(, "stream": true})", key);
  engine_.say(1, "Four");
  engine_.end(1);
  Seen seen;
  look(*exchange, &seen);
  EXPECT_THAT(seen.body, HasSubstr("event: message_start\ndata: {\"type\":\"message_start\""));
  EXPECT_THAT(seen.body, HasSubstr(R"("delta":{"type":"text_delta","text":"Four"})"));
  EXPECT_THAT(seen.body, EndsWith("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
  const Seen count = ask("POST", "/v1/messages/count_tokens", body + "}", key);
  EXPECT_THAT(count.body, StartsWith(R"({"input_tokens":)"));
  EXPECT_EQ(ask("GET", "/user/balance", {}, key).status, 200);
}

// Anthropic's clients that ask for no thinking get none from models that learned to do without;
// others think, unseen.
TEST_F(ServiceTest, MessagesThatDoNotSayWhetherToThink) {
  const auto body = [](const std::string& fields) {
    return R"({"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}])" + fields + "}";
  };
  const auto prompt_of = [&](const std::string& fields) {
    send("POST", "/v1/messages", body(fields));
    return tokenizer_->decode(engine_.requests.back().prompt, true);
  };
  const std::string off = R"(, "thinking": {"type": "disabled"})";
  EXPECT_THAT(prompt_of(""), EndsWith("<｜Assistant｜></think>"));
  EXPECT_THAT(prompt_of(off), EndsWith("<｜Assistant｜></think>"));

  publish(ChatForm::kDeepseekR1);
  EXPECT_THAT(prompt_of(""), EndsWith("<｜Assistant｜><think>\n"));
  EXPECT_THAT(prompt_of(off), EndsWith("<think>\n")) << "this template has no switch";
  auto exchange = send("POST", "/v1/messages", body(""));
  const RequestId id = engine_.requests.size();
  engine_.say(id, "hm</think>\n\nFour");
  engine_.end(id);
  Seen seen;
  look(*exchange, &seen);
  EXPECT_THAT(seen.body, HasSubstr(R"("content":[{"type":"text","text":"Four"}])"));
}

TEST_F(ServiceTest, SpaceBehindAClosedThinkingIsNoContent) {
  auto exchange = send("POST", "/v1/chat/completions", chat(R"("thinking": {"type": "disabled"})"));
  engine_.say(1, "\n\nFour\n");
  engine_.end(1);
  Seen seen;
  look(*exchange, &seen);
  EXPECT_THAT(seen.body, HasSubstr(R"("content":"Four\n")"));
}

}  // namespace
}  // namespace hadal::apps
