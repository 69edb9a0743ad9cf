#include "hadal/base/local_time.h"

#include <time.h>

namespace hadal {

int64_t local_seconds(int64_t unix_seconds) {
  const time_t seconds = unix_seconds;
  tm local = {};
  // A year that int cannot hold is nobody's date; UTC serves as well.
  if (localtime_r(&seconds, &local) == nullptr) return unix_seconds;
  return unix_seconds + local.tm_gmtoff;
}

}  // namespace hadal
