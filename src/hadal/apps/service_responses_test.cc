// /v1/responses, from request to answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hadal/apps/testing/service_fixture.h"

namespace hadal::apps {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kTools = R"(, "tools": [{"type": "function", "name": "get"}])";

TEST_F(ServiceTest, ResponsesWholeAndStreamed) {
  engine_.long_context = true;
  auto whole = send("POST", "/v1/responses", R"({"input": "hi")" + kTools + "}");
  EXPECT_THAT(tokenizer_->decode(engine_.requests[0].prompt), HasSubstr("<tools>"));
  const std::string said =
      "hm</think>\n\nLook.\n<tool_call>\n{\"name\": \"get\", \"arguments\": {}}\n</tool_call>";
  engine_.say(1, said);
  engine_.end(1);
  Seen seen;
  look(*whole, &seen);
  EXPECT_EQ(seen.status, 200);
  EXPECT_THAT(seen.body, HasSubstr(R"({"id":"resp_)"));
  EXPECT_THAT(seen.body, HasSubstr(R"("content":[{"type":"reasoning_text","text":"hm"}])"));
  EXPECT_THAT(seen.body, HasSubstr(R"("type":"output_text","text":"Look.")"));
  EXPECT_THAT(seen.body, HasSubstr(R"("name":"get","arguments":"{}","status":"completed")"));

  auto stream = send("POST", "/responses", R"({"input": "hi", "stream": true)" + kTools + "}");
  for (const char c : said) engine_.say(2, std::string(1, c));
  engine_.end(2);
  Seen streamed;
  look(*stream, &streamed);
  EXPECT_TRUE(streamed.finished);
  EXPECT_THAT(streamed.body, HasSubstr("event: response.function_call_arguments.done\n"));
  EXPECT_THAT(streamed.body, HasSubstr("event: response.completed\n"));
  EXPECT_THAT(streamed.body, Not(HasSubstr("[DONE]")));
  EXPECT_THAT(streamed.body, Not(HasSubstr("tool_call>")));
}

TEST_F(ServiceTest, ResponsesTellScoresOfTextAlone) {
  auto exchange = send("POST", "/v1/responses",
                       R"({"input": "hi", "include": ["message.output_text.logprobs"]})");
  engine_.say(1, "x");
  engine_.say(1, "</think>");
  engine_.say(1, "y");
  engine_.end(1);
  Seen seen;
  look(*exchange, &seen);
  EXPECT_THAT(seen.body, HasSubstr(R"("logprobs":[{"token":"y")"));
  EXPECT_THAT(seen.body, Not(HasSubstr(R"("token":"x")")));
}

TEST_F(ServiceTest, ResponsesThatFail) {
  const Seen long_one =
      ask("POST", "/v1/responses", R"({"input": ")" + std::string(150, 'x') + R"("})");
  EXPECT_EQ(long_one.status, 400);
  EXPECT_THAT(long_one.body, HasSubstr(R"("param":"input","code":"context_length_exceeded")"));
  auto stream = send("POST", "/v1/responses", R"({"input": "hi", "stream": true})");
  engine_.say(1, "x");
  engine_.end(1, FinishReason::kError, {Code::kInternal, "a fault"});
  Seen seen;
  look(*stream, &seen);
  EXPECT_TRUE(seen.finished);
  EXPECT_THAT(seen.body, HasSubstr("event: response.failed\n"));
  EXPECT_THAT(seen.body, HasSubstr(R"("error":{"code":"server_error","message":"a fault"})"));
  auto whole = send("POST", "/v1/responses", R"({"input": "hi"})");
  engine_.end(2, FinishReason::kError, {Code::kInternal, "a fault"});
  Seen failed;
  look(*whole, &failed);
  EXPECT_EQ(failed.status, 500);
  EXPECT_THAT(failed.body, HasSubstr(R"({"error":{"message":"a fault")"));
}

}  // namespace
}  // namespace hadal::apps
