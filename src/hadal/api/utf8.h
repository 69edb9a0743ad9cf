// JSON carries only well-formed UTF-8; tokens are bytes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace hadal::api {

// `bytes` with each maximal ill-formed sequence replaced by U+FFFD, as WHATWG's decoder does.
std::string valid_utf8(std::string_view bytes);
// Code points, counting each byte that begins one.
size_t characters(std::string_view text);

}  // namespace hadal::api
