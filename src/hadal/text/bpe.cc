#include "hadal/text/bpe.h"

#include <fmt/core.h>

#include <bit>
#include <queue>
#include <unordered_map>

#include "hadal/base/check.h"
#include "hadal/text/unicode.h"

namespace hadal {
namespace {

// Words up to this long are merged by scanning for the best pair: no heap, no allocation.
constexpr size_t kShortWord = 32;

// GPT-2's byte alphabet: the printable bytes of Latin-1 stand for themselves, and the other 68, in
// order, for U+0100 and on.
struct ByteAlphabet {
  std::array<uint16_t, 256> character_of{};
  std::array<int16_t, 0x144> byte_of{};
};

constexpr ByteAlphabet make_byte_alphabet() {
  ByteAlphabet alphabet;
  for (int16_t& byte : alphabet.byte_of) byte = -1;
  uint16_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) ||
                           (byte >= 0xAE && byte <= 0xFF);
    const uint16_t character = printable ? static_cast<uint16_t>(byte) : next++;
    alphabet.character_of[byte] = character;
    alphabet.byte_of[character] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

constexpr ByteAlphabet kAlphabet = make_byte_alphabet();

// C0, C1 and F5 to FF are in no well-formed text. DeepSeek's vocabularies lack them.
bool can_be_in_utf8(int byte) { return byte < 0xC0 || (byte > 0xC1 && byte < 0xF5); }

uint64_t pair_key(TokenId left, TokenId right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

uint64_t mix(uint64_t key) {
  key *= 0x9E3779B97F4A7C15U;  // 2^64 / golden ratio
  return key ^ key >> 29;
}

using TokenMap = std::unordered_map<std::string_view, TokenId>;

// Only ordinary tokens: merging must never make a control token out of plain characters.
TokenMap ordinary_tokens(const VocabData& data) {
  TokenMap map;
  map.reserve(data.tokens.size());
  for (size_t i = 0; i < data.tokens.size(); ++i) {
    if (data.types[i] == TokenType::kNormal) map.emplace(data.tokens[i], static_cast<TokenId>(i));
  }
  return map;
}

}  // namespace

std::string bytes_of_alphabet(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    int byte = -1;
    if (step.length == 1) byte = step.valid ? kAlphabet.byte_of[static_cast<uint8_t>(text[0])] : -1;
    if (step.length == 2 && step.valid) {
      const uint32_t c =
          (static_cast<uint8_t>(text[0]) & 0x1FU) << 6 | (static_cast<uint8_t>(text[1]) & 0x3FU);
      if (c < kAlphabet.byte_of.size()) byte = kAlphabet.byte_of[c];
    }
    if (byte >= 0) {
      bytes.push_back(static_cast<char>(byte));
    } else {
      bytes.append(text.substr(0, step.length));
    }
    text.remove_prefix(step.length);
  }
  return bytes;
}

Result<BytePairEncoder> BytePairEncoder::make(const VocabData& data) {
  BytePairEncoder encoder;
  HADAL_TRY_VOID(encoder.add_merges(data));
  return encoder;
}

Status BytePairEncoder::add_merges(const VocabData& data) {
  const TokenMap tokens = ordinary_tokens(data);
  for (int byte = 0; byte < 256; ++byte) {
    std::string name;
    append_utf8(kAlphabet.character_of[byte], &name);
    const auto found = tokens.find(name);
    byte_tokens_[byte] = found == tokens.end() ? -1 : found->second;
    if (found == tokens.end() && can_be_in_utf8(byte)) {
      return fail(Code::kCorrupt, fmt::format("tokenizer: byte 0x{:02X} has no token", byte));
    }
  }
  const size_t size = std::bit_ceil(std::max<size_t>(2 * data.merges.size(), 16));
  merges_.assign(size, Merge{});
  mask_ = size - 1;
  for (size_t rank = 0; rank < data.merges.size(); ++rank) {
    const std::string_view merge = data.merges[rank];
    // A part is never empty, so the separator is not the first byte.
    const size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos) {
      return fail(Code::kCorrupt, fmt::format("tokenizer: merge {} has no space", rank));
    }
    std::string whole(merge.substr(0, space));
    whole.append(merge.substr(space + 1));
    const auto left = tokens.find(merge.substr(0, space));
    const auto right = tokens.find(merge.substr(space + 1));
    const auto result = tokens.find(whole);
    if (left == tokens.end() || right == tokens.end() || result == tokens.end()) {
      return fail(Code::kCorrupt,
                  fmt::format("tokenizer: merge {} has a part or a result that is no token", rank));
    }
    const uint64_t key = pair_key(left->second, right->second);
    uint64_t slot = mix(key) & mask_;
    while (merges_[slot].key != kEmpty && merges_[slot].key != key) slot = (slot + 1) & mask_;
    if (merges_[slot].key == key) continue;  // the first, best rank counts
    merges_[slot] = {key, static_cast<int32_t>(rank), result->second};
  }
  return {};
}

const BytePairEncoder::Merge* BytePairEncoder::find(TokenId left, TokenId right) const {
  const uint64_t key = pair_key(left, right);
  for (uint64_t slot = mix(key) & mask_; merges_[slot].key != kEmpty; slot = (slot + 1) & mask_) {
    if (merges_[slot].key == key) return &merges_[slot];
  }
  return nullptr;
}

void BytePairEncoder::encode(std::string_view word, std::vector<TokenId>* out) const {
  std::array<TokenId, kShortWord> few;
  std::vector<TokenId> many;
  std::span<TokenId> symbols;
  if (word.size() <= few.size()) {
    symbols = std::span(few).first(word.size());
  } else {
    many.resize(word.size());
    symbols = many;
  }
  for (size_t i = 0; i < word.size(); ++i) {
    symbols[i] = byte_tokens_[static_cast<uint8_t>(word[i])];
  }
  if (word.size() <= few.size()) {
    encode_short(symbols, out);
  } else {
    encode_long(symbols, out);
  }
}

void BytePairEncoder::encode_short(std::span<TokenId> symbols, std::vector<TokenId>* out) const {
  std::array<const Merge*, kShortWord> pairs{};  // pairs[i] joins symbols i and i+1
  size_t count = symbols.size();
  for (size_t i = 0; i + 1 < count; ++i) pairs[i] = find(symbols[i], symbols[i + 1]);
  while (count > 1) {
    size_t best = count;
    int32_t best_rank = kNoRank;
    for (size_t i = 0; i + 1 < count; ++i) {
      if (pairs[i] != nullptr && pairs[i]->rank < best_rank) {
        best = i;
        best_rank = pairs[i]->rank;
      }
    }
    if (best == count) break;
    symbols[best] = pairs[best]->result;
    for (size_t i = best + 1; i + 1 < count; ++i) {
      symbols[i] = symbols[i + 1];
      pairs[i - 1] = pairs[i];
    }
    --count;
    if (best > 0) pairs[best - 1] = find(symbols[best - 1], symbols[best]);
    if (best + 1 < count) pairs[best] = find(symbols[best], symbols[best + 1]);
  }
  out->insert(out->end(), symbols.begin(), symbols.begin() + static_cast<std::ptrdiff_t>(count));
}

void BytePairEncoder::encode_long(std::span<TokenId> symbols, std::vector<TokenId>* out) const {
  // 32 bits a place: one word may be all of a request's body, and each of its bytes costs this.
  struct Candidate {
    int32_t rank;
    uint32_t at;
    uint64_t key;  // the pair it was made for; another pair now stands there when it is outdated
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  constexpr TokenId kGone = -2;
  HADAL_CHECK(symbols.size() < UINT32_MAX);
  const auto end = static_cast<uint32_t>(symbols.size());
  std::vector<uint32_t> next(end);
  std::vector<uint32_t> previous(end);
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto offer = [&](uint32_t at) {
    if (next[at] == end) return;
    const Merge* merge = find(symbols[at], symbols[next[at]]);
    if (merge != nullptr) queue.push({merge->rank, at, merge->key});
  };
  for (uint32_t i = 0; i < end; ++i) {
    next[i] = i + 1;
    previous[i] = i - 1;  // wraps for the first, which is tested for before use
  }
  for (uint32_t i = 0; i < end; ++i) offer(i);
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    const uint32_t right = symbols[top.at] == kGone ? end : next[top.at];
    if (right == end || pair_key(symbols[top.at], symbols[right]) != top.key) continue;
    symbols[top.at] = find(symbols[top.at], symbols[right])->result;
    symbols[right] = kGone;
    next[top.at] = next[right];
    if (next[right] != end) previous[next[right]] = top.at;
    if (top.at > 0) offer(previous[top.at]);
    offer(top.at);
  }
  for (uint32_t i = 0; i < end; i = next[i]) out->push_back(symbols[i]);
}

}  // namespace hadal
