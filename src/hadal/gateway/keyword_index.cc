#include "hadal/gateway/keyword_index.h"

#include "hadal/gateway/detect_parts.h"
#include "hadal/gateway/json_text.h"

namespace hadal::gateway {
namespace {

uint16_t two(char a, char b) {
  return static_cast<uint16_t>((static_cast<unsigned char>(lower(a)) << 8) |
                               static_cast<unsigned char>(lower(b)));
}

bool continues(std::string_view text, std::string_view word, size_t at) {
  if (text.size() - at < word.size()) return false;
  for (size_t i = 0; i < word.size(); ++i) {
    if (lower(text[at + i]) != word[i]) return false;
  }
  const size_t end = at + word.size();
  const bool inside_before = at > 0 && is_word(word.front()) && is_word(text[at - 1]);
  const bool inside_behind = end < text.size() && is_word(word.back()) && is_word(text[end]);
  return !inside_before && !inside_behind;
}

}  // namespace

void KeywordIndex::add(std::string_view word, uint32_t tag) {
  TextReader reader;
  std::string small;
  for (const char c : reader.read_plain(word, 0).front().text()) small += lower(c);
  if (small.size() < 2) return;
  const uint16_t begin = two(small[0], small[1]);
  begins_.set(begin);
  by_begin_[begin].push_back(words_.size());
  words_.push_back({std::move(small), tag});
}

void KeywordIndex::find(std::string_view text, std::vector<Hit>* hits) const {
  for (size_t at = 0; at + 1 < text.size(); ++at) {
    const uint16_t begin = two(text[at], text[at + 1]);
    if (!begins_.test(begin)) continue;
    for (const size_t index : by_begin_.at(begin)) {
      const Word& word = words_[index];
      if (continues(text, word.text, at)) hits->push_back({word.tag, at, at + word.text.size()});
    }
  }
}

}  // namespace hadal::gateway
