// Days and months, in UTC, by which limits and budgets are counted. Both are numbered from 1970.
#pragma once

#include <cstdint>

namespace hadal::gateway {

inline constexpr int64_t kDaySeconds = 86'400;

int64_t day_of(int64_t unix_seconds);
int64_t month_of(int64_t unix_seconds);
// Its first second. `month` from 0.
int64_t month_begin(int64_t month);

}  // namespace hadal::gateway
