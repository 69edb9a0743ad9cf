#include "hadal/gateway/calendar.h"

#include <gtest/gtest.h>

namespace hadal::gateway {
namespace {

TEST(Calendar, DaysAndMonths) {
  EXPECT_EQ(day_of(0), 0);
  EXPECT_EQ(day_of(kDaySeconds - 1), 0);
  EXPECT_EQ(day_of(kDaySeconds), 1);
  EXPECT_EQ(day_of(-1), -1);
  EXPECT_EQ(month_of(0), 0);
  EXPECT_EQ(month_of(-1), -1);
  // 2024-02-29T23:59:59Z and the second after it; 2023-12-31T23:59:59Z; 2025-11-30T23:59:59Z.
  EXPECT_EQ(month_of(1'709'251'199), (2024 - 1970) * 12 + 1);
  EXPECT_EQ(month_of(1'709'251'200), (2024 - 1970) * 12 + 2);
  EXPECT_EQ(month_of(1'704'067'199), (2023 - 1970) * 12 + 11);
  EXPECT_EQ(month_of(1'764'547'199), (2025 - 1970) * 12 + 10);
  EXPECT_EQ(month_begin((2025 - 1970) * 12 + 11), 1'764'547'200);
  for (int64_t month = 0; month < 1'200; ++month) {
    EXPECT_EQ(month_of(month_begin(month)), month);
    EXPECT_EQ(month_of(month_begin(month) - 1), month - 1);
  }
}

}  // namespace
}  // namespace hadal::gateway
