// Characters whose upper or title case is more than one character. Internal to the interpreter.
#pragma once

#include <cstdint>
#include <string_view>

namespace hadal::jinja {

struct SpecialCase {
  uint32_t from;
  std::string_view upper;
  std::string_view title;
};

// Null where the mapping is one to one.
const SpecialCase* special_case(uint32_t c);

}  // namespace hadal::jinja
