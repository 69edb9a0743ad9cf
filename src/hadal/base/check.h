// For what cannot happen unless Hadal itself is wrong. Always on: a corrupted cache or a row past
// its array is worse than a stopped process. Never for input: that is Result's (result.h).
#pragma once

#include <string>

namespace hadal {
[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const std::string& context);
}  // namespace hadal

// HADAL_CHECK(condition) or HADAL_CHECK(condition, "what the values were").
#define HADAL_CHECK(condition, ...)                                                    \
  do {                                                                                 \
    if (!(condition)) [[unlikely]]                                                     \
      ::hadal::check_failed(__FILE__, __LINE__, #condition, std::string(__VA_ARGS__)); \
  } while (false)

#ifdef NDEBUG
#define HADAL_DCHECK(condition, ...) static_cast<void>(0)
#else
#define HADAL_DCHECK(condition, ...) HADAL_CHECK(condition, __VA_ARGS__)
#endif
