// The wall clock of the place where the process runs (TZ, else the machine's setting).
//
// Any thread.
#pragma once

#include <cstdint>

namespace hadal {

// Seconds since 1970-01-01 00:00 of local time. Not a point in time: only for showing the date.
int64_t local_seconds(int64_t unix_seconds);

}  // namespace hadal
