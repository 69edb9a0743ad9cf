#include "hadal/text/jinja/python_text.h"

#include <fmt/core.h>
#include <utf8proc.h>

#include <charconv>
#include <cmath>

#include "hadal/text/jinja/special_case.h"
#include "hadal/text/unicode.h"

namespace hadal::jinja {
namespace {

utf8proc_category_t category(uint32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

// Unicode's Other_Lowercase and Other_Uppercase, the ones met outside of phonetics.
bool is_other_lower(uint32_t c) {
  return c == 0xAA || c == 0xBA || (c >= 0x2B0 && c <= 0x2B8) || (c >= 0x2170 && c <= 0x217F) ||
         (c >= 0x24D0 && c <= 0x24E9);
}
bool is_other_upper(uint32_t c) {
  return (c >= 0x2160 && c <= 0x216F) || (c >= 0x24B6 && c <= 0x24CF);
}

bool is_case_ignorable(uint32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x2018 || c == 0x2019 ||
             c == 0x2024 || c == 0x2027;
  }
}

// A capital sigma is a final one behind a letter and before none.
bool is_final_sigma(std::string_view text, size_t at) {
  size_t before = at;
  bool letter_before = false;
  while (before > 0) {
    before = character_before(text, before);
    const uint32_t c = code_point_at(text, before).value;
    if (is_case_ignorable(c)) continue;
    letter_before = is_cased(c);
    break;
  }
  if (!letter_before) return false;
  for (size_t i = at + code_point_at(text, at).length; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    if (!is_case_ignorable(c.value)) return !is_cased(c.value);
    i += c.length;
  }
  return true;
}

constexpr uint32_t kCapitalSigma = 0x3A3;

}  // namespace

size_t character_before(std::string_view text, size_t end) {
  --end;
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80) --end;
  return end;
}

size_t character_count(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<uint8_t>(c) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

size_t byte_of_character(std::string_view text, size_t index) {
  size_t at = 0;
  for (; index > 0 && at < text.size(); --index) at += code_point_at(text, at).length;
  return at;
}

size_t space_length(std::string_view text) {
  if (text.empty()) return 0;
  const auto lead = static_cast<uint8_t>(text[0]);
  if (lead < 0x80) {
    return lead == ' ' || (lead >= 0x09 && lead <= 0x0D) || (lead >= 0x1C && lead <= 0x1F) ? 1 : 0;
  }
  if (lead != 0xC2 && (lead < 0xE1 || lead > 0xE3)) return 0;
  const CodePoint c = code_point_at(text, 0);
  const bool space = c.value == 0x85 || c.value == 0xA0 || c.value == 0x1680 ||
                     (c.value >= 0x2000 && c.value <= 0x200A) || c.value == 0x2028 ||
                     c.value == 0x2029 || c.value == 0x202F || c.value == 0x205F ||
                     c.value == 0x3000;
  return space ? c.length : 0;
}

std::string_view left_stripped(std::string_view text) {
  while (const size_t n = space_length(text)) text.remove_prefix(n);
  return text;
}

std::string_view right_stripped(std::string_view text) {
  while (!text.empty()) {
    const size_t last = character_before(text, text.size());
    if (space_length(text.substr(last)) == 0) break;
    text.remove_suffix(text.size() - last);
  }
  return text;
}

size_t line_break_length(std::string_view text) {
  if (text.starts_with("\r\n")) return 2;
  const auto lead = static_cast<uint8_t>(text[0]);
  if (lead < 0x80) return (lead >= 0x0A && lead <= 0x0D) || (lead >= 0x1C && lead <= 0x1E) ? 1 : 0;
  if (text.starts_with("\xC2\x85")) return 2;
  return text.starts_with("\xE2\x80\xA8") || text.starts_with("\xE2\x80\xA9") ? 3 : 0;
}

bool is_word(uint32_t c) {
  if (c < 0x80) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  }
  const utf8proc_category_t kind = category(c);
  return is_alpha(c) || kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL ||
         kind == UTF8PROC_CATEGORY_NO;
}

bool is_alpha(uint32_t c) {
  const utf8proc_category_t kind = category(c);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }

bool is_printable(uint32_t c) {
  if (c < 0x7F) return c >= 0x20;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

bool is_upper(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_LU || is_other_upper(c); }
bool is_lower(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_LL || is_other_lower(c); }
bool is_title(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }
bool is_cased(uint32_t c) { return is_upper(c) || is_lower(c) || is_title(c); }

void append_case(std::string_view text, size_t at, Case wanted, std::string* out) {
  const uint32_t c = code_point_at(text, at).value;
  if (c < 0x80) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool lower = c >= 'a' && c <= 'z';
    const uint32_t flip = (wanted == Case::kLower ? upper : lower) ? 0x20 : 0;
    out->push_back(static_cast<char>(c ^ flip));
    return;
  }
  const auto code = static_cast<utf8proc_int32_t>(c);
  if (wanted == Case::kLower) {
    if (c == 0x130) {
      out->append("i\u0307");
    } else if (c == kCapitalSigma && is_final_sigma(text, at)) {
      out->append("ς");
    } else {
      append_utf8(static_cast<uint32_t>(utf8proc_tolower(code)), out);
    }
    return;
  }
  if (const SpecialCase* special = special_case(c)) {
    out->append(wanted == Case::kUpper ? special->upper : special->title);
    return;
  }
  append_utf8(static_cast<uint32_t>(wanted == Case::kUpper ? utf8proc_toupper(code)
                                                           : utf8proc_totitle(code)),
              out);
}

void append_repr(std::string_view text, std::string* out) {
  const bool double_quoted =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = double_quoted ? '"' : '\'';
  out->push_back(quote);
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    if (c.value == static_cast<uint32_t>(quote) || c.value == '\\') {
      out->push_back('\\');
      out->push_back(text[i]);
    } else if (c.value == '\n' || c.value == '\r' || c.value == '\t') {
      out->append(c.value == '\n' ? "\\n" : c.value == '\r' ? "\\r" : "\\t");
    } else if (is_printable(c.value)) {
      out->append(text.substr(i, c.length));
    } else if (c.value < 0x100) {
      out->append(fmt::format("\\x{:02x}", c.value));
    } else if (c.value < 0x10000) {
      out->append(fmt::format("\\u{:04x}", c.value));
    } else {
      out->append(fmt::format("\\U{:08x}", c.value));
    }
    i += c.length;
  }
  out->push_back(quote);
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[32];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  const std::string_view shortest(buffer, static_cast<size_t>(end.ptr - buffer));
  const size_t e = shortest.find('e');
  std::string digits;
  for (const char c : shortest.substr(0, e)) {
    if (c >= '0' && c <= '9') digits.push_back(c);
  }
  int exponent = 0;
  const std::string_view power = shortest.substr(e + 1);
  std::from_chars(power.data() + (power[0] == '+' ? 1 : 0), power.data() + power.size(), exponent);
  std::string out = std::signbit(value) ? "-" : "";
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out += digits.substr(0, 1);
    if (count > 1) out += "." + digits.substr(1);
    return out + fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0)
    return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1) {
    return out + digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  }
  return out + digits.substr(0, static_cast<size_t>(exponent + 1)) + "." +
         digits.substr(static_cast<size_t>(exponent + 1));
}

void append_json_string(std::string_view text, bool ensure_ascii, std::string* out) {
  out->push_back('"');
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b";
    constexpr std::string_view kLetters = "\"\\nrtfb";
    const size_t known = c.value < 0x80 ? kEscaped.find(text[i]) : std::string_view::npos;
    if (known != std::string_view::npos) {
      out->push_back('\\');
      out->push_back(kLetters[known]);
    } else if (c.value < 0x20 || (ensure_ascii && c.value >= 0x7F && c.value < 0x10000)) {
      out->append(fmt::format("\\u{:04x}", c.value));
    } else if (ensure_ascii && c.value >= 0x10000) {
      const uint32_t offset = c.value - 0x10000;
      out->append(
          fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (offset >> 10), 0xDC00 + (offset & 0x3FF)));
    } else {
      out->append(text.substr(i, c.length));
    }
    i += c.length;
  }
  out->push_back('"');
}

}  // namespace hadal::jinja
