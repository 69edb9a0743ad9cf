// Tools, thinking and continued answers in OpenAI's chat requests, and what an answer says of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hadal/api/openai.h"
#include "hadal/api/openai_answer.h"

namespace hadal::api {
namespace {

using ::testing::HasSubstr;
using Kind = ToolChoice::Kind;

constexpr const char* kTools = R"("tools": [{"type": "function", "function": {"name": "get",
    "description": "d", "parameters": {"type": "object"}}}])";

Parsed<ChatRequest> chat(const std::string& fields, const std::string& more_messages = "") {
  return parse_chat(R"({"messages": [{"role": "user", "content": "x"})" + more_messages + "], " +
                    fields + "}");
}

constexpr const char* kCall = R"(, {"role": "assistant", "content": null, "reasoning_content": "r",
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get",
    "arguments": "{\"a\": 1}"}}]})";
constexpr const char* kResult = R"(, {"role": "tool", "tool_call_id": "c1", "content": "42"})";

TEST(Tools, AreReadWithTheirDefinition) {
  const auto request = chat(kTools);
  ASSERT_TRUE(request) << request.error().message;
  ASSERT_EQ(request->tools.size(), 1U);
  EXPECT_EQ(request->tools[0].name, "get");
  EXPECT_THAT(request->tools[0].definition, HasSubstr(R"("parameters":{"type":"object"})"));
  EXPECT_EQ(request->tool_choice.kind, Kind::kAuto);
  EXPECT_TRUE(request->parallel_tool_calls);
}

TEST(Tools, EveryChoice) {
  const std::string tools = kTools;
  EXPECT_EQ(chat(tools + R"(, "tool_choice": "none")")->tool_choice.kind, Kind::kNone);
  EXPECT_EQ(chat(tools + R"(, "tool_choice": "required")")->tool_choice.kind, Kind::kRequired);
  const auto named =
      chat(tools + R"(, "tool_choice": {"type": "function", "function": {"name": "get"}})");
  EXPECT_EQ(named->tool_choice.kind, Kind::kNamed);
  EXPECT_EQ(named->tool_choice.name, "get");
  EXPECT_FALSE(chat(tools + R"(, "parallel_tool_calls": false)")->parallel_tool_calls);
}

TEST(Tools, WrongOnesAreRefusedByName) {
  const std::string tools = kTools;
  const std::pair<std::string, const char*> cases[] = {
      {tools + R"(, "tool_choice": "any")",
       "tool_choice: found 'any', expected none, auto or required"},
      {tools + R"(, "tool_choice": {"type": "function", "function": {"name": "put"}})",
       "names 'put'"},
      {tools + R"(, "tool_choice": {"type": "function"})", "tool_choice.function: is missing"},
      {R"("tools": [{"type": "web_search"}])", "tools[0].type: 'web_search'"},
      {R"("tools": [{"type": "function", "function": {}}])", "tools[0].function.name: is missing"},
      {R"("tools": [{"type": "function", "function": {"name": "<|im_end|>"}}])",
       "tools[0].function.name: expected"},
      {R"("tools": [{"type": "function", "function": {"name": "a", "parameters": 3}}])",
       "tools[0].function.parameters: found 3"},
      {R"("tools": [{"type": "function", "function": {"name": "a", "strict": true}}])",
       "strict' is not supported: arguments are not held"},
      {tools + R"(, "tool_choice": "required", "response_format": {"type": "json_object"})",
       "json_object goes with neither"},
  };
  for (const auto& [fields, message] : cases) {
    const auto request = chat(fields);
    ASSERT_FALSE(request) << fields;
    EXPECT_THAT(request.error().message, HasSubstr(message));
  }
}

TEST(Tools, CallsAndResultsInHistory) {
  const auto request = chat(kTools, std::string(kCall) + kResult);
  ASSERT_TRUE(request) << request.error().message;
  ASSERT_EQ(request->messages.size(), 3U);
  EXPECT_EQ(request->messages[1].reasoning, "r");
  ASSERT_EQ(request->messages[1].tool_calls.size(), 1U);
  EXPECT_EQ(request->messages[1].tool_calls[0].arguments, R"({"a": 1})");
  EXPECT_EQ(request->messages[2].tool_call_id, "c1");
  EXPECT_EQ(request->messages[2].name, "get");
  const std::pair<std::string, const char*> cases[] = {
      {kResult, "messages[1].tool_call_id: no assistant's message"},
      {R"(, {"role": "tool", "content": "42"})", "messages[1].tool_call_id: is missing"},
      {R"(, {"role": "user", "content": "", "tool_calls": []}, {"role": "user"})",
       "messages[2].content: is missing"},
      {R"(, {"role": "assistant", "tool_calls": [{"id": "c", "function": {}}]})",
       "messages[1].tool_calls[0].function.name: is missing"},
      {R"(, {"role": "assistant", "tool_calls": [{"function": {"name": "a"}}]})",
       "messages[1].tool_calls[0].id: is missing"},
  };
  for (const auto& [messages, message] : cases) {
    const auto refused = chat(R"("n": 1)", messages);
    ASSERT_FALSE(refused) << messages;
    EXPECT_THAT(refused.error().message, HasSubstr(message));
  }
}

TEST(Prefix, OnlyOfALastAnswer) {
  const char* prefix = R"(, {"role": "assistant", "content": "So", "prefix": true})";
  EXPECT_TRUE(chat(R"("n": 1)", prefix)->messages.back().prefix);
  const char* plain = R"(, {"role": "assistant", "content": "So"})";
  EXPECT_FALSE(chat(R"("n": 1)", plain)->messages.back().prefix);
  EXPECT_TRUE(chat(R"("continue_final_message": true, "add_generation_prompt": false)", plain)
                  ->messages.back()
                  .prefix);
  EXPECT_FALSE(chat(R"("n": 1)", R"(, {"role": "user", "content": "So", "prefix": true})"));
  EXPECT_FALSE(chat(R"("n": 1)", std::string(prefix) + R"(, {"role": "user", "content": "x"})"));
}

TEST(Thinking, EveryWayToAsk) {
  EXPECT_EQ(chat(R"("reasoning_effort": "minimal")")->effort, "low");
  EXPECT_EQ(chat(R"("reasoning_effort": "medium")")->effort, "high");
  EXPECT_EQ(chat(R"("reasoning_effort": "ultra")")->effort, "max");
  EXPECT_EQ(chat(R"("reasoning_effort": "none")")->thinking, false);
  EXPECT_EQ(chat(R"("thinking": {"type": "disabled"}, "reasoning_effort": "high")")->thinking,
            false);
  EXPECT_EQ(chat(R"("thinking_token_budget": 0)")->thinking_budget, 0);
  EXPECT_EQ(chat(R"("thinking": {"type": "enabled", "budget_tokens": 9})")->thinking_budget, 9);
}

TEST(ServiceTier, IsAPriority) {
  EXPECT_EQ(chat(R"("service_tier": "flex")")->priority, 10);
  EXPECT_EQ(chat(R"("service_tier": "priority")")->priority, -10);
  EXPECT_EQ(chat(R"("service_tier": "priority", "priority": 3)")->priority, 3);
  EXPECT_EQ(chat(R"("service_tier": "auto")")->service_tier, "default");
}

TEST(Answers, CallsWholeAndInPieces) {
  AnswerChoice choice;
  choice.calls = {{0, "call_1", "get", R"({"a":1})"}};
  choice.finish_reason = "tool_calls";
  const AnswerChoice choices[] = {choice};
  EXPECT_THAT(chat_answer({}, choices, {}),
              HasSubstr(R"("message":{"role":"assistant","content":null,"tool_calls":[{"id":)"
                        R"("call_1","type":"function","function":{"name":"get","arguments":)"
                        R"("{\"a\":1}"}}]})"));
  AnswerChoice delta;
  delta.calls = {{1, "call_2", "put", ""}};
  EXPECT_THAT(chat_chunk({}, delta, false, false),
              HasSubstr(R"("delta":{"tool_calls":[{"index":1,"id":"call_2","type":"function",)"
                        R"("function":{"name":"put","arguments":""}}]})"));
  delta.calls = {{1, "", "", "{"}};
  EXPECT_THAT(chat_chunk({}, delta, false, false),
              HasSubstr(R"("tool_calls":[{"index":1,"function":{"arguments":"{"}}])"));
}

}  // namespace
}  // namespace hadal::api
