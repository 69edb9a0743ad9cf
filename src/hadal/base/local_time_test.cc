#include "hadal/base/local_time.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <time.h>

#include <cstdint>
#include <limits>

namespace hadal {
namespace {

class LocalTime : public ::testing::Test {
 protected:
  // POSIX's form, which needs no database: what is added to local time to get UTC.
  static void zone(const char* name) {
    setenv("TZ", name, 1);
    tzset();
  }
  void TearDown() override {
    unsetenv("TZ");
    tzset();
  }
};

TEST_F(LocalTime, IsWhatTheZoneSays) {
  zone("UTC0");
  EXPECT_EQ(local_seconds(1'700'000'000), 1'700'000'000);
  zone("CST-8");
  EXPECT_EQ(local_seconds(1'700'000'000), 1'700'000'000 + 8 * 3600);
  zone("NST3:30");
  EXPECT_EQ(local_seconds(0), -12'600);
  zone("CET-1CEST,M3.5.0,M10.5.0/3");
  EXPECT_EQ(local_seconds(1'705'276'800), 1'705'276'800 + 3600) << "January";
  EXPECT_EQ(local_seconds(1'721'001'600), 1'721'001'600 + 7200) << "July";
}

TEST_F(LocalTime, PastEveryYearIsLeftAsItIs) {
  constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(local_seconds(kEnd), kEnd);
}

}  // namespace
}  // namespace hadal
