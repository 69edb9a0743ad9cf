// Many words looked for at once: the first two bytes of a word say whether it is worth comparing.
//
// Immutable once made; any thread.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hadal::gateway {

class KeywordIndex {
 public:
  // `word`: at least two bytes of UTF-8; `tag`: what find() says of it.
  void add(std::string_view word, uint32_t tag);
  bool empty() const { return words_.empty(); }

  struct Hit {
    uint32_t tag = 0;
    size_t begin = 0, end = 0;
  };
  // All places in a folded text. A word that begins or ends with an ASCII letter or digit is not
  // found inside of a longer ASCII word. Letters of ASCII match without case.
  void find(std::string_view text, std::vector<Hit>* hits) const;

 private:
  struct Word {
    std::string text;  // folded, small
    uint32_t tag;
  };
  std::bitset<65'536> begins_;
  std::unordered_map<uint16_t, std::vector<size_t>> by_begin_;
  std::vector<Word> words_;
};

}  // namespace hadal::gateway
