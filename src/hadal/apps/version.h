#pragma once

#include <string_view>

namespace hadal::apps {

std::string_view version();  // "0.1.0"

}  // namespace hadal::apps
