#include "hadal/text/special_tokens.h"

#include <algorithm>

namespace hadal {

void SpecialTokens::add(std::string_view text, TokenId id) {
  sorted_.emplace_back(text, id);
  begins_[static_cast<uint8_t>(text.front())] = true;
}

void SpecialTokens::sort() { std::ranges::sort(sorted_); }

SpecialTokens::Found SpecialTokens::find(std::string_view text, size_t from) const {
  if (sorted_.empty()) return {};
  for (size_t at = from; at < text.size(); ++at) {
    if (!begins_[static_cast<uint8_t>(text[at])]) continue;
    const Found found = match(text, at);
    if (found.length > 0) return found;
  }
  return {};
}

// Narrows the sorted range that shares the text's first bytes, one byte at a time, and keeps the
// last token that ended on the way.
SpecialTokens::Found SpecialTokens::match(std::string_view text, size_t at) const {
  Found best;
  auto low = sorted_.begin();
  auto high = sorted_.end();
  for (size_t depth = 0; low != high; ++depth) {
    if (low->first.size() == depth) {
      best = {at, depth, low->second};
      ++low;
    }
    if (at + depth == text.size()) break;
    const auto byte = static_cast<uint8_t>(text[at + depth]);
    const auto at_depth = [depth](const auto& token) {
      return static_cast<uint8_t>(token.first[depth]);
    };
    low = std::ranges::lower_bound(low, high, byte, {}, at_depth);
    high = std::ranges::upper_bound(low, high, byte, {}, at_depth);
  }
  return best;
}

}  // namespace hadal
