// Routes and generation against an engine that does what a test says.
#include "hadal/apps/service.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "hadal/apps/testing/service_fixture.h"

namespace hadal::apps {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST_F(ServiceTest, LoadingThenReadyThenDraining) {
  restart({});
  service_->loading(1, 4);
  EXPECT_EQ(ask("GET", "/health").status, 503);
  EXPECT_THAT(ask("GET", "/health").body, HasSubstr(R"("progress":0.250)"));
  for (const char* path : {"/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"}) {
    const Seen seen = ask("POST", path, chat());
    EXPECT_EQ(seen.status, 503) << path;
    EXPECT_THAT(seen.body, HasSubstr("still loading"));
    EXPECT_EQ(seen.headers.count("Retry-After"), 1u);
  }
  EXPECT_EQ(ask("GET", "/v1/models").status, 503);
  EXPECT_EQ(ask("GET", "/metrics").status, 200);
  publish();
  EXPECT_EQ(ask("GET", "/health").body, R"({"status":"ok"})");
  service_->drain();
  EXPECT_EQ(ask("GET", "/health").status, 503);
  const Seen refused = ask("POST", "/v1/chat/completions", chat());
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.at("Retry-After"), "5");
  EXPECT_EQ(ask("GET", "/v1/models").status, 200);
  EXPECT_TRUE(engine_.requests.empty());
}

TEST_F(ServiceTest, RoutesAndMethods) {
  EXPECT_EQ(ask("GET", "/v1/models/tiny").status, 200);
  EXPECT_EQ(ask("GET", "/v1/models/other").status, 200);
  EXPECT_EQ(ask("GET", "/v1/models/third").status, 404);
  EXPECT_EQ(ask("GET", "/v1/models/").status, 404);
  EXPECT_EQ(ask("HEAD", "/health").status, 200);
  EXPECT_EQ(ask("GET", "/version").body, R"({"version":"1.2.3"})");
  EXPECT_THAT(ask("GET", "/").body, HasSubstr("tiny"));
  EXPECT_EQ(ask("GET", "/healthy").status, 404);
  const Seen wrong = ask("GET", "/v1/completions");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers.at("Allow"), "POST");
  EXPECT_THAT(ask("GET", "/metrics").body,
              HasSubstr(R"(hadal_http_requests_total{route="other",status="404"} 2)"));
}

TEST_F(ServiceTest, KeysAreNeededEverywhereButForHealth) {
  ServiceOptions options;
  options.api_keys = {"secret", "second"};
  restart(std::move(options));
  publish();
  const auto with = [&](const std::string& value) {
    return ask("GET", "/v1/models", {}, {{"Authorization", value}}).status;
  };
  EXPECT_EQ(ask("GET", "/health").status, 200);
  for (const char* path : {"/", "/metrics", "/version", "/v1/models", "/nothing"}) {
    EXPECT_EQ(ask("GET", path).status, 401) << path;
  }
  EXPECT_EQ(ask("POST", "/v1/chat/completions", chat()).status, 401);
  EXPECT_EQ(with("Bearer secret"), 200);
  EXPECT_EQ(with("bearer second"), 200);
  for (const char* value : {"secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets",
                            "Bearer secretsecret", "Basic secret", ""}) {
    EXPECT_EQ(with(value), 401) << value;
  }
}

TEST_F(ServiceTest, AWholeAnswerIsSplitIntoReasoningAndContent) {
  auto exchange = send("POST", "/v1/chat/completions", chat());
  engine_.say(1, "2+2");
  engine_.say(1, " is 4</thi");
  engine_.say(1, "nk>\n\nFour");
  Seen seen;
  look(*exchange, &seen);
  EXPECT_EQ(seen.status, 0) << "nothing is sent before the end";
  engine_.end(1);
  look(*exchange, &seen);
  EXPECT_EQ(seen.status, 200);
  EXPECT_THAT(seen.body, HasSubstr(R"("content":"Four","reasoning_content":"2+2 is 4")"));
  EXPECT_THAT(seen.body, HasSubstr(R"("finish_reason":"stop")"));
  EXPECT_THAT(seen.body, HasSubstr(R"("cached_tokens":1)"));
  EXPECT_THAT(seen.body, HasSubstr(R"("reasoning_tokens":22)"));
}

TEST_F(ServiceTest, AStreamSaysTheSameInPieces) {
  auto exchange = send("POST", "/v1/chat/completions",
                       chat(R"("stream": true, "stream_options": {"include_usage": true})"));
  Seen seen;
  look(*exchange, &seen);
  EXPECT_EQ(seen.status, 200);
  EXPECT_THAT(seen.headers.at("Content-Type"), StartsWith("text/event-stream"));
  EXPECT_THAT(seen.body, StartsWith("data: {"));
  EXPECT_THAT(seen.body,
              HasSubstr(R"({"role":"assistant","content":null,"reasoning_content":""})"));
  EXPECT_EQ(exchange->heartbeat().bytes, ": keep-alive\n\n");
  seen.body.clear();
  engine_.say(1, "2+2</think>Fo");
  look(*exchange, &seen);
  EXPECT_THAT(seen.body, HasSubstr(R"("delta":{"reasoning_content":"2+2","content":"Fo"})"));
  seen.body.clear();
  engine_.say(1, "ur");
  engine_.end(1, FinishReason::kLength);
  look(*exchange, &seen);
  EXPECT_TRUE(seen.finished);
  EXPECT_THAT(seen.body, HasSubstr(R"("delta":{"content":"ur"})"));
  EXPECT_THAT(seen.body, HasSubstr(R"("finish_reason":"length")"));
  EXPECT_THAT(seen.body, HasSubstr(R"("choices":[],"usage":{)"));
  EXPECT_THAT(seen.body, EndsWith("data: [DONE]\n\n"));
}

TEST_F(ServiceTest, AWholeAnswerThatWaitsIsPrecededByBlankLines) {
  for (const char* path : {"/v1/chat/completions", "/v1/messages"}) {
    engine_.sinks.clear();
    engine_.requests.clear();
    auto exchange = send("POST", path, chat(R"("max_tokens": 9)"));
    Seen seen;
    look(*exchange, &seen);
    EXPECT_EQ(seen.status, 0);
    EXPECT_EQ(exchange->heartbeat().every, ServiceOptions().heartbeat);
    exchange->beat();
    exchange->beat();
    look(*exchange, &seen);
    EXPECT_EQ(seen.status, 200);
    EXPECT_EQ(seen.body, "\n\n");
    EXPECT_EQ(seen.headers.at("Content-Type"), "application/json");
    // The status is out: an error says so in the body.
    engine_.end(1, FinishReason::kError, {Code::kInternal, "a fault"});
    look(*exchange, &seen);
    EXPECT_TRUE(seen.finished);
    EXPECT_THAT(seen.body, AllOf(StartsWith("\n\n{"), HasSubstr(R"("message":"a fault")")));
  }
}

TEST_F(ServiceTest, EventsBeforeTheAnswerHasBegunAreKept) {
  engine_.at_submit = [&](RequestId id) {
    engine_.say(id, "x</think>early");
    engine_.end(id);
  };
  const Seen whole = ask("POST", "/v1/chat/completions", chat(R"("n": 2)"));
  EXPECT_EQ(whole.status, 200);
  EXPECT_THAT(whole.body, HasSubstr(R"("content":"early")"));
  const Seen stream = ask("POST", "/v1/chat/completions", chat(R"("stream": true)"));
  EXPECT_TRUE(stream.finished);
  EXPECT_LT(stream.body.find(R"("role":"assistant")"), stream.body.find("early"));
}

TEST_F(ServiceTest, RequestsReachTheEngineAsAsked) {
  send("POST", "/v1/chat/completions",
       chat(R"("seed": 5, "n": 2, "max_tokens": 1000000, "top_k": 3, "stop": "x", "logprobs": true,
               "top_logprobs": 2, "priority": 4, "cache_salt": "s", "logit_bias": {"7": 1},
               "skip_special_tokens": false, "min_tokens": 2)"));
  ASSERT_EQ(engine_.requests.size(), 2u);
  const GenerationRequest& request = engine_.requests[0];
  EXPECT_EQ(request.prompt.front(), 256);
  EXPECT_FLOAT_EQ(request.sampling.temperature, 0.25f) << "the model's default";
  EXPECT_EQ(request.sampling.seed, 5u);
  EXPECT_EQ(engine_.requests[1].sampling.seed, 6u);
  EXPECT_EQ(request.sampling.max_tokens, 100 - static_cast<int>(request.prompt.size()));
  EXPECT_EQ(request.sampling.top_k, 3);
  EXPECT_THAT(request.sampling.stop, ElementsAre("x"));
  EXPECT_EQ(request.logprobs, 2);
  EXPECT_EQ(request.priority, 4);
  EXPECT_EQ(request.cache_scope, "s");
  EXPECT_EQ(request.sampling.min_tokens, 2);
  EXPECT_TRUE(request.show_special);
}

TEST_F(ServiceTest, APromptOverTheContextIsRefusedWithBothNumbers) {
  const Seen seen =
      ask("POST", "/v1/completions", R"({"prompt": ")" + std::string(150, 'x') + R"("})");
  EXPECT_EQ(seen.status, 400);
  EXPECT_THAT(seen.body,
              HasSubstr("prompt is too long: 151 tokens > 99 maximum; this model's maximum "
                        "context length is 100 tokens"));
  EXPECT_THAT(seen.body, HasSubstr("context_length_exceeded"));
  EXPECT_TRUE(engine_.requests.empty());
}

TEST_F(ServiceTest, AFullQueueIsRefusedAndWhatWasAcceptedIsCancelled) {
  engine_.accept = 2;
  const Seen seen = ask("POST", "/v1/completions", R"({"prompt": ["a", "b", "c"]})");
  EXPECT_EQ(seen.status, 429);
  EXPECT_EQ(seen.headers.at("Retry-After"), "1");
  EXPECT_THAT(engine_.cancelled, ElementsAre(1, 2));
  engine_.end(1, FinishReason::kCancelled);  // must not answer a second time
  engine_.end(2, FinishReason::kCancelled);
}

TEST_F(ServiceTest, AClientThatLeavesIsCancelledOnce) {
  for (const char* stream : {"false", "true"}) {
    engine_.cancelled.clear();
    engine_.sinks.clear();
    engine_.requests.clear();
    auto exchange =
        send("POST", "/v1/chat/completions", chat(fmt::format(R"("n": 2, "stream": {})", stream)));
    engine_.say(1, "a");
    exchange->client_gone();
    EXPECT_THAT(engine_.cancelled, ElementsAre(1, 2));
    engine_.say(1, "late");
    engine_.end(1, FinishReason::kCancelled);
    engine_.end(2, FinishReason::kCancelled);
    exchange->detach();
    EXPECT_THAT(engine_.cancelled, ElementsAre(1, 2));
  }
  EXPECT_THAT(ask("GET", "/metrics").body, HasSubstr("hadal_http_clients_gone_total 2"));
}

TEST_F(ServiceTest, AClientThatLeavesBetweenTwoSubmitsLeavesNothingBehind) {
  auto exchange = std::make_shared<net::Exchange>(1 << 20, [] {});
  engine_.at_submit = [&](RequestId id) {
    if (id == 2) exchange->client_gone();
  };
  service_->handle({"POST", "/v1/chat/completions", {}, {}, chat(R"("n": 3)")},
                   net::ResponseWriter(exchange));
  EXPECT_EQ(engine_.requests.size(), 2u);
  EXPECT_THAT(engine_.cancelled, ElementsAre(1, 2));
}

TEST_F(ServiceTest, AnEnginesErrorEndsTheAnswer) {
  auto whole = send("POST", "/v1/chat/completions", chat(R"("n": 2)"));
  engine_.end(1, FinishReason::kError, {Code::kInternal, "a fault"});
  Seen seen;
  look(*whole, &seen);
  EXPECT_EQ(seen.status, 500);
  EXPECT_THAT(seen.body, HasSubstr("a fault"));
  EXPECT_THAT(engine_.cancelled, ElementsAre(1, 2));

  auto stream = send("POST", "/v1/chat/completions", chat(R"("stream": true)"));
  engine_.say(3, "x");
  engine_.end(3, FinishReason::kError, {Code::kInternal, "a fault"});
  Seen streamed;
  look(*stream, &streamed);
  EXPECT_EQ(streamed.status, 200);
  EXPECT_TRUE(streamed.finished);
  EXPECT_THAT(streamed.body,
              AllOf(HasSubstr(R"(data: {"error":{"message":"a fault")"), Not(HasSubstr("[DONE]"))));
}

TEST_F(ServiceTest, CompletionsKeepThinkTagsAndCountAPromptOnce) {
  auto exchange = send("POST", "/v1/completions",
                       R"({"prompt": ["ab", [97, 98]], "n": 2, "echo": true, "logprobs": 0})");
  ASSERT_EQ(engine_.requests.size(), 4u);
  EXPECT_THAT(engine_.requests[0].prompt, ElementsAre(256, 97, 98));
  EXPECT_THAT(engine_.requests[2].prompt, ElementsAre(97, 98));
  EXPECT_EQ(engine_.requests[0].prompt_logprobs, 0);
  for (RequestId id = 1; id <= 4; ++id) {
    engine_.say(id, "<think>");
    engine_.end(id);
  }
  Seen seen;
  look(*exchange, &seen);
  EXPECT_THAT(seen.body, HasSubstr(R"("text":"ab<think>")"));
  EXPECT_THAT(seen.body, HasSubstr(R"("prompt_tokens":5,"completion_tokens":28)"));
}

TEST_F(ServiceTest, ScoringAPromptGeneratesNothing) {
  engine_.at_submit = [&](RequestId id) {
    GenerationEvent event;
    event.prompt_logprobs = {{97, std::nanf(""), {}}, {98, -0.5f, {{98, -0.5f}}}};
    event.text = "z";
    event.tokens = {'z'};
    event.logprobs = {{'z', -1.0f, {}}};
    event.finished = true;
    event.reason = FinishReason::kLength;
    event.usage = {2, 1, 0};
    engine_.sinks[id - 1](event);
  };
  const Seen seen = ask("POST", "/v1/completions",
                        R"({"prompt": [97, 98], "echo": true, "max_tokens": 0, "logprobs": 1})");
  EXPECT_EQ(engine_.requests[0].sampling.max_tokens, 1);
  EXPECT_THAT(seen.body, HasSubstr(R"("text":"ab")"));
  EXPECT_THAT(seen.body, HasSubstr(R"("tokens":["a","b"],"token_logprobs":[null,-5E-1])"));
  EXPECT_THAT(seen.body, HasSubstr(R"("completion_tokens":0)"));
}

TEST_F(ServiceTest, ReasoningCanBeLeftOut) {
  auto exchange = send("POST", "/v1/chat/completions", chat(R"("include_reasoning": false)"));
  engine_.say(1, "hm</think>Four");
  engine_.end(1);
  Seen seen;
  look(*exchange, &seen);
  EXPECT_THAT(seen.body,
              AllOf(HasSubstr(R"("content":"Four")"), Not(HasSubstr("reasoning_content"))));
}

TEST_F(ServiceTest, WithoutATemplateThereIsOnlyCompletion) {
  publish(ChatForm::kNone);
  const Seen seen = ask("POST", "/v1/chat/completions", chat());
  EXPECT_EQ(seen.status, 400);
  EXPECT_THAT(seen.body, HasSubstr("/v1/completions"));
}

TEST_F(ServiceTest, TokenizeAndBack) {
  EXPECT_THAT(ask("POST", "/tokenize", R"({"prompt": "hi"})").body,
              HasSubstr(R"("count":3,"max_model_len":100,"tokens":[256,104,105])"));
  EXPECT_THAT(ask("POST", "/tokenize",
                  R"({"prompt": "hi", "add_special_tokens": false, "return_token_strs": true})")
                  .body,
              HasSubstr(R"("tokens":[104,105],"token_strs":["h","i"])"));
  EXPECT_THAT(
      ask("POST", "/tokenize", R"({"prompt": "<think>", "add_special_tokens": false})").body,
      HasSubstr(R"("count":7)"));
  EXPECT_EQ(ask("POST", "/detokenize", R"({"tokens": [104, 105]})").body, R"({"prompt":"hi"})");
  EXPECT_EQ(ask("POST", "/detokenize", R"({"tokens": [228, 189, 160]})").body,
            "{\"prompt\":\"\u4f60\"}");
  EXPECT_EQ(ask("POST", "/detokenize", R"({"tokens": [262]})").status, 400);
  EXPECT_EQ(ask("POST", "/tokenize", R"({"prompt": "x", "model": "none"})").status, 404);
}

}  // namespace
}  // namespace hadal::apps
