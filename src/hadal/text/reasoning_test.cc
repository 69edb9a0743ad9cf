#include "hadal/text/reasoning.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <ostream>
#include <random>
#include <string>
#include <utility>

namespace hadal {
namespace {

struct Split {
  std::string reasoning;
  std::string content;
  bool operator==(const Split&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Split& split) {
  return out << "reasoning \"" << split.reasoning << "\" content \"" << split.content << "\"";
}

Split run(bool enabled, bool inside, std::string_view text, std::mt19937* random,
          bool closed = false) {
  ReasoningSplitter splitter(enabled, inside, {}, closed);
  Split out;
  const auto take = [&out](const ReasoningDelta& delta) {
    out.reasoning += delta.reasoning;
    out.content += delta.content;
  };
  while (!text.empty()) {
    const size_t n = random == nullptr ? text.size() : (*random)() % (text.size() + 1);
    take(splitter.push(text.substr(0, n)));
    text.remove_prefix(n);
  }
  take(splitter.finish());
  return out;
}

struct Case {
  const char* name;
  bool enabled;
  bool inside;
  const char* text;
  const char* reasoning;
  const char* content;
};

class Reasoning : public ::testing::TestWithParam<Case> {};

TEST_P(Reasoning, SplitsTheSameHoweverItArrives) {
  const Case& c = GetParam();
  const Split expected{c.reasoning, c.content};
  EXPECT_EQ(run(c.enabled, c.inside, c.text, nullptr), expected);
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    ASSERT_EQ(run(c.enabled, c.inside, c.text, &random), expected) << "chunking " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, Reasoning,
    ::testing::Values(
        Case{"opened", true, false, "<think>\nwhy\n</think>\n\nso", "why\n", "so"},
        Case{"opened_by_prompt", true, true, "\nwhy</think> so ", "why", "so "},
        Case{"repeated_opening", true, true, "<think>\nwhy</think>so", "why", "so"},
        Case{"second_opening", true, true, "a<think>b</think>c", "a<think>b", "c"},
        Case{"twice_repeated", true, true, "<think><think>b</think>c", "<think>b", "c"},
        Case{"space_before", true, false, " \n<think>a</think>b", "a", "b"},
        Case{"no_markers", true, false, "  plain <thin text", "", "  plain <thin text"},
        Case{"only_space", true, false, " \n ", "", " \n "},
        Case{"unclosed", true, false, "<think>half </thi", "half </thi", ""},
        Case{"unclosed_prompt", true, true, "half<", "half<", ""},
        Case{"empty", true, true, "", "", ""},
        Case{"empty_thinking", true, false, "<think>\n\n</think>\n\nb", "", "b"},
        Case{"partial_opening", true, false, "<thi", "", "<thi"},
        Case{"think_after_content", true, false, "a<think>b</think>c", "", "a<think>b</think>c"},
        Case{"think_after_answer", true, false, "<think>a</think>b<think>c</think>", "a",
             "b<think>c</think>"},
        Case{"stray_closing", true, false, "a</think>b", "", "a</think>b"},
        Case{"nested_closing", true, true, "a</th</think>b</think>", "a</th", "b</think>"},
        Case{"almost_closing", true, true, "a</</think></think>", "a</", "</think>"},
        Case{"off", false, true, " <think>a</think>b", "", " <think>a</think>b"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(ReasoningSplitter, BehindAThinkingThatThePromptClosed) {
  const std::pair<const char*, Split> cases[] = {
      {"\n\nso \n", {"", "so \n"}},
      {"so", {"", "so"}},
      {" \n ", {"", ""}},
      {"\n<think>why</think>\nso", {"why", "so"}},
      {"\n</think>so", {"", "</think>so"}},
  };
  std::mt19937 random(3);
  for (const auto& [text, wanted] : cases) {
    EXPECT_EQ(run(true, false, text, nullptr, true), wanted) << text;
    for (int i = 0; i < 20; ++i) EXPECT_EQ(run(true, false, text, &random, true), wanted) << text;
  }
  EXPECT_EQ(run(false, false, "\nso", nullptr, true), (Split{"", "\nso"}));
}

TEST(ReasoningSplitter, NeverHoldsMoreThanAMarker) {
  std::mt19937 random(2);
  static const char* kBits[] = {"<", "/", "t", "</think", "<think>", "</think>", " ", "\n", "word"};
  for (int i = 0; i < 2000; ++i) {
    const bool inside = random() % 2 == 0;
    std::string text;
    for (size_t n = random() % 12; n > 0; --n) text += kBits[random() % std::size(kBits)];
    const Split whole = run(true, inside, text, nullptr);
    for (int j = 0; j < 10; ++j) ASSERT_EQ(run(true, inside, text, &random), whole) << text;
    // Whatever is neither must be a marker or white space between the parts.
    const std::string both = whole.reasoning + whole.content;
    size_t at = 0;
    for (const char c : both) {
      at = text.find(c, at);
      ASSERT_NE(at, std::string::npos) << text;
      ++at;
    }
    ASSERT_LE(text.size() - both.size(),
              15U + std::ranges::count(text, ' ') + std::ranges::count(text, '\n') + 7U)
        << text;
  }
}

TEST(ReasoningSplitter, KnowsWhetherItIsInside) {
  ReasoningSplitter splitter(true, false);
  EXPECT_FALSE(splitter.inside());
  splitter.push("<think>");
  EXPECT_TRUE(splitter.inside());
  EXPECT_EQ(splitter.push("a</think").reasoning, "a");
  EXPECT_TRUE(splitter.inside());
  splitter.push(">");
  EXPECT_FALSE(splitter.inside());
}

}  // namespace
}  // namespace hadal
