#include "hadal/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace hadal {

void check_failed(const char* file, int line, const char* condition, const std::string& context) {
  std::fprintf(stderr, "hadal: bug: %s:%d: check failed: %s%s%s\n", file, line, condition,
               context.empty() ? "" : ": ", context.c_str());
  std::abort();
}

}  // namespace hadal
