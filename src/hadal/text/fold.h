// Text as a comparison of meanings sees it: compatibility forms made plain (full-width letters,
// ligatures; NFKC), case folded, ignorable characters gone. Unicode's tables, by utf8proc.
//
// Threads: free functions on the caller's data.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace hadal {

struct FoldedChar {
  enum class Kind : uint8_t { kSpace, kLetter, kDigit, kHan, kOther };
  char32_t c = 0;
  Kind kind = Kind::kOther;
  bool was_upper = false;
};

// Ill-formed bytes become U+FFFD (kOther). kLetter holds marks, too; kHan also Kana and Bopomofo:
// scripts without spaces between words.
std::vector<FoldedChar> fold_characters(std::string_view text);

}  // namespace hadal
