// The input behind each incident of other inference servers that reaches a server over HTTP, sent
// to this one over a real socket. docs/security.md lists them all, and those that cannot apply.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "hadal/apps/testing/live_service.h"
#include "hadal/base/limits.h"

namespace hadal::apps {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kChatPath = "/v1/chat/completions";
constexpr const char* kCompletionPath = "/v1/completions";

std::string completion(const std::string& fields) { return R"({"prompt": "x", )" + fields + "}"; }

class Incidents : public LiveService {};

// llama.cpp: a negative n_discard became the offset of a write.
TEST_F(Incidents, Cve2026_21869_NegativeCountInJson) {
  for (const char* field : {"max_tokens", "n", "min_tokens", "top_k", "best_of", "logprobs",
                            "n_discard", "n_keep", "stop_token_ids", "prompt"}) {
    for (const char* value : {"-2", "-2147483648", "-9223372036854775808", "[-1]", "[[-1]]"}) {
      const std::string body = std::string(field) == "prompt"
                                   ? fmt::format(R"({{"prompt": {}}})", value)
                                   : completion(fmt::format(R"("{}": {})", field, value));
      const Reply reply = post(kCompletionPath, body);
      EXPECT_EQ(reply.status, 400) << body;
      EXPECT_THAT(reply.body, HasSubstr(field)) << body;
    }
  }
  EXPECT_TRUE(engine_.requests.empty());
  expect_alive();
}

// llama.cpp #24017: negative lengths, no bound on choices, a product that overflows.
TEST_F(Incidents, LlamaCpp24017_ChoicesAndBatchesWithoutBound) {
  std::string prompts = "[";
  for (size_t i = 0; i < limits::kPromptsMax; ++i) prompts += i == 0 ? "\"a\"" : ",\"a\"";
  const std::string bodies[] = {
      completion(R"("n": 129)"),
      completion(R"("n": 2147483647)"),
      completion(R"("n": 4294967297)"),
      completion(R"("best_of": 1000000000)"),
      completion(R"("dry_allowed_length": -1)"),
      R"({"n": 128, "prompt": )" + prompts + "]}",
      R"({"best_of": 128, "prompt": )" + prompts + "]}",
      R"({"prompt": )" + prompts + R"(, "a"]})",
  };
  for (const std::string& body : bodies) {
    EXPECT_EQ(post(kCompletionPath, body).status, 400) << body.substr(0, 80);
  }
  EXPECT_TRUE(engine_.requests.empty());
  expect_alive();
}

// Triton: stack memory for every chunk, some 3 MB of 6-byte chunks.
TEST_F(Incidents, Cve2025_23310_FloodOfSixByteChunks) {
  const std::string body = chat(R"("user": ")" + std::string(1'000, 'u') + "\"");
  const std::string head =
      "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
      "Transfer-Encoding: chunked\r\n\r\n";
  std::string flood = head;
  for (size_t i = 0; i < 600'000; ++i) {  // 3.6 MB, of white space but for the request at the end
    const size_t from_end = 600'000 - i;
    flood +=
        fmt::format("1\r\n{}\r\n", from_end > body.size() ? ' ' : body[body.size() - from_end]);
  }
  EXPECT_EQ(exchange(flood + "0\r\n\r\n").status, 200);
  EXPECT_EQ(engine_.requests.size(), 1u);
  expect_alive();
}

// Triton: large payloads, and lengths that overflow.
TEST_F(Incidents, Cve2025_33201_Cve2026_24173_LengthsThatOverflow) {
  const std::string head = "POST /v1/completions HTTP/1.1\r\nHost: h\r\n";
  const std::pair<std::string, int> cases[] = {
      {fmt::format("Content-Length: {}\r\n\r\n", limits::kBodyBytesMax + 1), 413},
      {"Content-Length: 18446744073709551615\r\n\r\n", 413},
      {"Content-Length: 18446744073709551616\r\n\r\n", 400},
      {"Content-Length: 9223372036854775808\r\n\r\n", 413},
      {"Content-Length: -1\r\n\r\n", 400},
      {"Content-Length: 4294967297\r\n\r\n", 413},
      {"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", 413},
      {"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n", 400},
      {"Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400},
  };
  for (const auto& [rest, status] : cases) {
    EXPECT_EQ(exchange(head + rest).status, status) << rest;
  }
  expect_alive();
}

// Triton: the answer to an oversized request named a region of shared memory.
TEST_F(Incidents, Cve2025_23319_OversizedRequestTellsNothing) {
  net::ServerOptions options;
  options.body_bytes_max = 1'000;
  serve(std::move(options));
  const Reply reply = post(kCompletionPath, std::string(2'000, 'x'));
  EXPECT_EQ(reply.status, 413);
  EXPECT_THAT(reply.body, HasSubstr("has 2000 bytes, at most 1000 are allowed"));
  expect_alive();
}

// vLLM: a tensor as the prompt, made without checks.
TEST_F(Incidents, Cve2025_62164_PromptEmbeddings) {
  const Reply reply = post(kCompletionPath, R"({"prompt_embeds": "gASV", "prompt": "x"})");
  EXPECT_EQ(reply.status, 400);
  EXPECT_THAT(reply.body, HasSubstr("prompt_embeds"));
}

// vLLM: images and videos that take all memory, or whose decoder's error shows an address. Here
// nothing is fetched and nothing decoded.
TEST_F(Incidents, Cve2026_22773_Cve2026_22778_ImagesInMessages) {
  for (const char* part :
       {R"({"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/"}})",
        R"({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}})",
        R"({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}})",
        R"({"type": "video_url", "video_url": {"url": "http://127.0.0.1:1/"}})",
        R"({"type": "input_audio", "input_audio": {"data": "AA"}})"}) {
    const Reply reply = post(
        kChatPath, fmt::format(R"({{"messages": [{{"role": "user", "content": [{}]}}]}})", part));
    EXPECT_EQ(reply.status, 400) << part;
    EXPECT_THAT(reply.body, HasSubstr("messages[0].content[0]")) << part;
  }
}

// SGLang, llama-cpp-python: a template that a request or a model file brings runs as a program. The
// file's is in text/incidents_test.cc; a request cannot bring one.
TEST_F(Incidents, Cve2026_5760_TemplateInTheRequest) {
  const Reply reply = post(kChatPath, chat(R"("chat_template": "{{ cycler.__init__ }}")"));
  EXPECT_EQ(reply.status, 400);
  EXPECT_THAT(reply.body, HasSubstr("chat_template"));
  post(kChatPath, R"({"messages": [{"role": "user", "content": "{{ 7 * 191 }}{% raw %}"}]})");
  ASSERT_FALSE(engine_.requests.empty());
  EXPECT_THAT(tokenizer_->decode(engine_.requests.back().prompt),
              AllOf(HasSubstr("{{ 7 * 191 }}{% raw %}"), Not(HasSubstr("1337"))));
}

class KeyIncidents : public Incidents {
 protected:
  KeyIncidents() {
    ServiceOptions options;
    options.api_keys = {"the-secret-key"};
    restart(std::move(options));
    publish();
  }
};

// LiteLLM: the key was put into a query before it was checked.
TEST_F(KeyIncidents, Cve2026_42208_InjectionInTheKey) {
  const std::string wrong = get("/v1/models", "Authorization: Bearer wrong\r\n").body;
  for (const char* key : {"' OR '1'='1", "x'; DROP TABLE keys; --", "\" OR \"\"=\"", "*", "%",
                          "the-secret-key'", "../the-secret-key", "{\"$ne\": null}", "$(id)"}) {
    for (const char* header : {"Authorization: Bearer ", "x-api-key: "}) {
      const Reply reply = get("/v1/models", fmt::format("{}{}\r\n", header, key));
      EXPECT_EQ(reply.status, 401) << key;
      EXPECT_EQ(reply.body, wrong) << "the answer depends on the guess: " << key;
    }
  }
}

// vLLM GHSA-94f4-hr76-p5j6: a way around the key check.
TEST_F(KeyIncidents, Ghsa94f4_AuthenticationByAnotherPath) {
  const char* paths[] = {"/v1/models",
                         "//v1/models",
                         "/./v1/models",
                         "/v1/../v1/models",
                         "/v1/models/",
                         "/V1/MODELS",
                         "/v1%2fmodels",
                         "/%76%31/models",
                         "/v1/models?x=",
                         "/v1/models#x",
                         "/health/../v1/models",
                         "/health%2f..",
                         "/v1/models;x=1",
                         "/metrics",
                         "/openapi.json",
                         "/tokenize",
                         "/invocations",
                         "/pause",
                         "/"};
  for (const char* path : paths) {
    for (const char* method : {"GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "get", "FOO"}) {
      const Reply reply = exchange(fmt::format(
          "{} {} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}", method,
          path));
      EXPECT_TRUE(reply.status == 401 || reply.status == 400)
          << method << " " << path << " gave " << reply.status;
    }
  }
  // Of two headers the first counts, as for everything else that reads them.
  const std::string good = "Authorization: Bearer the-secret-key\r\n";
  const std::string bad = "Authorization: Bearer wrong\r\n";
  EXPECT_EQ(get("/v1/models", good + bad).status, 200);
  EXPECT_EQ(get("/v1/models", bad + good).status, 401);
  EXPECT_EQ(get("/v1/models", "Authorization: \r\nx-api-key: the-secret-key\r\n").status, 200);
  EXPECT_EQ(get("/health").status, 200);
}

// What each odd body gets: a clear refusal, or the answer.
class OddBodies : public LiveService {
 protected:
  struct OddBody {
    std::string what;
    std::string body;
    int status;
    const char* says;
  };
  void expect_reply(const OddBody& one) {
    const Reply reply = post(kChatPath, one.body);
    EXPECT_EQ(reply.status, one.status) << one.what << ": " << reply.body;
    EXPECT_THAT(reply.body, HasSubstr(one.says)) << one.what;
    EXPECT_LT(reply.body.size(), 2'000u) << one.what;
  }
};

TEST_F(OddBodies, Json) {
  const std::string deep_list = std::string(100'000, '[') + std::string(100'000, ']');
  std::string deep_object;
  for (int i = 0; i < 10'000; ++i) deep_object += "{\"a\":";
  const OddBody cases[] = {
      {"nothing", "", 400, "empty"},
      {"white space", "  \n ", 400, "not valid JSON"},
      {"a list", "[1]", 400, "array of 1"},
      {"two values", "{} {}", 400, "goes on"},
      {"cut off", R"({"messages": [)", 400, "not valid JSON"},
      {"deep lists", R"({"messages": )" + deep_list + "}", 400, "nested deeper than 64"},
      {"deep objects", deep_object, 400, "nested deeper than 64"},
      {"deep metadata", chat(R"("metadata": )" + deep_list), 400, "nested deeper"},
      {"a field twice", chat(R"("temperature": 9, "temperature": 0.5)"), 200, ""},
      {"a field twice, the last wrong", chat(R"("temperature": 0.5, "temperature": 9)"), 400,
       "temperature"},
      {"a lone surrogate", chat(R"("user": "\ud800")"), 400, "not valid JSON"},
      {"a lone second half", chat(R"("user": "\udc00x")"), 400, "not valid JSON"},
      {"halves the wrong way", chat(R"("user": "\udc00\ud800")"), 400, "not valid JSON"},
      {"an escaped NUL", chat(R"("user": "a\u0000b")"), 200, ""},
      {"a NUL", chat("\"user\": \"a" + std::string(1, '\0') + "b\""), 400, "not valid JSON"},
      {"a NUL behind the value", chat() + std::string(1, '\0'), 400, "goes on"},
      {"bytes that are no UTF-8", chat("\"user\": \"a\xff\""), 400, "not valid UTF-8"},
      {"overlong UTF-8", chat("\"user\": \"\xc0\x80\""), 400, "not valid UTF-8"},
      {"a surrogate in UTF-8", chat("\"user\": \"\xed\xa0\x80\""), 400, "not valid UTF-8"},
      {"a byte order mark", "\xef\xbb\xbf" + chat(), 400, "not valid JSON"},
      {"UTF-16", std::string("{\0}\0", 4), 400, "not valid"},
  };
  for (const OddBody& one : cases) expect_reply(one);
  for (const char* escaped : {R"({"prompt": "a\u0000b"})", R"({"prompt": "\ud83e\udd99"})"}) {
    EXPECT_EQ(post("/tokenize", escaped).status, 200) << escaped;
  }
  expect_alive();
}

TEST_F(OddBodies, ExtremeValues) {
  const OddBody cases[] = {
      {"NaN", chat(R"("temperature": NaN)"), 400, "NaN"},
      {"-NaN", chat(R"("temperature": -NaN)"), 400, "NaN"},
      {"Infinity", chat(R"("top_p": Infinity)"), 400, "Infinity"},
      {"1e999", chat(R"("temperature": 1e999)"), 400, ""},
      {"-1e999", chat(R"("presence_penalty": -1e999)"), 400, ""},
      {"1e-999 is 0", chat(R"("temperature": 1e-999)"), 200, ""},
      {"a long number", chat("\"temperature\": 1" + std::string(1 << 20, '0')), 400, ""},
      {"NaN as text", chat(R"("temperature": "NaN")"), 400, "temperature"},
      {"max_tokens 0", chat(R"("max_tokens": 0)"), 400, "max_tokens"},
      {"max_tokens of int64", chat(R"("max_tokens": 9223372036854775807)"), 400, "max_tokens"},
      {"max_tokens of uint64", chat(R"("max_tokens": 18446744073709551615)"), 400, "max_tokens"},
      {"max_tokens 1.5", chat(R"("max_tokens": 1.5)"), 400, "max_tokens"},
      {"max_tokens of int32 is clamped", chat(R"("max_tokens": 2147483647)"), 200, ""},
      {"n 0", chat(R"("n": 0)"), 400, "n: found 0"},
      {"seed of int64", chat(R"("seed": -9223372036854775808)"), 200, ""},
      {"seed of uint64", chat(R"("seed": 18446744073709551615)"), 400, "seed"},
      {"a bias of 1e300", chat(R"("logit_bias": {"5": 1e300})"), 400, "logit_bias"},
      {"a bias for -1", chat(R"("logit_bias": {"-1": 1})"), 400, "logit_bias"},
      {"a bias for 2^31", chat(R"("logit_bias": {"2147483648": 1})"), 400, "logit_bias"},
      {"a bias for no number", chat(R"("logit_bias": {"0x5": 1})"), 400, "logit_bias"},
      {"top_logprobs 21", chat(R"("logprobs": true, "top_logprobs": 21)"), 400, "top_logprobs"},
      {"17 stops",
       chat(R"("stop": ["a","a","a","a","a","a","a","a","a","a","a","a","a","a","a",)"
            R"("a","a"])"),
       400, "stop"},
      {"a stop of nothing", chat(R"("stop": [""])"), 400, "stop[0]"},
      {"a model of no such name", chat(R"("model": "\u0000../../etc")"), 404, "not served here"},
      {"no such role", R"({"messages": [{"role": "root", "content": "x"}]})", 400, "role"},
  };
  for (const OddBody& one : cases) expect_reply(one);
  expect_alive();
}

// 4,000 lists of 10 bytes in a body of 32 MiB must not become gigabytes; here a smaller share.
TEST_F(OddBodies, ManySmallValues) {
  std::string tokens = R"({"tokens": [0)";
  while (tokens.size() < (4u << 20)) tokens += ",0";
  EXPECT_EQ(post("/detokenize", tokens + "]}").status, 200);
  std::string fields = R"({"prompt": "x")";
  for (int i = 0; i < 100'000; ++i) fields += fmt::format(R"(,"f{}":0)", i);
  EXPECT_EQ(post(kCompletionPath, fields + "}").status, 400);
  std::string same = R"({"prompt": "x")";
  for (int i = 0; i < 100'000; ++i) same += R"(,"n":1)";
  EXPECT_EQ(post(kCompletionPath, same + "}").status, 200);
  std::string messages = R"({"messages": [)";
  for (size_t i = 0; i <= limits::kMessagesMax; ++i) {
    messages += fmt::format(R"({}{{"role":"user","content":""}})", i == 0 ? "" : ",");
  }
  EXPECT_EQ(post(kChatPath, messages + "]}").status, 400);
  expect_alive();
}

// Requests that two readers would cut differently.
TEST_F(Incidents, RequestSmuggling) {
  const std::string second = "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n";
  const std::string head = "POST /v1/completions HTTP/1.1\r\nHost: h\r\n";
  for (const std::string& rest : {
           "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second,
           "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + second,
           "Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + second,
           "Content-Length: 0\r\ncontent-length: 0\r\n\r\n" + second,
           "Content-Length: 0, 0\r\n\r\n" + second,
           "Content-Length: +5\r\n\r\n" + second,
           "Content-Length: 0x5\r\n\r\n" + second,
           "Content-Length : 5\r\n\r\n" + second,
           "Transfer-Encoding: xchunked\r\n\r\n" + second,
           "Transfer-Encoding: chunked, identity\r\n\r\n" + second,
           "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second,
           "Transfer-Encoding: chunked\r\n\r\n0\n\r\n" + second,
           "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n" + second,
       }) {
    const Reply reply = exchange(head + rest);
    EXPECT_TRUE(reply.status == 400 || reply.status == 501) << rest << " gave " << reply.status;
    EXPECT_THAT(reply.body, Not(HasSubstr("HTTP/1.1 200"))) << rest;
    EXPECT_THAT(reply.head, HasSubstr("Connection: close")) << rest;
  }
  expect_alive();
}

const std::vector<std::string> kValues = {"true",
                                          "-1",
                                          "1e400",
                                          "\"\"",
                                          "\"x\"",
                                          "[[null]]",
                                          "{\"a\": 1}",
                                          "9223372036854775808",
                                          "\"" + std::string(5'000, 'y') + "\"",
                                          "\"\\u0000\"",
                                          "[\"\", 1]",
                                          "[{\"type\": \"function\"}]",
                                          "[{\"role\": \"user\"}]",
                                          "NaN"};
constexpr const char* kFields[] = {"model",
                                   "messages",
                                   "prompt",
                                   "temperature",
                                   "top_p",
                                   "top_k",
                                   "min_p",
                                   "n",
                                   "best_of",
                                   "stop",
                                   "stop_token_ids",
                                   "logit_bias",
                                   "seed",
                                   "stream",
                                   "stream_options",
                                   "max_tokens",
                                   "max_completion_tokens",
                                   "tools",
                                   "tool_choice",
                                   "response_format",
                                   "thinking",
                                   "reasoning_effort",
                                   "suffix",
                                   "echo",
                                   "logprobs",
                                   "top_logprobs",
                                   "metadata",
                                   "system",
                                   "input",
                                   "instructions",
                                   "tokens",
                                   "cache_salt",
                                   "user_id",
                                   "priority",
                                   "service_tier",
                                   "thinking_token_budget",
                                   "chat_template_kwargs",
                                   "nothing"};
constexpr const char* kPaths[] = {kChatPath,
                                  kCompletionPath,
                                  "/v1/messages",
                                  "/v1/responses",
                                  "/tokenize",
                                  "/detokenize",
                                  "/v1/messages/count_tokens"};

// One answer of a kept connection; its body empty if it was a stream.
std::pair<std::string, std::string> read_answer(net::RawClient& client) {
  std::string head = client.read_past("\r\n\r\n");
  const size_t length_at = head.find("Content-Length: ");
  if (length_at == std::string::npos) {
    if (head.find("0\r\n\r\n") == std::string::npos) client.read_past("0\r\n\r\n");
    return {std::move(head), ""};
  }
  const auto length = static_cast<size_t>(std::atoi(head.c_str() + length_at + 16));
  std::string body = head.substr(head.find("\r\n\r\n") + 4);
  body += client.read_until(
      [&](const std::string& more) { return body.size() + more.size() >= length; });
  return {std::move(head), std::move(body)};
}

// vLLM's CVE-2026-22778 for every error there is: no address, path or secret in any text.
TEST_F(KeyIncidents, NoErrorTellsAnAddressAPathOrASecret) {
  const std::string key = "Authorization: Bearer the-secret-key\r\n";
  const std::regex secret(
      R"(0x[0-9a-fA-F]{4,}|/(src|home|root|tmp|build|work|usr|etc)/|\.(cc|h|hpp):\d|the-secret-key|)"
      R"(boost|std::|hadal::|errno|Exception|\[with )");
  int refused = 0;
  for (const char* path : kPaths) {
    net::RawClient client(server_->port());
    for (const char* field : kFields) {
      for (const std::string& value : kValues) {
        const std::string body = fmt::format(
            R"({{"messages": [{{"role": "user", "content": "x"}}], "max_tokens": 1, "{}": {}}})",
            field, value);
        client.send(post_bytes(path, body, key));
        const auto [head, text] = read_answer(client);
        if (head.compare(9, 3, "200") == 0) continue;
        ++refused;
        const std::string asked = fmt::format("{} {} {}: ", path, field, value.substr(0, 100));
        EXPECT_THAT(head, Not(HasSubstr("HTTP/1.1 5"))) << asked;
        EXPECT_FALSE(std::regex_search(text, secret)) << asked << text;
        EXPECT_LT(text.size(), 2'000u) << asked;
      }
    }
  }
  EXPECT_GT(refused, 2'000);
  for (const char* bytes :
       {"GET / HTTP/9\r\n\r\n", "\x16\x03\x01\x02\r\n\r\n", "GET /%zz HTTP/1.1\r\n\r\n",
        "GET /../../etc/passwd HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "POST /v1/completions HTTP/1.1\r\nContent-Length: a\r\n\r\n"}) {
    const Reply reply = exchange(bytes);
    EXPECT_FALSE(std::regex_search(reply.body, secret)) << bytes << reply.body;
  }
}

}  // namespace
}  // namespace hadal::apps
