#include "hadal/text/fold.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "hadal/text/unicode.h"

namespace hadal {
namespace {

bool is_han(char32_t c) {
  return (c >= 0x3005 && c <= 0x3007) || (c >= 0x3040 && c <= 0x312F) ||
         (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x3FFFF);
}

FoldedChar::Kind kind_of(char32_t c) {
  if (is_han(c)) return FoldedChar::Kind::kHan;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return FoldedChar::Kind::kLetter;
    case UTF8PROC_CATEGORY_ND:
      return FoldedChar::Kind::kDigit;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_CC:
      return FoldedChar::Kind::kSpace;
    default:
      return FoldedChar::Kind::kOther;
  }
}

// One character may fold into several.
void append_folded(utf8proc_int32_t c, std::vector<FoldedChar>* out) {
  const bool upper = utf8proc_category(c) == UTF8PROC_CATEGORY_LU;
  if (c >= 0xAC00 && c <= 0xD7A3) {  // Hangul would come apart, and has no case
    out->push_back({static_cast<char32_t>(c), FoldedChar::Kind::kLetter, false});
    return;
  }
  utf8proc_int32_t parts[16];
  int boundary = 0;
  const auto count = utf8proc_decompose_char(
      c, parts, 16,
      static_cast<utf8proc_option_t>(UTF8PROC_CASEFOLD | UTF8PROC_COMPOSE | UTF8PROC_IGNORE),
      &boundary);
  for (utf8proc_ssize_t i = 0; i < count && i < 16; ++i) {
    const auto folded = static_cast<char32_t>(parts[i]);
    out->push_back({folded, kind_of(folded), upper});
  }
}

}  // namespace

std::vector<FoldedChar> fold_characters(std::string_view text) {
  const std::string good = replace_ill_formed(text);
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(
      reinterpret_cast<const utf8proc_uint8_t*>(good.data()),
      static_cast<utf8proc_ssize_t>(good.size()), &mapped,
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT));
  const std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owner(mapped, std::free);
  std::vector<FoldedChar> out;
  if (size <= 0) return out;
  out.reserve(static_cast<size_t>(size));
  utf8proc_ssize_t at = 0;
  while (at < size) {
    utf8proc_int32_t c = 0;
    const utf8proc_ssize_t step = utf8proc_iterate(mapped + at, size - at, &c);
    if (step <= 0) break;
    append_folded(c, &out);
    at += step;
  }
  return out;
}

}  // namespace hadal
