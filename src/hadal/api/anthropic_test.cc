#include "hadal/api/anthropic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hadal::api {
namespace {

using ::testing::HasSubstr;
using Kind = ToolChoice::Kind;

std::string body(const std::string& messages, const std::string& fields = "") {
  return R"({"model": "m", "max_tokens": 5, "messages": [)" + messages + "]" +
         (fields.empty() ? "" : ", " + fields) + "}";
}
constexpr const char* kUser = R"({"role": "user", "content": "x"})";
constexpr const char* kTools = R"("tools": [{"name": "get", "description": "d",
    "input_schema": {"type": "object"}}])";

ChatRequest parsed(const std::string& text) {
  auto request = parse_messages_request(text, false);
  EXPECT_TRUE(request) << text << ": " << request.error().message;
  return request ? *request : ChatRequest();
}

TEST(Messages, PlainFields) {
  const ChatRequest request = parsed(body(
      kUser, R"("system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "b"}], "stop_sequences": ["s"], "temperature": 0.5,
                "top_k": 3, "top_p": 0.9, "metadata": {"user_id": "u"}, "stream": true)"));
  ASSERT_EQ(request.messages.size(), 2U);
  EXPECT_EQ(request.messages[0].role, "system");
  EXPECT_EQ(request.messages[0].content, "a\nb");
  EXPECT_EQ(request.sampling.max_tokens, 5);
  EXPECT_EQ(request.sampling.stop, std::vector<std::string>{"s"});
  EXPECT_EQ(request.cache_scope, "u");
  EXPECT_TRUE(request.stream);
  EXPECT_EQ(request.thinking, std::nullopt);
  EXPECT_FALSE(request.thinks_unasked);
  EXPECT_FALSE(request.include_reasoning);
}

TEST(Messages, ThinkingAndEffort) {
  const ChatRequest request = parsed(body(
      kUser,
      R"("thinking": {"type": "enabled", "budget_tokens": 64}, "output_config": {"effort": "max"})"));
  EXPECT_EQ(request.thinking, true);
  EXPECT_EQ(request.thinking_budget, 64);
  EXPECT_EQ(request.effort, "max");
  EXPECT_TRUE(request.include_reasoning);
}

TEST(Messages, ToolsAndResults) {
  const ChatRequest request =
      parsed(body(std::string(kUser) + R"(, {"role": "assistant", "content": [
          {"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "Look."},
          {"type": "tool_use", "id": "t1", "name": "get", "input": {"a": 1}}]},
        {"role": "user", "content": [
          {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "42"}]},
          {"type": "text", "text": "and?"}]})",
                  std::string(kTools) +
                      R"(, "tool_choice": {"type": "any", "disable_parallel_tool_use": true})"));
  ASSERT_EQ(request.messages.size(), 4U);
  EXPECT_EQ(request.messages[1].reasoning, "hm");
  EXPECT_EQ(request.messages[1].content, "Look.");
  EXPECT_EQ(request.messages[1].tool_calls[0].arguments, R"({"a":1})");
  EXPECT_EQ(request.messages[2].role, "tool");
  EXPECT_EQ(request.messages[2].content, "42");
  EXPECT_EQ(request.messages[2].name, "get");
  EXPECT_EQ(request.messages[3].content, "and?");
  EXPECT_EQ(request.tool_choice.kind, Kind::kRequired);
  EXPECT_FALSE(request.parallel_tool_calls);
  EXPECT_THAT(request.tools[0].definition,
              HasSubstr(R"("function":{"name":"get","description":"d","parameters":)"));
}

TEST(Messages, AnAnswerThatHasBegunGoesOn) {
  const ChatRequest request =
      parsed(body(std::string(kUser) + R"(, {"role": "assistant", "content": "So"})"));
  EXPECT_TRUE(request.messages.back().prefix);
}

TEST(Messages, RefusalsNameTheField) {
  const std::pair<std::string, const char*> cases[] = {
      {R"({"messages": [{"role": "user", "content": "x"}]})", "max_tokens: is missing"},
      {R"({"max_tokens": 1})", "messages: is missing"},
      {body(R"({"role": "user", "content": [{"type": "image", "source": {}}]})"),
       "messages[0].content[0].type: blocks of type 'image'"},
      {body(R"({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]})"),
       "no assistant's message"},
      {body(R"({"role": "cat", "content": "x"})"), "messages[0].role: found 'cat'"},
      {body(kUser, R"("tools": [{"type": "web_search_20250305", "name": "web_search"}])"),
       "tools[0].type: 'web_search_20250305'"},
      {body(kUser, std::string(kTools) + R"(, "tool_choice": {"type": "tool", "name": "put"})"),
       "not in tools"},
      {body(kUser, R"("mcp_servers": [1])"), "'mcp_servers' is not supported"},
      {body(kUser, R"("output_config": {"effort": "odd"})"), "output_config.effort: found 'odd'"},
      {body(kUser, R"("max_token": 3)"), "did you mean 'max_tokens'"},
  };
  for (const auto& [text, message] : cases) {
    const auto request = parse_messages_request(text, false);
    ASSERT_FALSE(request) << text;
    EXPECT_THAT(request.error().message, HasSubstr(message));
  }
  EXPECT_TRUE(parse_messages_request(R"({"messages": [{"role": "user", "content": "x"}]})", true));
}

AnswerChoice answer() {
  AnswerChoice choice;
  choice.reasoning = "hm";
  choice.content = "Look.";
  choice.calls = {{0, "call_1", "get", R"({"a":1})"}};
  choice.finish_reason = "tool_calls";
  return choice;
}

TEST(MessagesForm, WholeAnswer) {
  const AnswerChoice choices[] = {answer()};
  const std::string text = messages_form({"msg_1", 0, "m", "f"})->whole(choices, {10, 5, 4, 2});
  EXPECT_THAT(text, HasSubstr(R"("content":[{"type":"thinking","thinking":"hm","signature":""},)"
                              R"({"type":"text","text":"Look."},{"type":"tool_use","id":"call_1",)"
                              R"("name":"get","input":{"a":1}}],"stop_reason":"tool_use")"));
  EXPECT_THAT(text, HasSubstr(R"("usage":{"input_tokens":6,"cache_creation_input_tokens":0,)"
                              R"("cache_read_input_tokens":4,"output_tokens":5})"));
  AnswerChoice broken = answer();
  broken.calls[0].arguments = "{\"a";
  const AnswerChoice cut[] = {broken};
  EXPECT_THAT(messages_form({})->whole(cut, {}), HasSubstr(R"("input":{"raw_arguments":"{\"a"})"));
}

TEST(MessagesForm, StreamEventsInOrder) {
  const auto form = messages_form({"msg_1", 0, "m", "f", "", 10});
  std::string out = form->stream_begin({});
  AnswerChoice thinking;
  thinking.reasoning = "h";
  out += form->stream_delta(thinking);
  out += form->stream_delta(answer());
  out += form->stream_end({10, 5, 4, 2});
  size_t at = 0;
  for (const char* part :
       {R"("type":"message_start")", R"("input_tokens":10)",
        R"("index":0,"content_block":{"type":"thinking")", R"("thinking":"h")",
        R"("thinking":"hm")", R"("type":"content_block_stop","index":0)",
        R"("index":1,"content_block":{"type":"text")", R"("text_delta","text":"Look.")",
        R"("type":"content_block_stop","index":1)",
        R"("index":2,"content_block":{"type":"tool_use")",
        R"("input_json_delta","partial_json":"{\"a\":1}")",
        R"("type":"content_block_stop","index":2)", R"("stop_reason":"tool_use")",
        R"("output_tokens":5)", R"("type":"message_stop")"}) {
    const size_t found = out.find(part, at);
    ASSERT_NE(found, std::string::npos) << part << " in " << out;
    at = found;
  }
}

TEST(MessagesForm, Errors) {
  EXPECT_EQ(messages_error({Code::kUnauthorized, "no"}),
            R"({"type":"error","error":{"type":"authentication_error","message":"no"}})");
  EXPECT_THAT(messages_error({Code::kForbidden, "no"}), HasSubstr("permission_error"));
  EXPECT_THAT(messages_error({Code::kExhausted, "no"}), HasSubstr("rate_limit_error"));
}

}  // namespace
}  // namespace hadal::api
