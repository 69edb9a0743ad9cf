#include "hadal/engine/ngram_index.h"

#include <algorithm>

namespace hadal {
namespace {

uint64_t key_of(const int32_t* tokens) {
  // Token ids have at most 21 bits (limits::kVocabularyMax), so for real vocabularies three of them
  // are the key itself; where they are not, match_before() compares.
  uint64_t key = 0;
  for (int i = 0; i < NgramIndex::kShortest; ++i) {
    key = (key << 21) ^ static_cast<uint32_t>(tokens[i]);
  }
  return key;
}

}  // namespace

void NgramIndex::append(std::span<const int32_t> tokens) {
  for (const int32_t token : tokens) {
    tokens_.push_back(token);
    earlier_.push_back(-1);
    const int32_t end = size();
    if (end < kShortest) continue;
    const auto [place, fresh] = latest_.try_emplace(key_of(&tokens_[end - kShortest]), end - 1);
    if (fresh) continue;
    earlier_.back() = place->second;
    place->second = end - 1;
  }
}

// Tokens that agree, counted backwards from the text's end and from position `end` (inclusive).
int32_t NgramIndex::match_before(int32_t end) const {
  const int32_t last = size() - 1;
  const int32_t most = std::min(kLongest, end + 1);
  int32_t length = 0;
  while (length < most && tokens_[end - length] == tokens_[last - length]) ++length;
  return length;
}

int32_t NgramIndex::guess(int32_t most, std::vector<int32_t>* guesses) const {
  guesses->clear();
  if (most <= 0 || size() <= kShortest) return 0;
  int32_t best = kShortest - 1;
  int32_t from = -1;
  int32_t end = earlier_.back();
  for (int32_t i = 0; i < kCandidates && end >= 0 && best < kLongest; ++i, end = earlier_[end]) {
    const int32_t length = match_before(end);
    if (length <= best) continue;
    best = length;
    from = end + 1;
  }
  if (from < 0) return 0;
  for (int32_t i = 0; i < most; ++i) {
    const int32_t at = from + i;
    guesses->push_back(at < size() ? tokens_[at] : (*guesses)[at - size()]);
  }
  return best;
}

}  // namespace hadal
