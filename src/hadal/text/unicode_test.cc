#include "hadal/text/unicode.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace hadal {
namespace {

TEST(Unicode, KnowsWhatIsWellFormed) {
  for (const char* text : {"", "plain", "é", "ࠀ", "中文", "\uFFFF", "🦙", "\U0010FFFF", "퟿"}) {
    EXPECT_TRUE(is_valid_utf8(text)) << text;
  }
  EXPECT_TRUE(is_valid_utf8(std::string_view("\0", 1)));
  for (const char* text :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "abcdefgh\xE4\xB8", "\xE4\xB8z"}) {
    EXPECT_FALSE(is_valid_utf8(text));
  }
}

// The counts are those of the WHATWG Encoding Standard's decoder, as every browser has it.
TEST(Unicode, ReplacesAsBrowsersDo) {
  const std::string r = "\uFFFD";
  EXPECT_EQ(replace_ill_formed("a\xFFz"), "a" + r + "z");
  EXPECT_EQ(replace_ill_formed("\xE4\xB8"), r);
  EXPECT_EQ(replace_ill_formed("\xF0\x9F\xA6z"), r + "z");
  EXPECT_EQ(replace_ill_formed("\xC0\x80"), r + r);
  EXPECT_EQ(replace_ill_formed("\xED\xA0\x80"), r + r + r);
  EXPECT_EQ(replace_ill_formed("\xF0\x80\x80\x41"), r + r + r + "A");
  EXPECT_EQ(replace_ill_formed("\xE1\xA0\xC0\xF1\x80\x80\xE1"), r + r + r + r);
}

TEST(Unicode, DrainKeepsOnlyAnUnfinishedCharacter) {
  std::mt19937 random(3);
  static const uint8_t kBytes[] = {'a',  0x80, 0xBF, 0xC2, 0xC3, 0xE0, 0xA0, 0xED,
                                   0x9F, 0xE4, 0xF0, 0x90, 0xF4, 0x8F, 0xF5, 0xFF};
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (size_t n = random() % 12; n > 0; --n) {
      text.push_back(static_cast<char>(kBytes[random() % std::size(kBytes)]));
    }
    std::string pending;
    std::string out;
    for (const char c : text) {
      pending.push_back(c);
      drain_utf8(&pending, false, &out);
      ASSERT_LE(pending.size(), 3U);
      ASSERT_TRUE(is_valid_utf8(out));
    }
    drain_utf8(&pending, true, &out);
    ASSERT_TRUE(pending.empty());
    ASSERT_EQ(out, replace_ill_formed(text));
  }
}

TEST(Unicode, AppendsEveryWidth) {
  std::string out;
  for (const uint32_t c : {0x41U, 0xE9U, 0x4E2DU, 0x1F999U}) append_utf8(c, &out);
  EXPECT_EQ(out, "Aé中🦙");
}

}  // namespace
}  // namespace hadal
