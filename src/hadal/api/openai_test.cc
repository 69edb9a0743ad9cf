#include "hadal/api/openai.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "hadal/api/openai_answer.h"
#include "hadal/api/utf8.h"
#include "hadal/base/limits.h"

namespace hadal::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

std::string with(const std::string& fields) {
  const std::string messages = R"({"messages": [{"role": "user", "content": "hi"}])";
  return messages + (fields.empty() ? "" : ", ") + fields + "}";
}

ChatRequest parsed(const std::string& fields) {
  auto request = parse_chat(with(fields));
  EXPECT_TRUE(request) << fields << ": " << request.error().message;
  return request ? *request : ChatRequest();
}

ApiError refused(const std::string& body) {
  auto request = parse_chat(body);
  EXPECT_FALSE(request) << body.substr(0, 200);
  return request ? ApiError() : request.error();
}

TEST(Chat, LeavesTheModelsDefaultsOpen) {
  const ChatRequest request = parsed("");
  EXPECT_EQ(request.messages.size(), 1u);
  EXPECT_EQ(request.messages[0].role, "user");
  EXPECT_EQ(request.messages[0].content, "hi");
  EXPECT_FALSE(request.sampling.temperature);
  EXPECT_FALSE(request.sampling.top_p);
  EXPECT_FALSE(request.sampling.max_tokens);
  EXPECT_FALSE(request.sampling.seed);
  EXPECT_FALSE(request.thinking);
  EXPECT_EQ(request.choices, 1);
  EXPECT_EQ(request.logprobs, -1);
  EXPECT_TRUE(request.include_reasoning && request.skip_special_tokens);
  EXPECT_FALSE(request.stream || request.include_usage);
}

TEST(Chat, ReadsEveryField) {
  const ChatRequest request = parsed(
      R"("model": "m", "temperature": 0.5, "top_p": 1, "min_p": 0.1, "top_k": 40.0,
         "repetition_penalty": 1.1, "presence_penalty": -2, "frequency_penalty": 2, "seed": -3,
         "max_tokens": 9, "min_tokens": 2, "ignore_eos": true, "stop": ["a", "b"],
         "stop_token_ids": [1, 2], "logit_bias": {"7": -100, "8": 0.5}, "n": 2, "stream": true,
         "stream_options": {"include_usage": true}, "logprobs": true, "top_logprobs": 4,
         "priority": -5, "cache_salt": "tenant", "skip_special_tokens": false,
         "include_stop_str_in_output": true, "include_reasoning": false)");
  const Sampling& sampling = request.sampling;
  EXPECT_EQ(request.model, "m");
  EXPECT_EQ(sampling.temperature, 0.5);
  EXPECT_EQ(sampling.top_p, 1.0);
  EXPECT_EQ(sampling.min_p, 0.1);
  EXPECT_EQ(sampling.top_k, 40);
  EXPECT_EQ(sampling.repetition_penalty, 1.1);
  EXPECT_EQ(sampling.presence_penalty, -2.0);
  EXPECT_EQ(sampling.frequency_penalty, 2.0);
  EXPECT_EQ(sampling.seed, -3);
  EXPECT_EQ(sampling.max_tokens, 9);
  EXPECT_EQ(sampling.min_tokens, 2);
  EXPECT_TRUE(sampling.ignore_eos && sampling.include_stop);
  EXPECT_THAT(sampling.stop, ElementsAre("a", "b"));
  EXPECT_THAT(sampling.stop_token_ids, ElementsAre(1, 2));
  EXPECT_THAT(sampling.logit_bias, ElementsAre(Pair(7, -100.0f), Pair(8, 0.5f)));
  EXPECT_EQ(request.choices, 2);
  EXPECT_TRUE(request.stream && request.include_usage);
  EXPECT_EQ(request.logprobs, 4);
  EXPECT_EQ(request.priority, -5);
  EXPECT_EQ(request.cache_scope, "tenant");
  EXPECT_FALSE(request.skip_special_tokens || request.include_reasoning);
}

TEST(Chat, SmallDifferencesBetweenClients) {
  EXPECT_THAT(parsed(R"("stop": "one")").sampling.stop, ElementsAre("one"));
  EXPECT_TRUE(parsed(R"("stop": null, "seed": null, "n": null)").sampling.stop.empty());
  EXPECT_EQ(parsed(R"("max_tokens": 5, "max_completion_tokens": 6)").sampling.max_tokens, 6);
  EXPECT_EQ(parsed(R"("logprobs": true)").logprobs, 0);
  EXPECT_EQ(parsed(R"("logprobs": false, "top_logprobs": 0)").logprobs, -1);
  EXPECT_EQ(parsed(R"("temperature": 1, "temperature": 0)").sampling.temperature, 0.0)
      << "of a key given twice the last counts";
  EXPECT_EQ(parsed(R"("seed": 9223372036854775807)").sampling.seed, INT64_MAX);
  // Wishes for nothing, written out by client libraries.
  parsed(R"("tools": [], "tool_choice": "none", "store": false, "user": "u", "metadata": {"a": "b"},
            "response_format": {"type": "text"}, "parallel_tool_calls": true, "modalities": ["text"],
            "audio": null, "service_tier": "auto", "stream_options": {})");
}

TEST(Chat, Thinking) {
  EXPECT_EQ(parsed(R"("thinking": {"type": "enabled"})").thinking, true);
  EXPECT_EQ(parsed(R"("thinking": {"type": "disabled"})").thinking, false);
  EXPECT_EQ(parsed(R"("chat_template_kwargs": {"enable_thinking": false})").thinking, false);
  EXPECT_EQ(parsed(R"("chat_template_kwargs": {"thinking": true})").thinking, true);
  EXPECT_EQ(parsed(R"("reasoning_effort": "none")").thinking, false);
  EXPECT_EQ(parsed(R"("reasoning_effort": "max")").thinking, true);
  EXPECT_THAT(refused(with(R"("reasoning_effort": "huge")")).message, HasSubstr("'huge'"));
  EXPECT_THAT(refused(with(R"("thinking": {"type": "maybe"})")).message, HasSubstr("'maybe'"));
  EXPECT_THAT(refused(with(R"("thinking": {})")).message, HasSubstr("thinking.type: is missing"));
  EXPECT_THAT(refused(with(R"("chat_template_kwargs": {"date": 1})")).message,
              HasSubstr("unknown field 'chat_template_kwargs.date'"));
}

TEST(Chat, MessagesInEveryForm) {
  auto request = parse_chat(R"({"messages": [
      {"role": "developer", "content": "be brief", "name": "x"},
      {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
      {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": []},
      {"role": "user", "content": ""}]})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->messages[0].role, "system");
  EXPECT_EQ(request->messages[1].content, "ab");
  EXPECT_EQ(request->messages[2].reasoning, "hm");
  EXPECT_EQ(request->messages[3].content, "");
}

struct Refusal {
  std::string fields;
  std::string message;
  std::string param;
};

TEST(Chat, SaysWhatToChange) {
  std::string many_stops;
  for (int i = 0; i < 17; ++i) many_stops += (i > 0 ? ", \"s\"" : "\"s\"");
  const Refusal cases[] = {
      {R"("temperature": "x")", "temperature: found string, expected number 0 to 2", "temperature"},
      {R"("temperature": -0.1)", "temperature: found -", "temperature"},
      {R"("temperature": 2.1)", "expected number 0 to 2", "temperature"},
      {R"("temperature": true)", "found true", "temperature"},
      {R"("top_p": 0)", "number above 0 to 1", "top_p"},
      {R"("top_p": 1.0001)", "number above 0 to 1", "top_p"},
      {R"("min_p": -1e-9)", "number 0 to 1", "min_p"},
      {R"("top_k": 1.5)", "top_k: found", "top_k"},
      {R"("top_k": 1e10)", "top_k: found", "top_k"},
      {R"("repetition_penalty": 0)", "above 0", "repetition_penalty"},
      {R"("repetition_penalty": 1e300)", "repetition_penalty", "repetition_penalty"},
      {R"("presence_penalty": 2.5)", "-2 to 2", "presence_penalty"},
      {R"("frequency_penalty": [])", "found array of 0", "frequency_penalty"},
      {R"("seed": 1.5)", "seed", "seed"},
      {R"("seed": 18446744073709551615)", "seed", "seed"},
      {R"("n": 129)", "n: found 129, expected integer 1 to 128", "n"},
      {R"("max_tokens": 0)", "max_tokens: found 0", "max_tokens"},
      {R"("max_tokens": 99999999999)", "max_tokens", "max_tokens"},
      {R"("stop": [)" + many_stops + "]", "at most 16 strings", "stop"},
      {R"("stop": [1])", "stop[0]: found 1, expected string", "stop[0]"},
      {R"("stop": ")" + std::string(1025, 'x') + "\"", "1025 bytes, at most 1024", "stop[0]"},
      {R"("stop_token_ids": [-1])", "stop_token_ids[0]: found -1", "stop_token_ids[0]"},
      {R"("logit_bias": {"a": 1})", "token id", "logit_bias"},
      {R"("logit_bias": {"1": null})", "-100 to 100", "logit_bias.1"},
      {R"("logprobs": 1)", "logprobs: found 1, expected true or false", "logprobs"},
      {R"("logprobs": true, "top_logprobs": 21)", "0 to 20", "top_logprobs"},
      {R"("stream": "yes")", "stream: found string, expected true or false", "stream"},
      {R"("stream_options": {"include_usage": 1})", "stream_options.include_usage: found 1",
       "stream_options.include_usage"},
      {R"("priority": "high")", "priority", "priority"},
      {R"("model": 5)", "model: found 5, expected string", "model"},
      {R"("max_token": 5)", "did you mean 'max_tokens'?", "max_token"},
      {R"("quux_frobnicate": 5)", "unknown field 'quux_frobnicate'; remove it", "quux_frobnicate"},
      {R"("tools": [1])", "tools[0]: found 1", "tools[0]"},
      {R"("functions": [1])", "use tools", "functions"},
      {R"("tool_choice": "required")", "without tools", "tool_choice"},
      {R"("response_format": {"type": "json_schema"})", "'json_schema' is not", "response_format"},
      {R"("service_tier": "gold")", "found 'gold'", "service_tier"},
      {R"("thinking_token_budget": -1)", "thinking_token_budget", "thinking_token_budget"},
      {R"("reasoning_effort": "some")", "found 'some'", "reasoning_effort"},
      {R"("continue_final_message": true)", "not an assistant's", "continue_final_message"},
      {R"("response_format": {})", "response_format.type: is missing", "response_format.type"},
      {R"("modalities": ["text", "audio"])", "found 'audio', expected text", "modalities[1]"},
      {R"("store": true)", "'store' is not supported", "store"},
  };
  for (const Refusal& c : cases) {
    const ApiError error = refused(with(c.fields));
    EXPECT_THAT(error.message, HasSubstr(c.message)) << c.fields;
    EXPECT_EQ(error.param, c.param) << c.fields;
    EXPECT_EQ(http_status(error.code), 400) << c.fields;
  }
}

TEST(Chat, SaysWhichMessageIsWrong) {
  const auto message = [](const std::string& m) {
    return refused(R"({"messages": [{"role": "user", "content": "x"}, )" + m + "]}").message;
  };
  EXPECT_THAT(message("5"), HasSubstr("messages[1]: found 5"));
  EXPECT_THAT(message("{}"), HasSubstr("messages[1].role: is missing"));
  EXPECT_THAT(message(R"({"role": "cat", "content": "x"})"), HasSubstr("found 'cat'"));
  EXPECT_THAT(message(R"({"role": "function", "content": "x"})"), HasSubstr("use 'tool'"));
  EXPECT_THAT(message(R"({"role": "user", "content": 5})"),
              HasSubstr("messages[1].content: found 5"));
  EXPECT_THAT(message(R"({"role": "user", "content": [{"type": "image_url"}]})"),
              HasSubstr("messages[1].content[0].type: parts of type 'image_url'"));
  EXPECT_THAT(message(R"({"role": "user", "content": [{"type": "text"}]})"),
              HasSubstr("messages[1].content[0].text: is missing"));
  EXPECT_THAT(message(R"({"role": "assistant", "tool_calls": [{}]})"), HasSubstr("tool_calls"));
  EXPECT_THAT(message(R"({"role": "user", "contents": "x"})"), HasSubstr("mean 'content'"));
  std::string many = R"({"messages": [)";
  for (size_t i = 0; i <= limits::kMessagesMax; ++i) {
    many += (i > 0 ? "," : "") + std::string(R"({"role": "user", "content": ""})");
  }
  EXPECT_THAT(refused(many + "]}").message, HasSubstr("found array of 4097"));
}

TEST(Json, RefusesWhatIsNotOneObject) {
  const std::string deep_ok = R"({"metadata": )" + std::string(62, '[') + std::string(62, ']') +
                              R"(, "messages": [{"role": "user", "content": "x"}]})";
  EXPECT_TRUE(parse_chat(deep_ok));
  const Refusal cases[] = {
      {"", "is empty", ""},
      {" ", "not valid JSON", ""},
      {"null", "is null, expected an object", ""},
      {"[]", "is array of 0, expected an object", ""},
      {"{", "not valid JSON", ""},
      {R"({"a": 1}})", "goes on at byte 8", ""},
      {R"({"a": 1} // c)", "goes on at byte", ""},
      {R"({"a": 1,})", "not valid JSON", ""},
      {R"({'a': 1})", "not valid JSON", ""},
      {R"({"temperature": NaN})", "NaN", ""},
      {R"({"temperature": Infinity})", "Infinity", ""},
      {R"({"temperature": -Infinity})", "Infinity", ""},
      {R"({"a": 01})", "not valid JSON", ""},
      {R"({"a": "\ud800"})", "not valid JSON", ""},
      {R"({"a": "\udc00\ud800"})", "not valid JSON", ""},
      {"{\"a\": \"\n\"}", "not valid JSON", ""},
      {"{\"a\": \"\xff\"}", "not valid UTF-8", ""},
      {"{\"a\": \"\xed\xa0\x80\"}", "not valid UTF-8", ""},
      {"{\"a\": \"\xc0\x80\"}", "not valid UTF-8", ""},
      {R"({"metadata": )" + std::string(65, '[') + std::string(65, ']') + "}", "deeper than 64",
       ""},
      {std::string(5'000'000, '['), "deeper than 64", ""},
  };
  for (const Refusal& c : cases) {
    const ApiError error = refused(c.fields);
    EXPECT_THAT(error.message, HasSubstr(c.message)) << c.fields.substr(0, 80);
    EXPECT_EQ(error.name, "invalid_json");
  }
}

TEST(Completion, TakesEveryFormOfPrompt) {
  const auto prompts = [](const std::string& prompt) {
    auto request = parse_completion(R"({"prompt": )" + prompt + "}");
    EXPECT_TRUE(request) << prompt << ": " << request.error().message;
    return request ? request->prompts : std::vector<Prompt>();
  };
  EXPECT_EQ(prompts(R"("a")"), (std::vector<Prompt>{"a"}));
  EXPECT_EQ(prompts(R"(["a", "b"])"), (std::vector<Prompt>{"a", "b"}));
  EXPECT_EQ(prompts("[1, 2]"), (std::vector<Prompt>{std::vector<int32_t>{1, 2}}));
  EXPECT_EQ(prompts("[[1], [2, 3]]"),
            (std::vector<Prompt>{std::vector<int32_t>{1}, std::vector<int32_t>{2, 3}}));
  EXPECT_EQ(prompts(R"([[1], "b"])"), (std::vector<Prompt>{std::vector<int32_t>{1}, "b"}));
}

TEST(Completion, SaysWhatToChange) {
  const Refusal cases[] = {
      {R"({})", "prompt: is missing", ""},
      {R"({"prompt": null})", "prompt: is missing", ""},
      {R"({"prompt": {}})", "prompt: found object", ""},
      {R"({"prompt": []})", "found array of 0", ""},
      {R"({"prompt": [1, "a"]})", "prompt[1]: found string, expected a token id", ""},
      {R"({"prompt": ["a", 1]})", "prompt[1]: found 1", ""},
      {R"({"prompt": [[1], [-2]]})", "prompt[1][0]: found -2", ""},
      {R"({"prompt": [2147483648]})", "prompt[0]", ""},
      {R"({"prompt": "a", "max_tokens": 0})", "max_tokens: found 0", ""},
      {R"({"prompt": "a", "logprobs": true})", "logprobs: found true", ""},
      {R"({"prompt": "a", "logprobs": -1})", "logprobs", ""},
      {R"({"prompt": "a", "best_of": 1, "n": 2})", "best_of: found 1", ""},
      {R"({"prompt": "a", "best_of": 2, "stream": true})", "cannot be ranked", ""},
      {R"({"prompt": [1], "suffix": "b"})", "suffix: needs a prompt of text", ""},
      {R"({"prompt": "a", "suffix": "b", "echo": true})", "echo: does not go with suffix", ""},
      {R"({"prompt": "a", "response_format": {"type": "json_object"}})", "not supported here", ""},
      {R"({"prompt": "a", "messages": []})", "unknown field 'messages'", ""},
  };
  for (const Refusal& c : cases) {
    auto request = parse_completion(c.fields);
    ASSERT_FALSE(request) << c.fields;
    EXPECT_THAT(request.error().message, HasSubstr(c.message)) << c.fields;
  }
  EXPECT_TRUE(parse_completion(R"({"prompt": "a", "max_tokens": 0, "echo": true})"));
  EXPECT_TRUE(parse_completion(R"({"prompt": "a", "suffix": null, "best_of": 1})"));
  std::string many = R"({"n": 2, "prompt": [)";
  for (int i = 0; i < 1'025; ++i) many += i > 0 ? ", \"a\"" : "\"a\"";
  EXPECT_FALSE(parse_completion(many + "]}"));
}

TEST(Tokenize, OneOfPromptAndMessages) {
  EXPECT_EQ(parse_tokenize(R"({"prompt": "a"})")->prompt, "a");
  EXPECT_EQ(parse_tokenize(R"({"prompt": ""})")->prompt, "");
  EXPECT_TRUE(parse_tokenize(R"({"prompt": "a"})")->add_special_tokens);
  EXPECT_FALSE(
      parse_tokenize(R"({"prompt": "a", "add_special_tokens": false})")->add_special_tokens);
  EXPECT_FALSE(parse_tokenize(R"({})"));
  EXPECT_FALSE(
      parse_tokenize(R"({"prompt": "a", "messages": [{"role": "user", "content": "x"}]})"));
  EXPECT_THAT(parse_detokenize(R"({"tokens": [1, 2]})")->tokens, ElementsAre(1, 2));
  EXPECT_FALSE(parse_detokenize(R"({"tokens": [1, -2]})"));
}

TEST(Fields, TablesNameEachFieldOnce) {
  for (const auto& table : {chat_fields(), completion_fields()}) {
    std::set<std::string_view> names;
    for (const FieldRule& rule : table.rules) {
      EXPECT_TRUE(names.insert(rule.name).second) << rule.name;
      EXPECT_TRUE(rule.use == FieldUse::kHonoured || !rule.note.empty()) << rule.name;
    }
  }
}

TEST(Errors, EveryCodeHasAStatusAndForm) {
  EXPECT_EQ(http_status(Code::kInvalidInput), 400);
  EXPECT_EQ(http_status(Code::kNotFound), 404);
  EXPECT_EQ(http_status(Code::kTooLarge), 413);
  EXPECT_EQ(http_status(Code::kExhausted), 429);
  EXPECT_EQ(http_status(Code::kUnavailable), 503);
  EXPECT_EQ(http_status(Code::kUnauthorized), 401);
  EXPECT_EQ(http_status(Code::kForbidden), 403);
  EXPECT_EQ(http_status(Code::kInternal), 500);
  EXPECT_EQ(error_json({Code::kInvalidInput, "a \"b\" \xff", "n"}),
            R"({"error":{"message":"a \"b\" )"
            "\xef\xbf\xbd"
            R"(","type":"invalid_request_error","param":"n","code":"invalid_value"}})");
  EXPECT_THAT(error_json({Code::kExhausted, "full"}), HasSubstr(R"("param":null)"));
}

AnswerInfo info() { return {"chatcmpl-1", 1'700'000'000, "m", "f"}; }

TEST(Answer, WholeChat) {
  AnswerChoice choice;
  choice.content = "4\n";
  choice.reasoning = "2+2";
  choice.has_reasoning = true;
  choice.finish_reason = "stop";
  const AnswerChoice choices[] = {choice};
  EXPECT_EQ(
      chat_answer(info(), choices, {10, 5, 4, 3}),
      R"({"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m",)"
      R"("system_fingerprint":"f","choices":[{"index":0,"finish_reason":"stop","stop_reason":null,)"
      R"("message":{"role":"assistant","content":"4\n","reasoning_content":"2+2"},"logprobs":null}],)"
      R"("usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,)"
      R"("prompt_tokens_details":{"cached_tokens":4},"prompt_cache_hit_tokens":4,)"
      R"("prompt_cache_miss_tokens":6,"completion_tokens_details":{"reasoning_tokens":3}}})");
}

TEST(Answer, Chunks) {
  AnswerChoice delta;
  delta.index = 1;
  EXPECT_THAT(chat_chunk(info(), delta, true, false),
              AllOf(HasSubstr(R"("delta":{"role":"assistant","content":""})"),
                    HasSubstr(R"("index":1)"), Not(HasSubstr("usage"))));
  delta.has_reasoning = true;
  EXPECT_THAT(chat_chunk(info(), delta, true, true),
              AllOf(HasSubstr(R"({"role":"assistant","content":null,"reasoning_content":""})"),
                    HasSubstr(R"("usage":null)")));
  delta.reasoning = "r";
  EXPECT_THAT(chat_chunk(info(), delta, false, false),
              HasSubstr(R"("delta":{"reasoning_content":"r"})"));
  EXPECT_THAT(usage_chunk(info(), true, {1, 2, 0, 0}),
              AllOf(HasSubstr(R"("choices":[],)"), HasSubstr(R"("total_tokens":3)")));
}

TEST(Answer, LogprobsKeepTheBytesOfHalfCharacters) {
  AnswerChoice choice;
  choice.has_logprobs = true;
  choice.logprobs.push_back({{"\xe4\xbd", -0.5f}, true, {{"\xe4\xbd", -0.5f}, {"a", -INFINITY}}});
  const AnswerChoice choices[] = {choice};
  const std::string chat = chat_answer(info(), choices, {});
  EXPECT_THAT(chat, HasSubstr("\"token\":\"\xef\xbf\xbd\""));
  EXPECT_THAT(chat, HasSubstr("\"bytes\":[228,189]"));
  EXPECT_THAT(chat, HasSubstr("-9.999E3")) << "JSON has no infinity";
  choice.logprobs.insert(choice.logprobs.begin(), {{"ab", 0.0f}, false, {}});
  choice.text_offset = 7;
  const std::string completion = completion_chunk(info(), choice, false);
  EXPECT_THAT(completion, HasSubstr(R"("text_offset":[7,9])"));
  EXPECT_THAT(completion, HasSubstr(R"("token_logprobs":[null,-5E-1])"));
}

TEST(Utf8, ReplacesExactlyTheIllFormed) {
  const std::string bad = "\xef\xbf\xbd";
  const std::pair<std::string, std::string> cases[] = {
      {"", ""},
      {"a\u00e9\u4f60\U0001f642", "a\u00e9\u4f60\U0001f642"},
      {"\xff", bad},
      {"\xe4\xbd", bad},
      {"\xe4\xbdx", bad + "x"},
      {"\xc0\x80", bad + bad},
      {"\xed\xa0\x80", bad + bad + bad},
      {"\xf4\x90\x80\x80", bad + bad + bad + bad},
      {"\xf0\x9f\x99", bad},
      {"\x80", bad},
  };
  for (const auto& [bytes, text] : cases) EXPECT_EQ(valid_utf8(bytes), text);
  EXPECT_EQ(characters("a\u00e9\u4f60"), 3u);
}

}  // namespace
}  // namespace hadal::api
