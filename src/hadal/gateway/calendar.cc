#include "hadal/gateway/calendar.h"

#include <chrono>

namespace hadal::gateway {

using std::chrono::days;
using std::chrono::sys_days;

int64_t day_of(int64_t unix_seconds) {
  return std::chrono::floor<days>(std::chrono::sys_seconds(std::chrono::seconds(unix_seconds)))
      .time_since_epoch()
      .count();
}

int64_t month_of(int64_t unix_seconds) {
  const std::chrono::year_month_day date(sys_days(days(day_of(unix_seconds))));
  return (static_cast<int>(date.year()) - 1970) * 12 +
         static_cast<int64_t>(static_cast<unsigned>(date.month())) - 1;
}

int64_t month_begin(int64_t month) {
  const std::chrono::year_month_day date(std::chrono::year(static_cast<int>(1970 + month / 12)),
                                         std::chrono::month(static_cast<unsigned>(month % 12 + 1)),
                                         std::chrono::day(1));
  return sys_days(date).time_since_epoch().count() * kDaySeconds;
}

}  // namespace hadal::gateway
