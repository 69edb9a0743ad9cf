// What Python's str does to text, by code points, without a locale. Internal to the interpreter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hadal::jinja {

struct CodePoint {
  uint32_t value = 0;
  uint8_t length = 1;  // bytes
};

// `text` must be well-formed UTF-8 in all of these; `at` is the first byte of a character.
inline CodePoint code_point_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) {
    return static_cast<uint32_t>(static_cast<uint8_t>(text[at + i]));
  };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F),
          4};
}
// The first byte of the character that ends before `end`.
size_t character_before(std::string_view text, size_t end);
size_t character_count(std::string_view text);
// The byte where character `index` begins; the text's end when there are fewer.
size_t byte_of_character(std::string_view text, size_t index);

// Bytes of the white space at the front, as str.isspace() has it; 0 for none.
size_t space_length(std::string_view text);
std::string_view left_stripped(std::string_view text);
std::string_view right_stripped(std::string_view text);
// Bytes of the line boundary at the front ("\r\n" is one), as str.splitlines() has it; 0 for none.
size_t line_break_length(std::string_view text);

bool is_word(uint32_t c);  // letters and numbers, which \w has besides '_'
bool is_alpha(uint32_t c);
bool is_decimal(uint32_t c);
bool is_printable(uint32_t c);  // not escaped by repr()
bool is_upper(uint32_t c);      // has case, and it is this
bool is_lower(uint32_t c);
bool is_title(uint32_t c);
bool is_cased(uint32_t c);

enum class Case : uint8_t { kUpper, kLower, kTitle };
// Character `at` of `text` in another case, context (final sigma) and one-to-many mappings
// included.
void append_case(std::string_view text, size_t at, Case wanted, std::string* out);

// repr(str): in single quotes unless only those are inside.
void append_repr(std::string_view text, std::string* out);
// repr(float): the shortest digits that read back the same.
std::string float_repr(double value);
// JSON as json.dumps writes it.
void append_json_string(std::string_view text, bool ensure_ascii, std::string* out);

}  // namespace hadal::jinja
