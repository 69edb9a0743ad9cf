#include "hadal/api/responses.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <span>
#include <utility>

#include "hadal/api/sealed.h"

namespace hadal::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace json = boost::json;
using Kind = ToolChoice::Kind;

std::string body(const std::string& input, const std::string& fields = "") {
  return R"({"model": "m", "input": )" + input + (fields.empty() ? "" : ", " + fields) + "}";
}
std::string items(const std::string& list) { return body("[" + list + "]"); }
constexpr const char* kUser = R"({"role": "user", "content": "x"})";
constexpr const char* kCall =
    R"({"type": "function_call", "call_id": "c", "name": "get", "arguments": "{}"})";
constexpr const char* kTools =
    R"("tools": [{"type": "function", "name": "get", "description": "d",
                  "parameters": {"type": "object"}},
                 {"type": "function", "name": "put", "strict": null}])";

ResponsesRequest parsed(const std::string& text) {
  auto request = parse_responses(text);
  EXPECT_TRUE(request) << text << ": " << request.error().message;
  return request ? *request : ResponsesRequest();
}

TEST(Responses, PlainFields) {
  const ResponsesRequest request = parsed(
      body(R"("hi")", R"("instructions": "Be brief.", "max_output_tokens": 7, "temperature": 0.5,
          "top_p": 0.9, "reasoning": {"effort": "xhigh", "summary": "auto"}, "stream": true,
          "text": {"format": {"type": "json_object"}, "verbosity": "low"}, "user": "u",
          "service_tier": "flex", "include": ["message.output_text.logprobs"], "top_logprobs": 3,
          "parallel_tool_calls": false, "metadata": {"a": "b"}, "seed": 4, "store": false,
          "background": false, "previous_response_id": null, "truncation": "disabled")"));
  ASSERT_EQ(request.messages.size(), 2U);
  EXPECT_EQ(request.messages[0].role, "system");
  EXPECT_EQ(request.messages[0].content, "Be brief.");
  EXPECT_EQ(request.messages[1].content, "hi");
  EXPECT_EQ(request.sampling.max_tokens, 7);
  EXPECT_EQ(request.sampling.seed, 4);
  EXPECT_EQ(request.sampling.top_p, 0.9);
  EXPECT_EQ(request.thinking, true);
  EXPECT_EQ(request.effort, "high");
  EXPECT_EQ(request.priority, 10);
  EXPECT_EQ(request.logprobs, 3);
  EXPECT_TRUE(request.stream);
  EXPECT_TRUE(request.json_object);
  EXPECT_FALSE(request.parallel_tool_calls);
  EXPECT_FALSE(request.echo.sealed_reasoning);
  const json::object echo = json::parse(request.echo.fields).as_object();
  EXPECT_EQ(echo.at("metadata"), json::parse(R"({"a": "b"})"));
  EXPECT_EQ(echo.at("reasoning"), json::parse(R"({"effort": "xhigh", "summary": null})"));
  EXPECT_EQ(echo.at("max_output_tokens"), 7);
  EXPECT_EQ(echo.at("user"), "u");
}

// What one turn made in several items is one message of the conversation.
TEST(Responses, ItemsBecomeMessages) {
  const ResponsesRequest request = parsed(body(
      R"([{"role": "developer", "content": "rules"},
          {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"},
                                                          {"type": "input_text", "text": "b"}]},
          {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "no"}],
           "content": [{"type": "reasoning_text", "text": "hm"}]},
          {"type": "message", "id": "msg", "role": "assistant", "status": "completed",
           "content": [{"type": "output_text", "text": "Look.", "annotations": []}]},
          {"type": "function_call", "id": "fc", "call_id": "c1", "name": "get", "arguments": "{1"},
          {"type": "function_call", "call_id": "c2", "name": "put", "arguments": {"a": 1}},
          {"type": "function_call_output", "call_id": "c2", "output": "two"},
          {"type": "function_call_output", "call_id": "c1",
           "output": [{"type": "input_text", "text": "one"}]},
          {"role": "assistant", "content": "Done."}, {"role": "assistant", "content": "Really."},
          {"role": "user", "content": "and?"}])",
      R"("instructions": "first")"));
  std::vector<std::string> seen;
  for (const Message& message : request.messages) {
    seen.push_back(message.role + ":" + message.content);
    EXPECT_FALSE(message.prefix);
  }
  EXPECT_THAT(seen, ElementsAre("system:first\n\nrules", "user:ab", "assistant:Look.", "tool:two",
                                "tool:one", "assistant:Done.", "assistant:Really.", "user:and?"));
  const Message& turn = request.messages[2];
  EXPECT_EQ(turn.reasoning, "hm");
  ASSERT_EQ(turn.tool_calls.size(), 2U);
  EXPECT_EQ(turn.tool_calls[0].id, "c1");
  EXPECT_EQ(turn.tool_calls[0].arguments, "{1");
  EXPECT_EQ(turn.tool_calls[1].arguments, R"({"a":1})");
  EXPECT_EQ(request.messages[3].name, "put");
}

TEST(Responses, ReasoningComesBackSealed) {
  for (const std::string text : {"", "a", "ab", "abc", "abcd", "h\xc3\xa9\n\"\\ <think>"}) {
    EXPECT_EQ(unseal(seal(text)), text);
  }
  for (const char* other : {"", "gAAAAAB", "hadal1.abc", "hadal1.ab*=", "hadal1"}) {
    EXPECT_EQ(unseal(other), std::nullopt) << other;
  }
  const auto reasoning = [](const std::string& sealed) {
    const ResponsesRequest request = parsed(items(
        std::string(kUser) + R"(, {"type": "reasoning", "summary": [], "encrypted_content": ")" +
        sealed + R"("}, {"role": "assistant", "content": "y"}, )" + kUser));
    return request.messages[1].reasoning;
  };
  EXPECT_EQ(reasoning(seal("hm")), "hm");
  EXPECT_EQ(reasoning("of another server"), "");
}

TEST(Responses, ToolsAndChoices) {
  const auto chosen = [](const std::string& choice) {
    return parsed(body(R"("x")", std::string(kTools) + R"(, "tool_choice": )" + choice));
  };
  EXPECT_THAT(chosen(R"("auto")").tools[0].definition,
              HasSubstr(R"({"type":"function","function":{"name":"get","description":"d",)"));
  EXPECT_EQ(chosen(R"("none")").tool_choice.kind, Kind::kNone);
  EXPECT_EQ(chosen(R"("required")").tool_choice.kind, Kind::kRequired);
  const auto named = chosen(R"({"type": "function", "name": "put"})");
  EXPECT_EQ(named.tool_choice.kind, Kind::kNamed);
  EXPECT_EQ(named.tool_choice.name, "put");
  const auto allowed = chosen(R"({"type": "allowed_tools", "mode": "required",
                                  "tools": [{"type": "function", "name": "put"}]})");
  EXPECT_EQ(allowed.tool_choice.kind, Kind::kRequired);
  ASSERT_EQ(allowed.tools.size(), 1U);
  EXPECT_EQ(allowed.tools[0].name, "put");
  const json::object echo = json::parse(allowed.echo.fields).as_object();
  EXPECT_EQ(echo.at("tools").as_array().size(), 2U) << "as they were sent";
  EXPECT_EQ(echo.at("tools").as_array()[1].at("strict"), false);
}

struct Refusal {
  std::string body;
  const char* message;
  const char* param;
};
void expect_refusals(std::span<const Refusal> cases) {
  for (const Refusal& c : cases) {
    const auto request = parse_responses(c.body);
    ASSERT_FALSE(request) << c.body;
    EXPECT_THAT(request.error().message, HasSubstr(c.message)) << c.body;
    EXPECT_EQ(request.error().param, c.param) << c.body;
  }
}

TEST(Responses, RefusalsOfItemsNameThem) {
  const std::string user = kUser;
  const Refusal cases[] = {
      {"{}", "input: is missing", "input"},
      {body("5"), "input: found 5, expected string or array of 1 to", "input"},
      {body("[]"), "input: found array of 0", "input"},
      {items(R"({"type": "reasoning", "summary": []})"), "input: holds no message", "input"},
      {items("1"), "input[0]: found 1", "input[0]"},
      {items(R"({"content": "x"})"), "input[0].role: is missing", "input[0].role"},
      {items(R"({"role": "user"})"), "input[0].content: is missing", "input[0].content"},
      {items(R"({"role": "tool", "content": "x"})"), "found 'tool'", "input[0].role"},
      {items(R"({"role": "user", "content": [{"type": "input_image"}]})"),
       "parts of type 'input_image' are not supported", "input[0].content[0].type"},
      {items(user + R"(, {"type": "web_search_call", "id": "w"})"),
       "items of type 'web_search_call' are not supported", "input[1].type"},
      {items(user + R"(, {"type": "item_reference", "id": "w"})"), "item_reference",
       "input[1].type"},
      {items(user + R"(, {"type": "function_call_output", "call_id": "c", "output": "x"})"),
       "no function_call before it has this call_id", "input[1].call_id"},
      {items(user + ", " + kCall + R"(, {"type": "function_call_output", "call_id": "c"})"),
       "input[2].output: is missing", "input[2].output"},
      {items(user + R"(, {"type": "function_call", "name": "get"})"), "call_id: is missing",
       "input[1].call_id"},
      {items(user + R"(, {"type": "function_call", "call_id": "c", "name": "a b"})"),
       "expected 1 to 128 letters", "input[1].name"},
  };
  expect_refusals(cases);
}

TEST(Responses, RefusalsOfFieldsNameThem) {
  const Refusal cases[] = {
      {body(R"("x")", R"("tools": [{"type": "web_search"}])"), "'web_search' is not supported",
       "tools[0].type"},
      {body(R"("x")", R"("tools": [{"type": "custom", "name": "x"}])"), "'custom'",
       "tools[0].type"},
      {body(R"("x")", R"("tools": [{"type": "function"}])"), "name: is missing", "tools[0].name"},
      {body(R"("x")", R"("tools": [{"type": "function", "name": "a", "strict": true}])"),
       "not held to the schema", "tools[0].strict"},
      {body(R"("x")", R"("tool_choice": "required")"), "without tools", "tool_choice"},
      {body(R"("x")", kTools + std::string(R"(, "tool_choice": {"type": "mcp"})")), "found 'mcp'",
       "tool_choice.type"},
      {body(R"("x")", kTools + std::string(R"(, "tool_choice": {"type": "function"})")),
       "name: is missing", "tool_choice.name"},
      {body(R"("x")",
            kTools + std::string(R"(, "tool_choice": {"type": "function", "name": "cut"})")),
       "names 'cut'", "tool_choice"},
      {body(R"("x")", R"("top_logprobs": 2)"), "needs \"include\"", "top_logprobs"},
      {body(R"("x")", R"("include": ["file_search_call.results"])"), "found 'file_search",
       "include[0]"},
      {body(R"("x")", R"("text": {"format": {"type": "json_schema"}})"), "type 'json_schema'",
       "text.format"},
      {body(R"("x")", R"("reasoning": {"effort": "some"})"), "found 'some'", "reasoning.effort"},
      {body(R"("x")", R"("reasoning": {"summary": "detailed"})"), "expected auto",
       "reasoning.summary"},
      {body(R"("x")", R"("metadata": {"a": 1})"), "metadata: expected", "metadata"},
      {body(R"("x")", R"("truncation": "auto")"), "expected disabled", "truncation"},
      {body(R"("x")", R"("max_output_tokens": 0)"), "integer 1 to", "max_output_tokens"},
      {body(R"("x")", R"("previous_response_id": "resp_1")"), "answers are not stored",
       "previous_response_id"},
      {body(R"("x")", R"("conversation": "c")"), "not supported", "conversation"},
      {body(R"("x")", R"("background": true)"), "not supported", "background"},
      {body(R"("x")", R"("store": true)"), "not stored", "store"},
      {body(R"("x")", R"("prompt": {"id": "p"})"), "not supported", "prompt"},
      {body(R"("x")", R"("messages": [])"), "unknown field 'messages'", "messages"},
      {body(R"("x")", R"("instruction": "y")"), "did you mean 'instructions'", "instruction"},
  };
  expect_refusals(cases);
}

AnswerChoice answer() {
  AnswerChoice choice;
  choice.reasoning = "hm";
  choice.content = "Look.Again.";
  choice.calls = {{0, "call_1", "get", R"({"a":1})"}};
  choice.runs = {{AnswerRun::Kind::kReasoning, 2},
                 {AnswerRun::Kind::kContent, 5},
                 {AnswerRun::Kind::kCall, 0},
                 {AnswerRun::Kind::kContent, 6}};
  choice.finish_reason = "tool_calls";
  return choice;
}

struct Event {
  std::string name;
  json::object data;
};
std::vector<Event> events_of(std::string_view text) {
  std::vector<Event> events;
  while (!text.empty()) {
    const size_t line = text.find('\n');
    const size_t end = text.find("\n\n");
    EXPECT_TRUE(text.starts_with("event: ") && text.substr(line + 1).starts_with("data: "));
    events.push_back({std::string(text.substr(7, line - 7)),
                      json::parse(text.substr(line + 7, end - line - 7)).as_object()});
    EXPECT_EQ(events.back().data.at("type"), json::value(events.back().name));
    EXPECT_EQ(events.back().data.at("sequence_number"), json::value(events.size() - 1));
    text.remove_prefix(end + 2);
  }
  return events;
}

TEST(ResponsesForm, ItemsStandInTheOrderInWhichTheyCame) {
  const AnswerChoice choices[] = {answer()};
  const auto form = responses_form({"resp_7", 5, "m", "f"}, {R"({"user": "u"})", true});
  const json::object root = json::parse(form->whole(choices, {10, 5, 4, 2})).as_object();
  EXPECT_EQ(root.at("id"), "resp_7");
  EXPECT_EQ(root.at("status"), "completed");
  EXPECT_EQ(root.at("user"), "u");
  EXPECT_EQ(root.at("usage"), json::parse(R"({"input_tokens": 10, "output_tokens": 5,
      "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
      "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 15})"));
  EXPECT_EQ(root.at("output"), json::parse(R"([
      {"id": "rs_7_0", "type": "reasoning", "summary": [], "status": "completed",
       "content": [{"type": "reasoning_text", "text": "hm"}], "encrypted_content": "hadal1.aG0="},
      {"id": "msg_7_1", "type": "message", "role": "assistant", "status": "completed",
       "content": [{"type": "output_text", "text": "Look.", "annotations": [], "logprobs": []}]},
      {"id": "fc_7_2", "type": "function_call", "call_id": "call_1", "name": "get",
       "arguments": "{\"a\":1}", "status": "completed"},
      {"id": "msg_7_3", "type": "message", "role": "assistant", "status": "completed",
       "content": [{"type": "output_text", "text": "Again.", "annotations": [], "logprobs": []}]}
      ])"));
}

TEST(ResponsesForm, StreamEventsInOrder) {
  const auto form = responses_form({"resp_7", 5, "m", "f"}, {});
  std::string out = form->stream_begin({});
  AnswerChoice piece;
  piece.reasoning = "h";
  out += form->stream_delta(piece);
  piece.reasoning = "m";
  piece.content = "Lo";
  out += form->stream_delta(piece);
  piece = {};
  piece.content = "ok";
  piece.calls = {{0, "call_1", "get", "{"}};
  out += form->stream_delta(piece);
  piece = {};
  piece.calls = {{0, "", "", "}"}, {1, "call_2", "put", ""}};
  out += form->stream_delta(piece);
  piece = {};
  piece.finish_reason = "tool_calls";
  out += form->stream_delta(piece);
  out += form->stream_end({10, 5, 4, 2});
  std::string told;
  const std::vector<Event> events = events_of(out);
  for (const Event& event : events) {
    told += event.name.substr(9);
    if (event.data.contains("output_index")) {
      told += " " + std::to_string(event.data.at("output_index").as_int64());
    }
    if (event.data.contains("delta")) told += " " + std::string(event.data.at("delta").as_string());
    told += "\n";
  }
  EXPECT_EQ(told, R"(created
in_progress
output_item.added 0
content_part.added 0
reasoning_text.delta 0 h
reasoning_text.delta 0 m
reasoning_text.done 0
content_part.done 0
output_item.done 0
output_item.added 1
content_part.added 1
output_text.delta 1 Lo
output_text.delta 1 ok
output_text.done 1
content_part.done 1
output_item.done 1
output_item.added 2
function_call_arguments.delta 2 {
function_call_arguments.delta 2 }
function_call_arguments.done 2
output_item.done 2
output_item.added 3
function_call_arguments.done 3
output_item.done 3
completed
)");
  const json::array& output = events.back().data.at("response").at("output").as_array();
  ASSERT_EQ(output.size(), 4U);
  EXPECT_EQ(output[1].at("content").at(0).at("text"), "Look");
  EXPECT_EQ(output[2].at("arguments"), "{}");
  EXPECT_EQ(output[3].at("call_id"), "call_2");
}

TEST(ResponsesForm, EndsThatAreNotComplete) {
  AnswerChoice cut;
  cut.reasoning = "hm";
  cut.finish_reason = "length";
  const AnswerChoice choices[] = {cut};
  const json::value root =
      json::parse(responses_form({"resp_7", 0, "m", "f"}, {})->whole(choices, {}));
  EXPECT_EQ(root.at("status"), "incomplete");
  EXPECT_EQ(root.at("incomplete_details").at("reason"), "max_output_tokens");
  EXPECT_EQ(root.at("output").as_array().size(), 1U);
  EXPECT_EQ(root.at("output").at(0).at("status"), "incomplete");
  EXPECT_EQ(root.at("output").at(0).at("encrypted_content"), nullptr);

  // A turn that says nothing still has its message.
  AnswerChoice silent;
  silent.reasoning = "hm";
  silent.finish_reason = "stop";
  const AnswerChoice nothing[] = {silent};
  const json::value quiet =
      json::parse(responses_form({"resp_7", 0, "m", "f"}, {})->whole(nothing, {}));
  ASSERT_EQ(quiet.at("output").as_array().size(), 2U);
  EXPECT_EQ(quiet.at("output").at(1).at("type"), "message");

  const auto form = responses_form({"resp_7", 0, "m", "f"}, {});
  std::string out = form->stream_begin({});
  AnswerChoice piece;
  piece.content = "Lo";
  out += form->stream_delta(piece);
  out += form->stream_error({Code::kInternal, "a fault"});
  const std::vector<Event> events = events_of(out);
  EXPECT_EQ(events.back().name, "response.failed");
  const json::value& failed = events.back().data.at("response");
  EXPECT_EQ(failed.at("status"), "failed");
  EXPECT_EQ(failed.at("error"), json::parse(R"({"code": "server_error", "message": "a fault"})"));
}

TEST(ResponsesForm, LogprobsStandWithTheirText) {
  const auto form = responses_form({"resp_7", 0, "m", "f"}, {});
  form->stream_begin({});
  AnswerChoice held;
  held.logprobs = {{{"a", -1.0f}, true, {{"a", -1.0f}, {"b", -2.0f}}}};
  EXPECT_EQ(form->stream_delta(held), "");
  AnswerChoice text;
  text.content = "ab";
  text.logprobs = {{{"b", -3.0f}, true, {}}};
  EXPECT_THAT(form->stream_delta(text),
              HasSubstr(R"("delta":"ab","logprobs":[{"token":"a","logprob":-1E0,"bytes":[97],)"));
  AnswerChoice end;
  end.finish_reason = "stop";
  const std::string out = form->stream_delta(end);
  EXPECT_THAT(out, HasSubstr(R"("logprob":-3E0)"));
}

}  // namespace
}  // namespace hadal::api
