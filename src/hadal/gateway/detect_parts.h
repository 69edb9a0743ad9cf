// Private to detect: the two halves of it.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "hadal/base/ascii.h"
#include "hadal/gateway/detect.h"

namespace hadal::gateway {

constexpr bool is_word(char c) { return is_digit(c) || is_letter(c); }

// The digits from `at` (a digit) on, with separators between them, looked at in every way that
// counts. Returns where to go on.
size_t detect_numbers(std::string_view text, size_t at, Findings wanted, std::vector<Found>* found);

// At '@'.
void detect_email(std::string_view text, size_t at, std::vector<Found>* found);
// At a byte that may_begin_key(). Returns where to go on.
size_t detect_key(std::string_view text, size_t at, std::vector<Found>* found);
bool may_begin_key(char c);

}  // namespace hadal::gateway
