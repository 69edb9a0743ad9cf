// Finds whole tokens (control, user-defined) in a text. Internal to text.
#pragma once

#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "hadal/text/vocab.h"

namespace hadal {

class SpecialTokens {
 public:
  // `text` must stay where it is as long as this lives; it must not be empty. Call sort() after the
  // last.
  void add(std::string_view text, TokenId id);
  void sort();

  struct Found {
    size_t begin = std::string_view::npos;  // npos: none
    size_t length = 0;
    TokenId id = -1;
  };
  // The leftmost in text[from, end), and of those that begin there the longest.
  Found find(std::string_view text, size_t from) const;

 private:
  Found match(std::string_view text, size_t at) const;

  std::vector<std::pair<std::string_view, TokenId>> sorted_;
  std::array<bool, 256> begins_{};
};

}  // namespace hadal
