#include "hadal/text/pattern.h"

#include <gtest/gtest.h>

#include <string>

namespace hadal {
namespace {

using Search = Pattern::Search;

TEST(Pattern, FindsBytesOfUtf8) {
  const auto pattern = Pattern::make("工号\\s*(\\d{4})", false);
  ASSERT_TRUE(pattern) << pattern.error().what;
  const std::string text = "他的工号 1234，她的工号5678";
  Pattern::Match match;
  ASSERT_EQ(pattern->find(text, 0, &match), Search::kFound);
  EXPECT_EQ(text.substr(match.begin, match.end - match.begin), "工号 1234");
  ASSERT_EQ(pattern->find(text, match.end, &match), Search::kFound);
  EXPECT_EQ(text.substr(match.begin, match.end - match.begin), "工号5678");
  EXPECT_EQ(pattern->find(text, match.end, &match), Search::kNo);
}

TEST(Pattern, IgnoresCaseWhenAsked) {
  Pattern::Match match;
  EXPECT_EQ(Pattern::make("project-x", true)->find("PROJECT-X", 0, &match), Search::kFound);
  EXPECT_EQ(Pattern::make("project-x", false)->find("PROJECT-X", 0, &match), Search::kNo);
}

TEST(Pattern, SaysWhatIsWrongWithAnExpression) {
  const auto pattern = Pattern::make("a(b", false);
  ASSERT_FALSE(pattern);
  EXPECT_EQ(pattern.error().code, Code::kInvalidInput);
  EXPECT_NE(pattern.error().what.find("at byte 3"), std::string::npos) << pattern.error().what;
}

TEST(Pattern, GivesUpInsteadOfTakingForever) {
  const auto pattern = Pattern::make("(a+)+$", false);
  ASSERT_TRUE(pattern);
  Pattern::Match match;
  EXPECT_EQ(pattern->find(std::string(200, 'a') + "b", 0, &match), Search::kGaveUp);
  EXPECT_EQ(pattern->find("\xff", 0, &match), Search::kGaveUp);
}

}  // namespace
}  // namespace hadal
