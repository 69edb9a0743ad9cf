#include "hadal/text/parse_tools.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <iterator>
#include <random>
#include <string>

#include "hadal/text/json_scan.h"
#include "hadal/text/parse_answer.h"

namespace hadal {
namespace {

using Kind = AnswerEvent::Kind;

// Events of several pushes, as one push would have given them.
std::vector<AnswerEvent> joined(const std::vector<AnswerEvent>& events) {
  std::vector<AnswerEvent> all;
  for (const AnswerEvent& event : events) append_event(event, &all);
  return all;
}

// "content", "<r>reasoning", "<0:name>arguments"; one after the other.
std::string shown(const std::vector<AnswerEvent>& events) {
  std::string out;
  bool begun = false;
  for (const AnswerEvent& event : events) {
    if (event.kind == Kind::kReasoning) out += "<r>";
    if (event.kind == Kind::kCallBegin) out += fmt::format("<{}:{}>", event.call, event.text);
    if (event.kind == Kind::kContent) out += "<c>";
    if (event.kind == Kind::kArguments && !begun) out += fmt::format("<{}>", event.call);
    begun = event.kind == Kind::kCallBegin;
    if (event.kind != Kind::kCallBegin) out += event.text;
  }
  return out;
}

using Cut = std::function<size_t(size_t left)>;  // length of the next piece

std::vector<AnswerEvent> run(const AnswerFormat& format, std::string_view text, bool cut_off,
                             const Cut& cut) {
  AnswerParser parser(format);
  std::vector<AnswerEvent> events;
  const auto take = [&events](const std::vector<AnswerEvent>& more) {
    events.insert(events.end(), more.begin(), more.end());
  };
  while (!text.empty()) {
    const size_t n = std::min(cut(text.size()), text.size());
    take(parser.push(text.substr(0, n)));
    text.remove_prefix(n);
  }
  take(parser.finish(cut_off));
  return joined(events);
}

size_t whole(size_t left) { return left; }
size_t byte(size_t) { return 1; }

struct Case {
  const char* name;
  ToolForm form;
  std::string text;
  const char* expected;
  bool cut = false;
  bool reasons = false;
  bool inside = false;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

AnswerFormat format_of(const Case& c) { return {c.reasons, c.inside, c.form, {"get", "put"}}; }

class ParseTools : public ::testing::TestWithParam<Case> {};

TEST_P(ParseTools, GivesTheSameHoweverItArrives) {
  const Case& c = GetParam();
  const auto format = format_of(c);
  ASSERT_EQ(shown(run(format, c.text, c.cut, whole)), c.expected);
  ASSERT_EQ(shown(run(format, c.text, c.cut, byte)), c.expected) << "byte by byte";
  for (size_t at = 1; at < c.text.size(); ++at) {
    bool first = true;
    const auto two = [&](size_t left) { return std::exchange(first, false) ? at : left; };
    ASSERT_EQ(shown(run(format, c.text, c.cut, two)), c.expected) << "cut at " << at;
  }
}

const std::string kV3 =
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get\n```json\n{\"a\": "
    "\"```\"}\n```<｜tool▁call▁end｜>";
const std::string kV31 = "<｜tool▁call▁begin｜>get<｜tool▁sep｜>{\"a\":[1,{}]}<｜tool▁call▁end｜>";
const std::string kBegin = "<｜tool▁calls▁begin｜>";
const std::string kEnd = "<｜tool▁calls▁end｜>";

INSTANTIATE_TEST_SUITE_P(
    Deepseek, ParseTools,
    ::testing::Values(
        Case{"v3", ToolForm::kDeepseekV3, "Hi." + kV3 + kEnd, "<c>Hi.<0:get>{\"a\": \"```\"}"},
        Case{"v3_two", ToolForm::kDeepseekV3,
             kV3 +
                 "\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>put\n```json\n{}\n```"
                 "<｜tool▁call▁end｜>" +
                 kEnd,
             "<0:get>{\"a\": \"```\"}<1:put>{}"},
        Case{"v31_two", ToolForm::kDeepseekV31, "x\n" + kBegin + kV31 + kV31 + kEnd,
             "<c>x\n<0:get>{\"a\":[1,{}]}<1:get>{\"a\":[1,{}]}"},
        Case{"no_list", ToolForm::kDeepseekV31, kV31, "<0:get>{\"a\":[1,{}]}"},
        Case{"no_arguments", ToolForm::kDeepseekV31,
             kBegin + "<｜tool▁call▁begin｜>get<｜tool▁sep｜><｜tool▁call▁end｜>" + kEnd,
             "<0:get>{}"},
        Case{"content_after", ToolForm::kDeepseekV31, kBegin + kV31 + kEnd + " done \n",
             "<0:get>{\"a\":[1,{}]}<c> done \n"},
        Case{"text_in_list", ToolForm::kDeepseekV31, kBegin + kV31 + "oh" + kV31 + kEnd,
             "<0:get>{\"a\":[1,{}]}<c>oh<1:get>{\"a\":[1,{}]}"},
        Case{"text_behind_arguments", ToolForm::kDeepseekV31,
             "<｜tool▁call▁begin｜>get<｜tool▁sep｜>{} oh<｜tool▁call▁end｜>", "<0:get>{}<c> oh"},
        Case{
            "bad_json_stays", ToolForm::kDeepseekV31,
            kBegin + "<｜tool▁call▁begin｜>get<｜tool▁sep｜>{a: \"<｜tool▁call▁end｜>" + kEnd + "z",
            "<0:get>{a: \"<c>z"},
        Case{"not_an_object", ToolForm::kDeepseekV31,
             kBegin + "<｜tool▁call▁begin｜>get<｜tool▁sep｜>[1] or so<｜tool▁call▁end｜>" + kEnd,
             "<c><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get<｜tool▁sep｜>[1] or so"
             "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
        Case{"second_is_bad", ToolForm::kDeepseekV31,
             kBegin + kV31 + "<｜tool▁call▁begin｜><｜tool▁call▁end｜>" + kEnd,
             "<0:get>{\"a\":[1,{}]}<c><｜tool▁call▁begin｜><｜tool▁call▁end｜>"},
        Case{"nested_begin", ToolForm::kDeepseekV31, "<｜tool▁call▁begin｜>ge" + kV31,
             "<c><｜tool▁call▁begin｜>ge<0:get>{\"a\":[1,{}]}"},
        Case{"unended_call", ToolForm::kDeepseekV31,
             "<｜tool▁call▁begin｜>get<｜tool▁sep｜>{}" + kV31, "<0:get>{}<1:get>{\"a\":[1,{}]}"},
        Case{"empty_list", ToolForm::kDeepseekV31, kBegin + "\n" + kEnd,
             "<c><｜tool▁calls▁begin｜>\n<｜tool▁calls▁end｜>"},
        Case{"cut_in_name", ToolForm::kDeepseekV31, kBegin + "<｜tool▁call▁begin｜>ge",
             "<c><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>ge", true},
        Case{"cut_in_arguments", ToolForm::kDeepseekV31,
             "<｜tool▁call▁begin｜>get<｜tool▁sep｜>{\"a\": \"<｜to", "<0:get>{\"a\": \"<｜to",
             true},
        Case{"stray_end", ToolForm::kDeepseekV31, "a" + kEnd, "<c>a<｜tool▁calls▁end｜>"},
        Case{"unclosed_thinking", ToolForm::kDeepseekV31, "I must" + kBegin + kV31 + kEnd,
             "<r>I must<0:get>{\"a\":[1,{}]}", false, true, true},
        Case{"thinking", ToolForm::kDeepseekV3, "hm</think>\n\nok" + kV3 + kEnd,
             "<r>hm<c>ok<0:get>{\"a\": \"```\"}", false, true, true}),
    [](const auto& info) { return std::string(info.param.name); });

const std::string kCallA =
    "<tool_call>\n{\"name\": \"get\", \"arguments\": {\"a\": {\"b\": \"}\"}}}\n"
    "</tool_call>";

INSTANTIATE_TEST_SUITE_P(
    Hermes, ParseTools,
    ::testing::Values(
        Case{"one", ToolForm::kHermes, "Hi.\n" + kCallA, "<c>Hi.<0:get>{\"a\": {\"b\": \"}\"}}"},
        Case{"two", ToolForm::kHermes, kCallA + "\n" + kCallA,
             "<0:get>{\"a\": {\"b\": \"}\"}}<1:get>{\"a\": {\"b\": \"}\"}}"},
        Case{"text_between", ToolForm::kHermes, kCallA + "\nand\n\n" + kCallA + "\n",
             "<0:get>{\"a\": {\"b\": \"}\"}}<c>\nand\n<1:get>{\"a\": {\"b\": \"}\"}}"},
        Case{"marker_in_string", ToolForm::kHermes,
             "<tool_call>{\"name\":\"get\",\"arguments\":{\"a\":\"x</tool_call>\"}}</tool_call>",
             "<0:get>{\"a\":\"x</tool_call>\"}"},
        Case{"open_string", ToolForm::kHermes,
             "<tool_call>{\"name\":\"get\",\"arguments\":{\"a\":\"x\n</tool_call>b",
             "<0:get>{\"a\":\"x<c>b"},
        Case{"open_object", ToolForm::kHermes,
             "<tool_call>{\"name\":\"get\",\"arguments\":{\"a\":1}</tool_call>b",
             "<0:get>{\"a\":1}<c>b"},
        Case{"one_brace_more", ToolForm::kHermes,
             "<tool_call>{\"name\":\"get\",\"arguments\":{}}}\n</tool_call>", "<0:get>{}"},
        Case{"arguments_first", ToolForm::kHermes,
             "<tool_call>{\"arguments\":{\"a\":1},\"id\":7,\"name\":\"get\"}</tool_call>",
             "<0:get>{\"a\":1}"},
        Case{"arguments_as_text", ToolForm::kHermes,
             "<tool_call>{\"name\":\"get\",\"arguments\":\"{\\\"a\\\":\\\"\\u00e9\\\"}\"}"
             "</tool_call>",
             "<0:get>{\"a\":\"é\"}"},
        Case{"no_arguments", ToolForm::kHermes, "<tool_call>{\"name\":\"get\"}</tool_call>",
             "<0:get>{}"},
        Case{"more_keys", ToolForm::kHermes,
             "<tool_call>{\"type\":\"function\",\"name\":\"get\",\"parameters\":{},\"x\":[1,2]}"
             "</tool_call>z",
             "<0:get>{}<c>z"},
        Case{"unended", ToolForm::kHermes, "<tool_call>{\"name\":\"get\",\"arguments\":{}}",
             "<0:get>{}"},
        Case{"junk_behind", ToolForm::kHermes,
             "<tool_call>{\"name\":\"get\",\"arguments\":{}} oh</tool_call>", "<0:get>{}<c> oh"},
        Case{"no_json", ToolForm::kHermes, "a\n<tool_call>get(1)</tool_call>",
             "<c>a\n<tool_call>get(1)</tool_call>"},
        Case{"bare_words", ToolForm::kHermes, "<tool_call>{name: get}</tool_call>",
             "<c><tool_call>{name: get}</tool_call>"},
        Case{"bad_then_good", ToolForm::kHermes, "<tool_call>{\"na" + kCallA,
             "<c><tool_call>{\"na<0:get>{\"a\": {\"b\": \"}\"}}"},
        Case{"no_name", ToolForm::kHermes, "<tool_call>{\"arguments\":{}}</tool_call>",
             "<c><tool_call>{\"arguments\":{}}</tool_call>"},
        Case{"list_as_arguments", ToolForm::kHermes,
             "<tool_call>{\"name\":\"get\",\"arguments\":[1]}</tool_call>",
             "<c><tool_call>{\"name\":\"get\",\"arguments\":[1]}</tool_call>"},
        Case{"only_talked_about", ToolForm::kHermes, "I use <tool_call> tags, </tool_call> too\n\n",
             "<c>I use <tool_call> tags, </tool_call> too\n\n"},
        Case{"partial_marker", ToolForm::kHermes, "a <tool_c", "<c>a <tool_c"},
        Case{"cut_in_arguments", ToolForm::kHermes,
             "<tool_call>{\"name\":\"get\",\"arguments\":{\"a\":\"b\n</to",
             "<0:get>{\"a\":\"b\n</to", true},
        Case{"thought_about", ToolForm::kHermes, "<think>\n<tool_call>?\n</think>\n\n" + kCallA,
             "<r><tool_call>?\n<0:get>{\"a\": {\"b\": \"}\"}}", false, true},
        Case{"unclosed_thinking", ToolForm::kHermes, "<think>\nno end", "<r>no end", true, true}),
    [](const auto& info) { return std::string(info.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Llama, ParseTools,
    ::testing::Values(
        Case{"bare", ToolForm::kLlama3, "{\"name\": \"get\", \"parameters\": {\"a\": 1}}",
             "<0:get>{\"a\": 1}"},
        Case{"bare_two", ToolForm::kLlama3,
             "\n{\"name\": \"get\", \"parameters\": {}}; {\"name\": \"put\", \"parameters\": {}}",
             "<c>\n<0:get>{}<1:put>{}"},
        Case{"tagged", ToolForm::kLlama3,
             "So: <|python_tag|>{\"name\": \"other\", \"parameters\": {}} ok",
             "<c>So: <0:other>{}<c> ok"},
        Case{"answer_in_json", ToolForm::kLlama3, "{\"name\": \"Ann\", \"age\": 3}",
             "<c>{\"name\": \"Ann\", \"age\": 3}"},
        Case{"unknown_name", ToolForm::kLlama3, "{\"name\": \"Ann\", \"parameters\": {}}",
             "<c>{\"name\": \"Ann\", \"parameters\": {}}"},
        Case{"no_parameters", ToolForm::kLlama3, "{\"name\": \"get\"}", "<c>{\"name\": \"get\"}"},
        Case{"later_json", ToolForm::kLlama3, "See {\"name\": \"get\", \"parameters\": {}}",
             "<c>See {\"name\": \"get\", \"parameters\": {}}"},
        Case{"code", ToolForm::kLlama3, "<|python_tag|>print({1: 2})",
             "<c><|python_tag|>print({1: 2})"}),
    [](const auto& info) { return std::string(info.param.name); });

std::string invoke(const std::string& body) {
  return "<｜DSML｜invoke name=\"get\">\n" + body + "</｜DSML｜invoke>\n";
}
std::string dsml(const std::string& body, const std::string& list = "function_calls") {
  return "<｜DSML｜" + list + ">\n" + body + "</｜DSML｜" + list + ">";
}
std::string parameter(const std::string& name, const std::string& flag, const std::string& value) {
  return "<｜DSML｜parameter name=\"" + name + "\" string=\"" + flag + "\">" + value +
         "</｜DSML｜parameter>\n";
}

INSTANTIATE_TEST_SUITE_P(
    Dsml, ParseTools,
    ::testing::Values(
        Case{"v32", ToolForm::kDsmlV32,
             "Hi.\n\n" + dsml(invoke(parameter("a", "true", "x > \"y\"\n") +
                                     parameter("b", "false", "[1, {\"c\": null}]"))),
             "<c>Hi.<0:get>{\"a\": \"x > \\\"y\\\"\\n\", \"b\": [1, {\"c\": null}]}"},
        Case{"v4_two", ToolForm::kDsmlV4,
             dsml(invoke("") + invoke(parameter("a", "false", " 3 ")), "tool_calls") + "\n",
             "<0:get>{}<1:get>{\"a\": 3}"},
        Case{"unclosed_thinking", ToolForm::kDsmlV4, "so\n\n" + dsml(invoke(""), "tool_calls"),
             "<r>so\n\n<0:get>{}", false, true, true},
        Case{"not_json", ToolForm::kDsmlV4, dsml(invoke(parameter("a", "false", "Paris"))),
             "<0:get>{\"a\": \"Paris\"}"},
        Case{"json_body", ToolForm::kDsmlV4, dsml(invoke("{\"a\": 1}\n")), "<0:get>{\"a\": 1}"},
        Case{"prose_body", ToolForm::kDsmlV4, "a\n\n" + dsml(invoke("hm")),
             "<c>a\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"get\">\nhm"
             "</｜DSML｜invoke>\n</｜DSML｜function_calls>"},
        Case{"no_name", ToolForm::kDsmlV4, dsml("<｜DSML｜invoke>\n"),
             "<c><｜DSML｜function_calls>\n<｜DSML｜invoke>\n</｜DSML｜function_calls>"},
        Case{"unclosed_tags", ToolForm::kDsmlV4,
             "<｜DSML｜tool_calls><｜DSML｜invoke name=\"get\"><｜DSML｜parameter name=\"a\" "
             "string=\"true\">b</｜DSML｜tool_calls>z",
             "<0:get>{\"a\": \"b\"}<c>z"},
        Case{"text_between", ToolForm::kDsmlV4,
             dsml(invoke(parameter("a", "true", "") + "hm" + parameter("b", "true", ""))),
             "<0:get>{\"a\": \"\"<c>\nhm<0>, \"b\": \"\"}"},
        Case{"ended_early", ToolForm::kDsmlV4,
             "<｜DSML｜tool_calls><｜DSML｜invoke name=\"get\"><｜DSML｜parameter name=\"a\" "
             "string=\"true\">b",
             "<0:get>{\"a\": \"b\"}"},
        Case{"cut_off", ToolForm::kDsmlV4,
             "<｜DSML｜tool_calls><｜DSML｜invoke name=\"get\"><｜DSML｜parameter name=\"a\" "
             "string=\"true\">b</｜DS",
             "<0:get>{\"a\": \"b</｜DS", true},
        Case{"only_talked_about", ToolForm::kDsmlV4, "a <｜DSML｜tool_calls> b",
             "<c>a <｜DSML｜tool_calls> b"},
        Case{"no_flag", ToolForm::kDsmlV4,
             dsml(invoke("<｜DSML｜parameter name=\"a\">x</｜DSML｜parameter>")),
             "<0:get>{\"a\": \"x\"}"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(ParseToolsSoup, AnyTextIsTheSameInAnyPiecesAndNothingIsLost) {
  static const char* kBits[] = {"<｜tool▁call▁begin｜>get<｜tool▁sep｜>{",
                                "<｜DSML｜tool_calls><｜DSML｜invoke name=\"get\">",
                                "<tool_call>{\"name\": \"get\", \"arguments\": {",
                                "<｜tool▁calls▁begin｜>",
                                "<｜tool▁call▁begin｜>",
                                "<｜tool▁sep｜>",
                                "<｜tool▁call▁end｜>",
                                "<｜tool▁calls▁end｜>",
                                "<tool_call>",
                                "</tool_call>",
                                "<｜DSML｜tool_calls>",
                                "</｜DSML｜tool_calls>",
                                "<｜DSML｜invoke name=\"get\">",
                                "</｜DSML｜invoke>",
                                "<｜DSML｜parameter name=\"p\" string=\"true\">",
                                "</｜DSML｜parameter>",
                                "<｜DSML｜parameter name=\"p\">",
                                "<|python_tag|>",
                                "{\"name\": \"get\", \"arguments\": ",
                                "{\"parameters\": {}, \"name\": ",
                                "{",
                                "}",
                                "\"",
                                "\\",
                                "[",
                                ",",
                                ":",
                                "get",
                                "1",
                                " ",
                                "\n",
                                "\n\n",
                                "```",
                                "```json\n",
                                "<",
                                "</",
                                "｜",
                                "\xff",
                                "<think>",
                                "</think>"};
  std::mt19937 random(7);
  int with_calls = 0;
  for (const ToolForm form : {ToolForm::kDeepseekV3, ToolForm::kDsmlV4, ToolForm::kHermes,
                              ToolForm::kLlama3, ToolForm::kNone}) {
    for (int i = 0; i < 4000; ++i) {
      std::string text;
      for (size_t n = random() % 24; n > 0; --n) text += kBits[random() % std::size(kBits)];
      const AnswerFormat format{false, false, form, {"get"}};
      const bool cut = random() % 2 == 0;
      const auto expected = run(format, text, cut, whole);
      ASSERT_EQ(run(format, text, cut, byte), expected) << text;
      const auto any = [&random](size_t) { return random() % 9; };
      ASSERT_EQ(run(format, text, cut, any), expected) << text;
      bool calls = false;
      for (const AnswerEvent& event : expected) calls |= event.kind == Kind::kCallBegin;
      with_calls += calls ? 1 : 0;
      if (!calls) {
        ASSERT_EQ(shown(expected), text.empty() ? "" : "<c>" + text);
      }
    }
  }
  EXPECT_GT(with_calls, 100) << "the bits must make calls, too";
}

TEST(ParseToolsSoup, TextWithoutMarkersPassesAtOnce) {
  for (const ToolForm form : {ToolForm::kDeepseekV31, ToolForm::kDsmlV4, ToolForm::kHermes}) {
    AnswerParser parser({false, false, form, {}});
    const auto events = parser.push("Hello, world");
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].text, "Hello, world");
  }
}

TEST(ParseToolsSoup, ArgumentsPassAsTheyCome) {
  AnswerParser parser({false, false, ToolForm::kHermes, {}});
  parser.push("<tool_call>{\"name\": \"get\", \"arguments\": {\"a\": \"");
  const auto events = parser.push("hello");
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].kind, Kind::kArguments);
  EXPECT_EQ(events[0].text, "hello");
  EXPECT_EQ(parser.calls_ended(), 0);
  parser.push("\"}}");
  EXPECT_EQ(parser.calls_ended(), 1);
}

// What could make a parser start over again and again, or hold everything.
TEST(ParseToolsSoup, HostileTextTakesLinearWork) {
  const std::string nested = "<tool_call>{\"arguments\":{";
  const std::string head = "<｜tool▁call▁begin｜>a";
  const std::string value = "<｜DSML｜tool_calls><｜DSML｜invoke name=\"a\">";
  for (const auto& [form, bit] :
       {std::pair(ToolForm::kHermes, nested), std::pair(ToolForm::kDeepseekV31, head),
        std::pair(ToolForm::kDsmlV4, value), std::pair(ToolForm::kHermes, std::string("\n")),
        std::pair(ToolForm::kLlama3, std::string("{\"a\":"))}) {
    std::string text;
    while (text.size() < (1 << 18)) text += bit;
    const auto events = run({false, false, form, {"get"}}, text, false, whole);
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].text, text);
  }
}

TEST(ParseToolsSoup, AHugeValueBecomesAString) {
  const std::string big(kCallHeldMax + 10, '1');
  const std::string text = dsml(invoke(parameter("a", "false", big)));
  for (const Cut& cut : {Cut(whole), Cut([](size_t) { return 4'001; })}) {
    const auto events = run({false, false, ToolForm::kDsmlV4, {}}, text, false, cut);
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[1].text, "{\"a\": \"" + big + "\"}");
  }
}

TEST(ForcedCall, IsWhatTheParserReads) {
  for (const ToolForm form :
       {ToolForm::kDeepseekV3, ToolForm::kDeepseekV31, ToolForm::kHermes, ToolForm::kLlama3}) {
    const std::string named = forced_call(form, "get");
    EXPECT_TRUE(named.starts_with(forced_call(form, ""))) << named;
    const auto events = run({false, false, form, {"get"}}, named + "\"a\": 1}", true, whole);
    EXPECT_EQ(shown(events), "<0:get>{\"a\": 1}");
  }
  for (const ToolForm form : {ToolForm::kDsmlV32, ToolForm::kDsmlV4}) {
    const auto events =
        run({false, false, form, {}}, forced_call(form, "get") + "</｜DSML｜invoke>", false, whole);
    EXPECT_EQ(shown(events), "<0:get>{}");
  }
}

TEST(JsonScan, KnowsJson) {
  for (const char* good :
       {"{}", " [1, -0.5e+3, \"a\\u00e9\\n\", true, null] ", "\"x\"", "0", "{\"a\":{\"b\":[]}}"}) {
    EXPECT_TRUE(is_json(good)) << good;
  }
  for (const char* bad : {"", "{", "{a:1}", "[1,]", "01", "1.", "+1", "\"\n\"", "\"\\x\"",
                          "\"\\u12g4\"", "\"", "\"\\", "nul", "{} {}", "{\"a\" 1}", "'a'", "-"}) {
    EXPECT_FALSE(is_json(bad)) << bad;
  }
  EXPECT_FALSE(is_json(std::string(100'000, '[')));
  EXPECT_FALSE(is_json_object("[]"));
}

TEST(JsonScan, EscapesAndBack) {
  const std::string text = "a\"\\\n\r\t\x01é\U0001F600";
  std::string escaped;
  append_json_escaped(text, &escaped);
  EXPECT_TRUE(is_json("\"" + escaped + "\""));
  EXPECT_EQ(json_unescaped(escaped), text);
  EXPECT_EQ(json_unescaped("\\ud83d\\ude00\\/\\q\\"), "\U0001F600/\\q\\");
  EXPECT_EQ(json_unescaped("\\ud83dx"), "\uFFFDx");
}

}  // namespace
}  // namespace hadal
