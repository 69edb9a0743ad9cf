// The part of a request's target behind '?'.
//
// Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "hadal/api/error.h"

namespace hadal::apps {

// The first value of that name, decoded ('+' is a blank). Nothing: it is not there.
std::optional<std::string> query_text(std::string_view query, std::string_view name);
// A whole number in [least, most]; `otherwise` where there is none.
api::Parsed<int64_t> query_number(std::string_view query, std::string_view name, int64_t least,
                                  int64_t most, int64_t otherwise);

}  // namespace hadal::apps
