// UTF-8 as the WHATWG Encoding Standard reads it: which bytes are ill-formed, and how many bytes
// one U+FFFD replaces (section 4.1 of the standard; Unicode 3.9 calls it "maximal subpart").
//
// Threads: free functions on the caller's data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hadal {

struct Utf8Step {
  uint8_t length = 0;       // bytes this step covers: the character, or the ill-formed part
  bool valid = false;       // a whole, well-formed character
  bool incomplete = false;  // not valid, but more bytes could make it so; only at the text's end
};

// What stands at the beginning of `text`, which must not be empty.
Utf8Step utf8_step(std::string_view text);

bool is_valid_utf8(std::string_view text);

// Length of the longest well-formed prefix.
size_t valid_utf8_prefix(std::string_view text);

// Moves what can be decided from the front of `*pending` to `*out`, each ill-formed sequence as
// U+FFFD. Up to three bytes of an unfinished character stay in `*pending` unless `final`.
void drain_utf8(std::string* pending, bool final, std::string* out);

// The whole text, decoded as a browser would and encoded again.
std::string replace_ill_formed(std::string_view text);

// Appends the UTF-8 form. `code_point` must be a Unicode scalar value.
void append_utf8(uint32_t code_point, std::string* out);

}  // namespace hadal
