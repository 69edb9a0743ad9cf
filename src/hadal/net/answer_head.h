// An answer's head, as it is sent. Internal to net.
#pragma once

#include <string>

#include "hadal/net/exchange.h"

namespace hadal::net {

// Status line, date, the head's own fields, length or coding, and whether the connection stays;
// with the empty line behind them.
std::string answer_head(const Exchange::Head& head, bool http11, bool keep_alive);

}  // namespace hadal::net
