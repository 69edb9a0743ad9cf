// What a request's head must be, beside what the parser sees to.
//
// Pure. Any thread.
#pragma once

#include <cstddef>
#include <string>

#include "hadal/net/message.h"

namespace hadal::net {

// What a request is refused with before any handler sees it.
struct Refusal {
  int status = 0;  // 0: close without a word, or nothing to refuse
  std::string message;
};

// Of one with both Content-Length and Transfer-Encoding, two readers would disagree about where it
// ends. `body_bytes_max`: of a Content-Length.
Refusal check_framing(const HttpRequest& request, bool http11, size_t body_bytes_max);

}  // namespace hadal::net
