// Byte-level byte-pair encoding of one pre-token: which bytes are which tokens, and which pairs
// merge in which order. Internal to text.
//
// Threads: immutable after make(); any number of threads may call encode at once.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/text/vocab.h"

namespace hadal {

// GPT-2's alphabet writes each byte as one printable character; this reads it back. Characters
// outside the alphabet stay as they are.
std::string bytes_of_alphabet(std::string_view text);

class BytePairEncoder {
 public:
  // `data` as in vocab.h. kCorrupt: a byte that valid UTF-8 can hold has no token, or a merge names
  // a part or a result that is not a token.
  static Result<BytePairEncoder> make(const VocabData& data);

  // Appends the tokens of `word`, any bytes. O(n log n).
  void encode(std::string_view word, std::vector<TokenId>* out) const;

  // The token of one byte; -1 for the few that valid UTF-8 never holds and a vocabulary may lack.
  TokenId byte_token(uint8_t byte) const { return byte_tokens_[byte]; }

 private:
  struct Merge {
    uint64_t key = kEmpty;  // left id, right id
    int32_t rank = 0;       // lower merges first
    TokenId result = 0;
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  static constexpr int32_t kNoRank = INT32_MAX;

  Status add_merges(const VocabData& data);
  const Merge* find(TokenId left, TokenId right) const;
  void encode_short(std::span<TokenId> symbols, std::vector<TokenId>* out) const;
  void encode_long(std::span<TokenId> symbols, std::vector<TokenId>* out) const;

  std::array<TokenId, 256> byte_tokens_{};
  std::vector<Merge> merges_;  // open addressing, a power of two long, at most half full
  uint64_t mask_ = 0;
};

}  // namespace hadal
