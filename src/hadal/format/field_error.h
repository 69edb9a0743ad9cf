// Private to format: one shape for every message, `file: field: found X, expected Y`, with what a
// file says made safe to print.
#pragma once

#include <string>
#include <string_view>

#include "hadal/base/result.h"

namespace hadal {

// `text` in quotes, for a message: at most about 64 bytes, everything outside printable ASCII as
// \xHH.
std::string shown(std::string_view text);

tl::unexpected<Error> field_error(Code code, std::string_view file, std::string_view field,
                                  std::string_view found, std::string_view expected);

// Valid UTF-8 without control characters: what a name must be to appear in a message or a log.
bool is_plain_name(std::string_view text);

// False when the result does not fit; `*product` and `*sum` are then undefined.
bool checked_multiply(uint64_t a, uint64_t b, uint64_t* product);
bool checked_add(uint64_t a, uint64_t b, uint64_t* sum);

}  // namespace hadal
