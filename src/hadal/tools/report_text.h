// Numbers and strings as reports print them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hadal {

// "1.4 GB", "31.1 KB": powers of 1000, three significant digits.
std::string human_bytes(uint64_t bytes);
// "15.7 B", "671 B", "3.2 M".
std::string human_count(uint64_t count);
// With quotes; control characters, quotes and backslashes escaped.
std::string json_string(std::string_view text);

}  // namespace hadal
