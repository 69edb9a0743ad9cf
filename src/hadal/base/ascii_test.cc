#include "hadal/base/ascii.h"

#include <gtest/gtest.h>

#include <cctype>
#include <string>

namespace hadal {
namespace {

// In the locale "C", in which a program begins, the C library says the same.
TEST(Ascii, IsWhatTheLibrarySaysOfEveryByte) {
  for (int byte = 0; byte < 256; ++byte) {
    SCOPED_TRACE(byte);
    const char c = static_cast<char>(byte);
    EXPECT_EQ(is_digit(c), std::isdigit(byte) != 0);
    EXPECT_EQ(is_letter(c), std::isalpha(byte) != 0);
    EXPECT_EQ(lower(c), static_cast<char>(std::tolower(byte)));
    const std::string text(1, c);
    EXPECT_EQ(hex_digit(c), std::isxdigit(byte) != 0 ? std::stoi(text, nullptr, 16) : -1);
  }
}

TEST(Ascii, CaseOfTexts) {
  EXPECT_EQ(lower("Content-TYPE é É [@`{"), "content-type é É [@`{");
  EXPECT_TRUE(equal_in_any_case("Transfer-Encoding", "tRANSFER-eNCODING"));
  EXPECT_TRUE(equal_in_any_case("", ""));
  EXPECT_FALSE(equal_in_any_case("te", "te "));
  EXPECT_FALSE(equal_in_any_case("@", "`"));  // 32 apart, as letters of two cases are
  EXPECT_FALSE(equal_in_any_case("é", "É"));
}

}  // namespace
}  // namespace hadal
