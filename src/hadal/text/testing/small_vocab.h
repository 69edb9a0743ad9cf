// For tests: a byte-level vocabulary small enough to write down. It has every byte, a few merges,
// and the special tokens it is given.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/text/unicode.h"
#include "hadal/text/vocab.h"

namespace hadal::testing {

// GPT-2's name for a byte, by its definition: printable Latin-1 stands for itself, the others
// follow from U+0100 on.
inline std::string byte_name(int byte) {
  uint32_t next = 0x100;
  for (int b = 0; b <= byte; ++b) {
    const bool printable = (b > 0x20 && b < 0x7F) || (b > 0xA0 && b != 0xAD);
    if (b == byte) {
      std::string name;
      append_utf8(printable ? static_cast<uint32_t>(b) : next, &name);
      return name;
    }
    if (!printable) ++next;
  }
  return "";
}

// `specials` are control tokens, but "<think>" and "</think>" user-defined.
inline VocabData small_vocab(const std::vector<std::string>& specials,
                             PreTokenizer pre = PreTokenizer::kDeepseekV3) {
  VocabData data;
  data.pre = pre;
  for (int byte = 0; byte < 256; ++byte) data.tokens.push_back(byte_name(byte));
  for (const char* merge :
       {"h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "l d", "Ġwor ld", "Ġ Ġ", "ĠĠ ĠĠ",
        "1 2", "12 3", "t h", "th i", "thi n", "thin k"}) {
    data.merges.emplace_back(merge);
    std::string whole = merge;
    whole.erase(whole.find(' '), 1);
    data.tokens.push_back(whole);
  }
  data.types.assign(data.tokens.size(), TokenType::kNormal);
  for (const std::string& special : specials) {
    const bool shown = special == "<think>" || special == "</think>";
    data.tokens.push_back(special);
    data.types.push_back(shown ? TokenType::kUserDefined : TokenType::kControl);
  }
  return data;
}

inline std::optional<TokenId> id_of(const VocabData& data, std::string_view token) {
  for (size_t i = 0; i < data.tokens.size(); ++i) {
    if (data.tokens[i] == token) return static_cast<TokenId>(i);
  }
  return std::nullopt;
}

}  // namespace hadal::testing
