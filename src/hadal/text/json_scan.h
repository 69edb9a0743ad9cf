// JSON that arrives byte by byte from a model: where a value ends, and whether it is one. Constant
// memory, constant time a byte, any bytes.
//
// Threads: one stream, one thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hadal {

// Finds the end of one value by strings and brackets alone, so that a value with a fault inside
// (a bare word, a trailing comma) still ends where its author meant. The first byte is the value's
// own; white space before it is the caller's.
class JsonEnd {
 public:
  enum class Step : uint8_t {
    kMore,   // `c` is part of the value, which goes on
    kLast,   // `c` is its last byte
    kAfter,  // a number or word ended before `c`, which is not part of it
  };
  Step push(char c);
  bool in_string() const { return in_string_; }

 private:
  uint32_t depth_ = 0;
  bool begun_ = false;
  bool in_string_ = false;
  bool escaped_ = false;
};

// True when `text` is exactly one JSON value as RFC 8259 has it, at most limits::kJsonDepthMax
// deep, white space around it allowed.
bool is_json(std::string_view text);
// The same, and the value is an object.
bool is_json_object(std::string_view text);

// The characters of a JSON string without its quotes. Escapes that are none are kept as they are;
// lone surrogates become U+FFFD.
std::string json_unescaped(std::string_view inner);
// Appends `text` as the inside of a JSON string.
void append_json_escaped(std::string_view text, std::string* out);

// JSON's white space.
constexpr std::string_view kJsonSpace = " \t\r\n";
constexpr bool is_json_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
std::string_view json_trimmed(std::string_view text);

}  // namespace hadal
