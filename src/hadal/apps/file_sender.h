// A file as an answer, in pieces: no more of it is in memory than a client takes at once.
#pragma once

#include <string_view>
#include <vector>

#include "hadal/base/file.h"
#include "hadal/net/exchange.h"

namespace hadal::apps {

// Any thread; goes on by itself on the connection's.
void send_file(MappedFile file, std::vector<net::Header> headers, net::ResponseWriter writer);

}  // namespace hadal::apps
