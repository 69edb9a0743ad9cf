#include "hadal/sample/stop.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "hadal/base/rng.h"

namespace hadal {
namespace {

struct Outcome {
  std::string text;
  std::string match;
  bool operator==(const Outcome&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
  return out << fmt::format("\"{}\" ended by \"{}\"", outcome.text, outcome.match);
}

Outcome stream(const std::vector<std::string>& stops, const std::vector<std::string>& pieces,
               bool include = false) {
  StopMatcher matcher(stops, include);
  Outcome outcome;
  for (const std::string& piece : pieces) outcome.text += matcher.push(piece);
  outcome.text += matcher.finish();
  if (matcher.match() != nullptr) outcome.match = *matcher.match();
  return outcome;
}

TEST(StopMatcher, Table) {
  struct Case {
    std::vector<std::string> stops, pieces;
    Outcome outcome;
  };
  const Case cases[] = {
      {{}, {"a", "b"}, {"ab", ""}},
      {{"END"}, {"the EN", "D is near"}, {"the ", "END"}},
      {{"END"}, {"E", "N", "D"}, {"", "END"}},
      {{"END"}, {"EN", "EN", "D!"}, {"EN", "END"}},
      {{"END"}, {"EN"}, {"EN", ""}},
      {{"aab"}, {"aaa", "ab"}, {"aa", "aab"}},
      {{"abab", "x"}, {"abaab", "abx"}, {"aba", "abab"}},
      {{"bcd", "c"}, {"abcd"}, {"ab", "c"}},    // complete first
      {{"cd", "bcd"}, {"abcd"}, {"a", "bcd"}},  // complete together: the longest
      {{"停止"}, {"请停", "止吧"}, {"请", "停止"}},
      {{"\n\n"}, {"a\n", "b\n", "\nc"}, {"a\nb", "\n\n"}},
  };
  for (const Case& test : cases) EXPECT_EQ(stream(test.stops, test.pieces), test.outcome);
}

TEST(StopMatcher, IncludesTheMatchWhenAsked) {
  EXPECT_EQ(stream({"END"}, {"the EN", "D is"}, true), (Outcome{"the END", "END"}));
}

TEST(StopMatcher, HoldsBackNoMoreThanAPossibleBeginning) {
  StopMatcher matcher({"END", "ENTER"}, false);
  EXPECT_EQ(matcher.push("the E"), "the ");
  EXPECT_EQ(matcher.push("x"), "Ex");
  EXPECT_EQ(matcher.push("ENT"), "");
  EXPECT_EQ(matcher.push("EN"), "ENT");
  EXPECT_EQ(matcher.push("D"), "");
  EXPECT_NE(matcher.match(), nullptr);
  EXPECT_EQ(matcher.push("more"), "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, PassMatchesNothingAndForgets) {
  StopMatcher matcher({"END"}, false);
  EXPECT_EQ(matcher.push("EN"), "");
  EXPECT_EQ(matcher.pass("D END "), "END END ");
  EXPECT_EQ(matcher.push("D"), "D");
  EXPECT_EQ(matcher.push("END"), "");
  EXPECT_NE(matcher.match(), nullptr);
}

// The whole text read at once, in the plainest way.
Outcome expected(const std::vector<std::string>& stops, const std::string& text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    const std::string_view head(text.data(), end);
    const std::string* best = nullptr;
    for (const std::string& stop : stops) {
      if (head.ends_with(stop) && (best == nullptr || stop.size() > best->size())) best = &stop;
    }
    if (best != nullptr) return {text.substr(0, end - best->size()), *best};
  }
  return {text, ""};
}

TEST(StopMatcher, AnyCutGivesWhatTheWholeTextGives) {
  Rng rng(1);
  const auto word = [&rng](uint64_t most) {
    std::string word(1 + rng.next() % most, ' ');
    for (char& c : word) c = static_cast<char>('a' + rng.next() % 2);
    return word;
  };
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::string> stops(1 + rng.next() % 3);
    for (std::string& stop : stops) stop = word(6) + (rng.next() % 2 ? "b" : "");
    std::vector<std::string> pieces(rng.next() % 6);
    std::string text;
    for (std::string& piece : pieces) text += piece = word(5);
    ASSERT_EQ(stream(stops, pieces), expected(stops, text)) << "round " << round << ": " << text;
  }
}

}  // namespace
}  // namespace hadal
