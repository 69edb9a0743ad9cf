#include "hadal/text/fold.h"

#include <gtest/gtest.h>

#include <string>

#include "hadal/text/unicode.h"

namespace hadal {
namespace {

std::string plain(std::string_view text) {
  std::string out;
  for (const FoldedChar& each : fold_characters(text)) append_utf8(each.c, &out);
  return out;
}

std::string kinds(std::string_view text) {
  std::string out;
  for (const FoldedChar& each : fold_characters(text)) {
    out += "_adh."[static_cast<int>(each.kind)];
    if (each.was_upper) out += '^';
  }
  return out;
}

TEST(Fold, FormsOfOneTextAreOne) {
  EXPECT_EQ(plain("HELLO Straße"), "hello strasse");
  EXPECT_EQ(plain("ＡＢＣ１２３％"), "abc123%");
  EXPECT_EQ(plain("e\u0301"), plain("\u00e9"));
  EXPECT_EQ(plain("①②"), "12");
  EXPECT_EQ(plain("a\u200bb"), "ab");  // zero width space
  EXPECT_EQ(plain("\u039F\u03A3"), plain("\u03BF\u03C3"));
}

TEST(Fold, KindsAndCapitals) {
  EXPECT_EQ(kinds("Ab 1?"), "a^a_d.");
  EXPECT_EQ(kinds("北京カ"), "hhh");
  EXPECT_EQ(kinds("한국"), "aa");  // words have spaces between them
  EXPECT_EQ(kinds("\n\t"), "__");
}

TEST(Fold, IllFormedBytesAreSeenAndHarmless) {
  EXPECT_EQ(kinds("a\xff\xc3"), "a..");
  EXPECT_EQ(plain(""), "");
  EXPECT_EQ(fold_characters(std::string(1, '\0')).size(), 1u);
}

}  // namespace
}  // namespace hadal
