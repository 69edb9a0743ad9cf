#include "hadal/gateway/batch_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hadal/gateway/config.h"

namespace hadal::gateway {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kMonday = 1'700'438'400;  // 2023-11-20 00:00 UTC
constexpr int64_t kHour = 3'600;
constexpr int64_t kDay = 24 * kHour;

// The hours of the week that are open, as "Mon 22-24 Tue 0-6"; time zones of whole hours only.
std::string open_hours(const std::vector<std::string>& hours, const std::string& zone) {
  auto parsed = BatchHours::parse(hours, zone);
  if (!parsed) return parsed.error().what;
  constexpr const char* kDays[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
  std::string text;
  for (int64_t day = 0; day < 7; ++day) {
    for (int64_t hour = 0; hour < 24;) {
      const auto open = [&](int64_t at) {
        const int64_t time = kMonday + day * kDay + at * kHour;
        EXPECT_EQ(parsed->open_at(time), parsed->open_at(time + kHour - 1));
        return parsed->open_at(time);
      };
      if (!open(hour)) {
        ++hour;
        continue;
      }
      const int64_t first = hour;
      while (hour < 24 && open(hour)) ++hour;
      text += std::string(text.empty() ? "" : " ") + kDays[day] + " " + std::to_string(first) +
              "-" + std::to_string(hour);
    }
  }
  return text;
}

TEST(BatchHours, SpansOfTheWeek) {
  const std::string every = "Mon 0-24 Tue 0-24 Wed 0-24 Thu 0-24 Fri 0-24 Sat 0-24 Sun 0-24";
  EXPECT_EQ(open_hours({}, "+00:00"), every);
  EXPECT_EQ(open_hours({"00:00-24:00"}, "+00:00"), every);
  EXPECT_EQ(open_hours({"Mon 09:00-17:00"}, "+00:00"), "Mon 9-17");
  EXPECT_EQ(open_hours({"Mon 09:00-17:00"}, "+08:00"), "Mon 1-9");
  EXPECT_EQ(open_hours({"Mon 01:00-05:00"}, "+08:00"), "Sun 17-21");
  EXPECT_EQ(open_hours({"Mon 22:00-24:00"}, "-03:00"), "Tue 1-3");
  EXPECT_EQ(open_hours({"Sun 22:00-06:00"}, "+00:00"), "Mon 0-6 Sun 22-24");
  EXPECT_EQ(open_hours({"Sat-Mon 10:00-11:00"}, "+00:00"), "Mon 10-11 Sat 10-11 Sun 10-11");
  EXPECT_EQ(open_hours({"Tue 01:00-02:00", "Tue 05:00-06:00", "Fri 00:00-24:00"}, "+00:00"),
            "Tue 1-2 Tue 5-6 Fri 0-24");
  const auto half = BatchHours::parse({"Mon 00:30-01:00"}, "-03:30");
  EXPECT_FALSE(half->open_at(kMonday + 4 * kHour - 1));
  EXPECT_TRUE(half->open_at(kMonday + 4 * kHour));
  EXPECT_FALSE(half->open_at(kMonday + 4 * kHour + 1'800));
}

TEST(BatchHours, RefusesWhatIsNoSpan) {
  for (const std::string bad :
       {"", "22:00", "22:00-6:00", "22:00-22:00", "24:00-06:00", "25:00-06:00", "22:60-06:00",
        "22:00 - 06:00", "Mo 22:00-06:00", "Mon-Foo 22:00-06:00", "Mon22:00-06:00", "aa:bb-cc:dd",
        "22:00-24:01"}) {
    EXPECT_THAT(open_hours({bad}, ""), HasSubstr("expected hours like")) << bad;
  }
  for (const std::string bad : {"8", "08:00", "+8", "+15:00", "UTC", "+08:60", "+"}) {
    EXPECT_THAT(open_hours({}, bad), HasSubstr("expected a zone like")) << bad;
  }
}

std::string errors_of(const std::string& batches) {
  const auto read =
      read_config("backends: [{name: a, model: embedded}]\nbatches: {" + batches + "}",
                  {[](const std::string&) { return "tiny"; }});
  if (read) return "good";
  return read.error().front().what;
}

TEST(BatchConfig, IsCheckedWhenItIsRead) {
  EXPECT_EQ(errors_of("dir: d, hours: ['22:00-06:00'], time_zone: '+08:00', file_max: 1M"), "good");
  EXPECT_THAT(errors_of("load: 3"), HasSubstr("'dir' is missing"));
  EXPECT_THAT(errors_of("dir: d, hours: [at night]"), HasSubstr("expected hours like"));
  EXPECT_THAT(errors_of("dir: d, time_zone: China"), HasSubstr("expected a zone like"));
  EXPECT_THAT(errors_of("dir: d, file_max: 1G"), HasSubstr("found 1073741824"));
  EXPECT_THAT(errors_of("dir: d, at_once: 0"), HasSubstr("at_once"));
}

}  // namespace
}  // namespace hadal::gateway
