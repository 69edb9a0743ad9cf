// Private to format: JSON from files that nobody vouches for.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>
#include <string_view>

#include "hadal/base/result.h"

namespace hadal {

// Parses `text` strictly: at most limits::kJsonDepthMax deep, valid UTF-8, nothing after the value,
// and no key twice in one object (a parser that kept either would disagree with another reader of
// the file).
Result<boost::json::value> parse_json(std::string_view text, std::string_view file);

// "an object", "the string \"x\"", ... for messages.
std::string describe_json(const boost::json::value& value);

}  // namespace hadal
