#include "hadal/text/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "hadal/text/unicode.h"

namespace hadal {
namespace {

constexpr PreTokenizer kAll[] = {PreTokenizer::kDeepseekLlm, PreTokenizer::kDeepseekCoder,
                                 PreTokenizer::kDeepseekV3, PreTokenizer::kQwen2,
                                 PreTokenizer::kLlamaBpe};

PreTokenizerRegex make(PreTokenizer kind) {
  auto regex = PreTokenizerRegex::make(kind);
  EXPECT_TRUE(regex) << regex.error().what;
  return std::move(*regex);
}

std::string split(const PreTokenizerRegex& regex, std::string_view text) {
  std::vector<size_t> lengths;
  regex.split(text, &lengths);
  std::string out;
  for (const size_t length : lengths) {
    out.append(out.empty() ? "" : "|").append(text.substr(0, length));
    text.remove_prefix(length);
  }
  EXPECT_TRUE(text.empty()) << "not covered: " << text;
  return out;
}

struct Case {
  PreTokenizer kind;
  const char* text;
  const char* pieces;
};

class Pieces : public ::testing::TestWithParam<Case> {};

TEST_P(Pieces, AreTheModels) {
  EXPECT_EQ(split(make(GetParam().kind), GetParam().text), GetParam().pieces);
}

INSTANTIATE_TEST_SUITE_P(
    DeepseekLlm, Pieces,
    ::testing::Values(Case{PreTokenizer::kDeepseekLlm, "Hello  world", "Hello| | world"},
                      Case{PreTokenizer::kDeepseekLlm, "I'm 12345 x", "I|'|m| |12345| x"},
                      Case{PreTokenizer::kDeepseekLlm, "a\n\n b", "a|\n|\n| b"},
                      Case{PreTokenizer::kDeepseekLlm, "你好 世界", "你好| |世界"},
                      Case{PreTokenizer::kDeepseekLlm, "a b   ", "a| b|   "},
                      Case{PreTokenizer::kDeepseekLlm, "。\u3000。", "。|\u3000|。"},
                      Case{PreTokenizer::kDeepseekLlm, "中\u3000文", "中|\u3000|文"},
                      Case{PreTokenizer::kDeepseekLlm, "x=¤1", "x|=|¤|1"}));

INSTANTIATE_TEST_SUITE_P(
    DeepseekCoder, Pieces,
    ::testing::Values(Case{PreTokenizer::kDeepseekCoder, "for x in 123:", "for| x| in| |1|2|3|:"},
                      Case{PreTokenizer::kDeepseekCoder, "\t\ta += b", "\t|\ta| +=| b"},
                      Case{PreTokenizer::kDeepseekCoder, "a\r\nb", "a|\r|\n|b"},
                      Case{PreTokenizer::kDeepseekCoder, "好的 x，y", "好的| x|，|y"}));

INSTANTIATE_TEST_SUITE_P(
    DeepseekV3, Pieces,
    ::testing::Values(Case{PreTokenizer::kDeepseekV3, "12345678", "123|456|78"},
                      Case{PreTokenizer::kDeepseekV3, "I'm _x foo.bar", "I|'m| _|x| foo|.bar"},
                      Case{PreTokenizer::kDeepseekV3, "你好hello世界", "你好|hello|世界"},
                      Case{PreTokenizer::kDeepseekV3, "カタカナ漢字!\n\n", "カタカナ漢字|!\n\n"},
                      Case{PreTokenizer::kDeepseekV3, "a   b", "a|  | b"},
                      Case{PreTokenizer::kDeepseekV3, "a \n \n b", "a| \n \n| b"},
                      Case{PreTokenizer::kDeepseekV3, "e\u0301 x", "e\u0301| x"},
                      Case{PreTokenizer::kDeepseekV3, "go \U0001FAE8!", "go| \U0001FAE8!"}));

INSTANTIATE_TEST_SUITE_P(
    Qwen2, Pieces,
    ::testing::Values(Case{PreTokenizer::kQwen2, "I'M don't WE'Ll", "I|'M| don|'t| WE|'Ll"},
                      Case{PreTokenizer::kQwen2, "'\u017F 1234", "'\u017F| |1|2|3|4"},
                      Case{PreTokenizer::kQwen2, "a...\n\n  b", "a|...\n\n| | b"},
                      Case{PreTokenizer::kQwen2, "x\u180Ey \u180E", "x|\u180Ey| \u180E"},
                      Case{PreTokenizer::kQwen2, "  \r\n", "  \r\n"}));

INSTANTIATE_TEST_SUITE_P(
    LlamaBpe, Pieces,
    ::testing::Values(Case{PreTokenizer::kLlamaBpe, "It's 1234567 now", "It|'s| |123|456|7| now"},
                      Case{PreTokenizer::kLlamaBpe, "(foo)\tbar", "(foo|)|\tbar"}));

TEST(PreTokenizer, CoversEveryTextExactly) {
  std::mt19937 random(5);
  for (const PreTokenizer kind : kAll) {
    const PreTokenizerRegex regex = make(kind);
    for (int i = 0; i < 500; ++i) {
      std::string text;
      for (size_t n = random() % 40; n > 0; --n) {
        uint32_t c = random() % 3 == 0 ? random() % 0x80 : random() % 0x11000;
        if (c >= 0xD800 && c < 0xE000) c = ' ';
        append_utf8(c, &text);
      }
      split(regex, text);
    }
  }
}

// Each would take minutes, or fail, if some expression backed off over what it has already read.
TEST(PreTokenizer, LongRunsAreLinear) {
  constexpr size_t kLong = 1 << 18;
  for (const PreTokenizer kind : kAll) {
    const PreTokenizerRegex regex = make(kind);
    for (const std::string_view unit : {" ", "a", "\n", "1", "\u3000", "!", " \n", "中", "'"}) {
      std::string text = "x";
      while (text.size() < kLong) text.append(unit);
      for (const char* end : {"", "中", "1", "\u00A0"}) {
        std::vector<size_t> lengths;
        regex.split(text + end, &lengths);
        size_t total = 0;
        for (const size_t length : lengths) total += length;
        EXPECT_EQ(total, text.size() + std::string_view(end).size());
      }
    }
  }
}

}  // namespace
}  // namespace hadal
