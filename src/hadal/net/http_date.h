// The time as HTTP writes it. Internal to net.
#pragma once

#include <string>

namespace hadal::net {

// Now, as a Date header says it.
std::string http_date();

}  // namespace hadal::net
