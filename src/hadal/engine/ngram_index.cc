#include "hadal/engine/ngram_index.h"

#include <algorithm>
#include <bit>

namespace hadal {
namespace {

constexpr int32_t kFree = -1;
constexpr size_t kPlacesMin = 64;

}  // namespace

// The place of the three tokens that end at `end`.
int32_t& NgramIndex::latest(int32_t end) {
  constexpr uint64_t kGolden = 0x9e3779b97f4a7c15;  // 2^64 over the golden ratio
  const int32_t* three = &tokens_[static_cast<size_t>(end - kShortest + 1)];
  uint64_t hash = 0;
  for (int i = 0; i < kShortest; ++i) hash = (hash + static_cast<uint32_t>(three[i])) * kGolden;
  const size_t mask = latest_.size() - 1;
  for (size_t place = hash >> 32 & mask;; place = (place + 1) & mask) {
    int32_t& found = latest_[place];
    if (found == kFree || std::equal(three, three + kShortest, &tokens_[found - kShortest + 1])) {
      return found;
    }
  }
}

void NgramIndex::make_room(size_t tokens) {
  if (2 * tokens < latest_.size()) return;
  std::vector<int32_t> old(std::max(kPlacesMin, std::bit_ceil(2 * tokens + 1)), kFree);
  old.swap(latest_);
  for (const int32_t end : old) {
    if (end != kFree) latest(end) = end;
  }
}

void NgramIndex::append(std::span<const int32_t> tokens) {
  make_room(tokens_.size() + tokens.size());
  for (const int32_t token : tokens) {
    tokens_.push_back(token);
    earlier_.push_back(-1);
    const int32_t end = size() - 1;
    if (end + 1 < kShortest) continue;
    int32_t& last = latest(end);
    if (last != kFree) earlier_.back() = last;
    last = end;
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
