#include "hadal/gateway/usage_scan.h"

#include <gtest/gtest.h>

#include <ostream>

namespace hadal::gateway {

static void PrintTo(const Tokens& tokens, std::ostream* out) {
  *out << tokens.input_hit << "/" << tokens.input_miss << "/" << tokens.output;
}

namespace {

struct Case {
  const char* answer;
  Tokens tokens;
};

constexpr Case kCases[] = {
    {R"({"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":30,"total_tokens":42}})",
     {0, 12, 30}},
    {R"({"usage": {"prompt_tokens": 12, "completion_tokens": 3, "prompt_cache_hit_tokens": 10,
         "prompt_cache_miss_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 1}}})",
     {10, 2, 3}},
    {R"({"usage":{"prompt_tokens":12,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens":3}})",
     {4, 8, 3}},
    // A model that writes about usage, and no more.
    {R"({"content":"{\"prompt_tokens\": 999, \"completion_tokens\": 999}","usage":{"prompt_tokens":1,"completion_tokens":2}})",
     {0, 1, 2}},
    {"event: message_start\ndata: {\"usage\":{\"input_tokens\":5,\"cache_read_input_tokens\":7,"
     "\"cache_creation_input_tokens\":2,\"output_tokens\":1}}\n\nevent: message_delta\ndata: "
     "{\"usage\":{\"output_tokens\":25}}\n\n",
     {7, 7, 25}},
    // Neither of them said: events are counted.
    {"data: {\"a\":1}\n\ndata: {\"b\":1}\n\ndata: {\"c\":1}\n\ndata: [DONE]\n\n", {0, 100, 3}},
    {R"({"error":{"message":"no"}})", {0, 0, 0}},
    {"", {0, 0, 0}},
    {R"({"prompt_tokens":99999999999999999999999})", {0, 1ll << 40, 0}},
};

TEST(UsageScan, HoweverItIsCut) {
  for (const Case& c : kCases) {
    const std::string_view answer = c.answer;
    for (const size_t piece : {answer.size() + 1, size_t{1}, size_t{2}, size_t{7}, size_t{33}}) {
      UsageScan scan;
      for (size_t at = 0; at < answer.size(); at += piece) scan.push(answer.substr(at, piece));
      EXPECT_EQ(scan.tokens(100), c.tokens) << answer << " in pieces of " << piece;
    }
  }
}

}  // namespace
}  // namespace hadal::gateway
