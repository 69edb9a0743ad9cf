// The built-in embedder, the reading of questions and the guard.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "hadal/base/file.h"
#include "hadal/base/rng.h"
#include "hadal/gateway/semantic_embedder.h"
#include "hadal/gateway/semantic_eval.h"
#include "hadal/gateway/semantic_guard.h"
#include "hadal/gateway/semantic_text.h"
#include "hadal/gateway/semantic_words.h"

namespace hadal::gateway {
namespace {

using ::testing::IsEmpty;

class Semantic : public ::testing::Test {
 protected:
  std::string shown(std::string_view text) const {
    std::string out;
    for (const MeaningToken& token : lexicon_.read(text)) {
      if (token.part == MeaningToken::Part::kNothing) continue;
      out += (out.empty() ? "" : " ") + std::string(1, "~?!>#=dwh"[static_cast<int>(token.part)]) +
             token.text + (token.name ? "^" : "");
    }
    return out;
  }
  Objection judge(std::string_view a, std::string_view b,
                  GuardLevel level = GuardLevel::kWords) const {
    const Objection there = objection(lexicon_.read(a), lexicon_.read(b), level);
    EXPECT_EQ(there, objection(lexicon_.read(b), lexicon_.read(a), level)) << a << " | " << b;
    return there;
  }
  float near(std::string_view a, std::string_view b) const {
    return similarity(embed(lexicon_.read(a)), embed(lexicon_.read(b)));
  }
  const Lexicon lexicon_;
};

TEST_F(Semantic, ListsHaveEachFormOnce) { EXPECT_THAT(lexicon_.mistakes(), IsEmpty()); }

TEST_F(Semantic, QuestionsAreReadInACommonForm) {
  const std::pair<const char*, const char*> kCases[] = {
      {"How do I turn off Slack?", "?how =disable wslack^"},
      {"How can I DEACTIVATE slack", "?how =disable wslack"},
      {"twenty-five  kilometres", "d25 #km"},
      {"25km", "d25 #km"},
      {"two hundred dollars, $3", "d200 #dollar #dollar d3"},
      {"1,000.5 and 12:30", "d1000.5 d12:30"},
      {"the 2nd and the third", "d2 d3"},
      {"World War II", "=worldwar d2"},
      {"C# or C++", "wc# wc++^"},
      {"don’t", "!not"},
      {"wine wins win", "wwine =win =win"},
      {"三千五百元", "d3500 #元"},
      {"二〇二四年", "d2024 #年"},
      {"3万米", "d30000 #米"},
      {"３７．５度", "d37.5 #度"},
      {"一起", "=一起"},
      {"不能不去", "!not !not >to"},
      {"上海到东京", "=上海 >to h东 h京"},
      {"Calculate 3 + 4", "d3 d4"},
      {"How do I calculate it", "?how =calculate"},
      {"Можно ли пить", "wможно wли wпить"},
      {"\xff\xfe", ""},
      {"", ""},
  };
  for (const auto& [text, read] : kCases) EXPECT_EQ(shown(text), read) << text;
}

TEST_F(Semantic, OneQuestionInTwoWaysPasses) {
  const std::pair<const char*, const char*> kCases[] = {
      {"How do I delete my account?", "Please, how can I remove the account"},
      {"Which papers must I bring?", "What papers do I need to bring"},
      {"how long is the flight from Oslo to Bergen",
       "How long does it take to fly from Oslo to Bergen?"},
      {"Is it possible to pay by card?", "Can I pay by card?"},
      {"Who is the author of Dune?", "Who wrote Dune?"},
      {"请问怎么关闭自动续费？", "如何关掉自动续费"},
      {"高铁能带酒吗", "高铁可不可以带酒"},
      {"狗和猫有什么区别", "猫与狗的区别是什么"},
      {"Does the policy cover theft?", "Is theft covered by the policy?"},
  };
  for (const auto& [a, b] : kCases) {
    EXPECT_EQ(objection_name(judge(a, b)), "none") << a << " | " << b;
    EXPECT_GT(near(a, b), 0.8f) << a << " | " << b;
  }
}

struct Difference {
  const char* a;
  const char* b;
  Objection by_facts;  // what even the lower level sees; kNone: only the higher one does
};

// None of these stands in the labelled questions.
TEST_F(Semantic, WhatChangesTheAnswerIsObjectedTo) {
  const Difference kCases[] = {
      {"Top 5 films of 1999", "Top 5 films of 1989", Objection::kNumber},
      {"Is 3 kg of rice enough?", "Is 3 pounds of rice enough?", Objection::kNumber},
      {"convert 10 feet to yards", "convert 10 yards to feet", Objection::kNumber},
      {"Who is the tenth president?", "Who is the eleventh president?", Objection::kNumber},
      {"二十人的会议室", "三十人的会议室", Objection::kNumber},
      {"十五块钱", "15块钱五个", Objection::kNumber},
      {"Can I eat this when pregnant?", "Can't I eat this when pregnant?", Objection::kNegation},
      {"plants that need light", "plants that need no light", Objection::kNegation},
      {"哪些药能一起吃", "哪些药不能一起吃", Objection::kNegation},
      {"没交社保能贷款吗", "交社保能贷款吗", Objection::kNegation},
      {"Do I stretch before running?", "Do I stretch after running?", Objection::kOpposite},
      {"the maximum dose", "the minimum dose", Objection::kOpposite},
      {"开启自动更新", "关闭自动更新", Objection::kOpposite},
      {"睡之前喝水好吗", "睡之后喝水好吗", Objection::kOpposite},
      {"fly from Rome to Lisbon", "fly from Lisbon to Rome", Objection::kDirection},
      {"Is gold denser than lead?", "Is lead denser than gold?", Objection::kDirection},
      {"Did Google buy Motorola?", "Did Motorola buy Google?", Objection::kDirection},
      {"bus to Leeds", "bus from Leeds", Objection::kDirection},
      {"从广州到长沙", "从长沙到广州", Objection::kDirection},
      {"小明比小红高吗", "小红比小明高吗", Objection::kDirection},
      {"When was the bridge built?", "Who built the bridge?", Objection::kKind},
      {"Why is the ferry late?", "Is the ferry late?", Objection::kKind},
      {"怎么开公司", "为什么开公司", Objection::kKind},
      {"Who is the mayor of Ghent?", "Who was the mayor of Ghent?", Objection::kKind},
      {"weather in Bonn", "weather in Trier", Objection::kName},
      {"用Go写服务器", "用Rust写服务器", Objection::kName},
      {"How do I log in?", "How do I log out?", Objection::kNone},
      {"What is your name?", "What is my name?", Objection::kNone},
      {"price of a used car", "price of a car", Objection::kNone},
      {"蜂蜜的做法", "蜜蜂的做法", Objection::kWord},
      {"Who are you?", "Who am I?", Objection::kWord},
      {"", "", Objection::kWord},
  };
  for (const Difference& each : kCases) {
    const Objection facts = judge(each.a, each.b, GuardLevel::kFacts);
    EXPECT_EQ(objection_name(facts), objection_name(each.by_facts)) << each.a << " | " << each.b;
    EXPECT_NE(judge(each.a, each.b), Objection::kNone) << each.a << " | " << each.b;
  }
}

TEST_F(Semantic, VectorsHaveLengthOneAndAreTheSameForms) {
  const std::vector<float> one = embed(lexicon_.read("How do I bake bread?"));
  ASSERT_EQ(one.size(), kBuiltInDimensions);
  EXPECT_NEAR(similarity(one, one), 1.0f, 1e-5f);
  EXPECT_EQ(one, embed(lexicon_.read("HOW  do i bake bread")));
  for (const float value : embed(lexicon_.read("?!"))) EXPECT_EQ(value, 0.0f);
  EXPECT_GT(near("bakery in Ghent", "bakeries in Ghent"), 0.9f);
  EXPECT_LT(near("bakery in Ghent", "submarine cables"), 0.3f);
}

// Whatever bytes come: no crash, and equal to itself.
TEST_F(Semantic, AnyBytesAreRead) {
  Rng rng(7);
  for (int round = 0; round < 300; ++round) {
    std::string text;
    const uint64_t size = rng.next() % 200;
    for (uint64_t i = 0; i < size; ++i) text.push_back(static_cast<char>(rng.next() % 256));
    const Meaning meaning = lexicon_.read(text);
    for (const float value : embed(meaning)) ASSERT_TRUE(std::isfinite(value));
    ASSERT_EQ(objection(meaning, meaning, GuardLevel::kFacts),
              objection(meaning, meaning, GuardLevel::kWords));
  }
  const std::string numbers(100'000, '9');
  EXPECT_EQ(lexicon_.read(numbers).size(), 1u);
  std::string digits;
  for (int i = 0; i < 50; ++i) digits += "亿";
  EXPECT_NE(lexicon_.read(digits).size(), 0u);
}

TEST(SemanticQuestions, AreParsedOrTheLineIsNamed) {
  const auto groups = parse_questions("# x\nQ a\n= b\n!name c d\n\nQ e\n");
  ASSERT_TRUE(groups);
  ASSERT_EQ(groups->size(), 2u);
  EXPECT_EQ((*groups)[0].lines[1].text, "c d");
  EXPECT_EQ((*groups)[0].lines[1].why, "name");
  for (const char* bad : {"= a", "Q a\n? b", "Q a\n!", "Q a\n! b", "Q ", "Q a\n=b"}) {
    EXPECT_FALSE(parse_questions(bad)) << bad;
  }
  EXPECT_EQ(parse_questions("Q a\n\nx").error().what.substr(0, 6), "line 3");
}

TEST(SemanticQuestions, CurveAndTrialCount) {
  const std::vector<JudgedPair> pairs = {{"", "", "", 0.9f, Objection::kNone},
                                         {"", "", "", 0.9f, Objection::kWord},
                                         {"", "", "name", 0.9f, Objection::kNone},
                                         {"", "", "name", 0.2f, Objection::kNone}};
  for (const CurvePoint& point : hit_curve(pairs)) {
    EXPECT_EQ(point.hits, point.threshold <= 0.9f ? 0.5 : 0.0) << point.threshold;
    EXPECT_EQ(point.hits_bare, point.threshold <= 0.9f ? 1.0 : 0.0) << point.threshold;
    EXPECT_EQ(point.wrong, point.threshold <= 0.2f ? 1.0 : point.threshold <= 0.9f ? 0.5 : 0.0);
  }
  const Lexicon lexicon;
  const auto groups = parse_questions("Q red cars\n= the red cars\n!name blue cars\nQ blue cars\n");
  std::vector<std::vector<float>> vectors;
  for (const std::string& text : texts_of(*groups)) vectors.push_back(embed(lexicon.read(text)));
  const CacheTrial trial = try_cache(*groups, vectors, lexicon, GuardLevel::kWords, 0.8f);
  EXPECT_EQ(trial.paraphrases, 1u);
  EXPECT_EQ(trial.answered, 1u);
  EXPECT_EQ(trial.crossed, 0u);
  EXPECT_EQ(trial.answered_wrong, 1u);  // by the other group, which asks just that
}

// What docs/caches.md says of the built-in embedder, on the half it was made with.
TEST(SemanticQuestions, BuiltInAnswersEnoughAndHardlyWrong) {
  const Lexicon lexicon;
  std::vector<QuestionGroup> groups;
  size_t labelled = 0;
  for (const char* file : {"en.txt", "zh.txt"}) {
    const auto text =
        read_file(fmt::format("{}/tests/data/semantic/{}", HADAL_SOURCE_DIR, file), 1 << 20);
    ASSERT_TRUE(text);
    const auto all = parse_questions(*text);
    ASSERT_TRUE(all) << all.error().what;
    for (const QuestionGroup& group : *all) {
      labelled += group.lines.size();
      if (!group.held_out()) groups.push_back(group);
    }
  }
  EXPECT_GE(labelled, 1'000u);
  std::vector<std::vector<float>> vectors;
  for (const std::string& text : texts_of(groups)) vectors.push_back(embed(lexicon.read(text)));
  for (const CurvePoint& point :
       hit_curve(judge_pairs(groups, vectors, lexicon, GuardLevel::kWords))) {
    if (point.threshold > 0.86f) break;
    EXPECT_GE(point.hits, 0.5) << point.threshold;
    EXPECT_LE(point.wrong, 0.01) << point.threshold;
  }
}

}  // namespace
}  // namespace hadal::gateway
