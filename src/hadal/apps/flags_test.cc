#include "hadal/apps/flags.h"

#include <gtest/gtest.h>

namespace hadal::apps {
namespace {

TEST(ParseBytes, UnitsArePowersOf1024) {
  EXPECT_EQ(parse_bytes("1"), 1u);
  EXPECT_EQ(parse_bytes("1000000"), 1'000'000u);
  EXPECT_EQ(parse_bytes("2k"), 2'048u);
  EXPECT_EQ(parse_bytes("512M"), 512u << 20);
  EXPECT_EQ(parse_bytes("4G"), 4ull << 30);
  EXPECT_EQ(parse_bytes("4GiB"), 4ull << 30);
  EXPECT_EQ(parse_bytes("4gb"), 4ull << 30);
  EXPECT_EQ(parse_bytes("3T"), 3ull << 40);
}

TEST(ParseBytes, RefusesTheRest) {
  for (const char* text : {"", "0", "-1", "4.5G", "G", "4X", "4 G", "99999999999999999999",
                           "99999999999T", "0x10", "4GG"}) {
    EXPECT_FALSE(parse_bytes(text)) << text;
  }
}

}  // namespace
}  // namespace hadal::apps
