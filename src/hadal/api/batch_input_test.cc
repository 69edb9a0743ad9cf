#include "hadal/api/batch_input.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace hadal::api {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kChat = "/v1/chat/completions";

std::string line(std::string_view id, std::string_view body = R"({"messages": []})") {
  return fmt::format(R"({{"custom_id": "{}", "method": "POST", "url": "{}", "body": {}}})", id,
                     kChat, body);
}

// "id@offset+length ..." or "line code: message" one a line.
std::string read(std::string_view file, BatchInputLimits limits = {}) {
  const BatchInput input = read_batch_input(file, kChat, limits);
  std::string text;
  for (const LineFault& fault : input.faults) {
    text +=
        fmt::format("{}{} {}: {}", text.empty() ? "" : "\n", fault.line, fault.code, fault.message);
  }
  if (!input.faults.empty()) return text;
  for (const BatchLine& one : input.lines) {
    text += fmt::format("{}@{}+{} ", one.custom_id, one.offset, one.length);
    EXPECT_TRUE(batch_line_body(file.substr(one.offset, one.length)));
  }
  return text;
}

TEST(BatchInput, LinesAreFoundWhereTheyAre) {
  const std::string one = line("a"), two = line("b");
  const size_t size = one.size();
  EXPECT_EQ(read(one), fmt::format("a@0+{} ", size));
  EXPECT_EQ(read(one + "\n" + two + "\n"), fmt::format("a@0+{0} b@{1}+{0} ", size, size + 1));
  EXPECT_EQ(read(one + "\r\n\r\n \t\n" + two + "\r\n"),
            fmt::format("a@0+{0} b@{1}+{0} ", size, size + 7));
  EXPECT_EQ(read("\xef\xbb\xbf" + one), fmt::format("a@3+{} ", size));
  EXPECT_EQ(*batch_line_body(line("a", R"({"seed": 9007199254740993, "x": "\u00e9"})")),
            "{\"seed\":9007199254740993,\"x\":\"\u00e9\"}");
}

TEST(BatchInput, WhatIsWrongIsSaidWithItsLine) {
  const std::string good = line("a");
  const auto with = [](std::string_view what) { return "{" + std::string(what) + "}"; };
  const std::string rest = R"(, "method": "POST", "url": "/v1/chat/completions", "body": {})";
  struct Case {
    std::string file, wanted;
  };
  const Case cases[] = {
      {"", "0 empty_file: the file has no request"},
      {"\n\n", "0 empty_file: the file has no request"},
      {good + "\n{", "2 invalid_json_line: the line cannot be parsed as JSON"},
      {good + "\n\n[1]", "3 invalid_json_line: the line is not a JSON object"},
      {"\"a\"", "1 invalid_json_line"},
      {"{} {}", "1 invalid_json_line"},
      {with("\"custom_id\": \"\xff\"" + rest), "1 invalid_json_line"},
      {with(R"("method": "POST")"), "1 missing_required_parameter: custom_id is missing"},
      {with(R"("custom_id": null)"), "1 missing_required_parameter: custom_id is missing"},
      {with(R"("custom_id": 5)" + rest), "1 invalid_custom_id"},
      {with(R"("custom_id": "")" + rest), "1 invalid_custom_id"},
      {line(std::string(513, 'x')), "1 invalid_custom_id"},
      {with(R"("custom_id": "x")"), "1 missing_required_parameter: method is missing"},
      {with(R"("custom_id": "x", "method": "GET")"), "1 invalid_method"},
      {with(R"("custom_id": "x", "method": "POST")"),
       "1 missing_required_parameter: url is missing"},
      {with(R"("custom_id": "x", "method": "POST", "url": "/v1/completions")"), "1 mismatched_url"},
      {with(R"("custom_id": "x", "method": "POST", "url": "/v1/chat/completions")"),
       "1 missing_required_parameter: body is missing"},
      {line("x", "5"), "1 invalid_body: body: expected"},
      {line("x", R"({"stream": true})"), "1 invalid_body: body.stream"},
      {line("x", R"({"stream": 1})"), "1 invalid_body: body.stream"},
      {good + "\n" + line("b") + "\n" + good, "3 duplicate_custom_id: custom_id: line 1 has"},
      {line("x", std::string(70, '[') + std::string(70, ']')), "1 invalid_json_line"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.file);
    EXPECT_THAT(read(one.file), HasSubstr(one.wanted));
  }
  EXPECT_THAT(read(line("x", R"({"stream": false})")), HasSubstr("x@0"));
  EXPECT_THAT(read(line("x", R"({"stream": null})")), HasSubstr("x@0"));
}

TEST(BatchInput, HoldsItsLimits) {
  std::string file;
  for (int i = 0; i < 3; ++i) file += line(std::to_string(i)) + "\n";
  const size_t size = line("0").size();
  EXPECT_THAT(read(file, {.lines = 3, .line_bytes = size}), HasSubstr("2@"));
  EXPECT_EQ(read(file, {.lines = 2}), "0 too_many_lines: the file has more than 2 requests");
  EXPECT_THAT(read(file, {.lines = 3, .line_bytes = size - 1}), HasSubstr("1 line_too_long"));
  std::string bad;
  for (int i = 0; i < 1'000; ++i) bad += "{\n";
  EXPECT_EQ(read_batch_input(bad, kChat, {}).faults.size(), kBatchFaultsMax);
}

TEST(BatchInput, ResultsAreOneLineOfJsonWhateverTheBody) {
  struct Case {
    std::string body;
    boost::json::value wanted;
  };
  const Case cases[] = {
      {R"({"a": 1})", {{"a", 1}}},
      {"{\n  \"a\": 1\r\n}\n", {{"a", 1}}},
      {"not JSON\n\xff", "not JSON\n\xef\xbf\xbd"},
      {"", ""},
  };
  for (const Case& one : cases) {
    const std::string text = batch_result("r", "c \"1\"\n", {502, "id", one.body});
    EXPECT_EQ(text.find('\n'), text.npos);
    const boost::json::value value = boost::json::parse(text);
    EXPECT_EQ(value.at("id"), "r");
    EXPECT_EQ(value.at("custom_id"), "c \"1\"\n");
    EXPECT_EQ(value.at("response").at("status_code"), 502);
    EXPECT_EQ(value.at("response").at("request_id"), "id");
    EXPECT_EQ(value.at("response").at("body"), one.wanted);
    EXPECT_TRUE(value.at("error").is_null());
  }
  const auto error = boost::json::parse(batch_error("r", "c", "code", "why"));
  EXPECT_TRUE(error.at("response").is_null());
  EXPECT_EQ(error.at("error").at("code"), "code");
  const auto faults = boost::json::parse(batch_faults({{"a", "b", "", 0}, {"c", "d", "e", 7}}));
  EXPECT_EQ(faults, boost::json::parse(R"({"object": "list", "data": [
      {"code": "a", "message": "b", "param": null, "line": null},
      {"code": "c", "message": "d", "param": "e", "line": 7}]})"));
}

}  // namespace
}  // namespace hadal::api
