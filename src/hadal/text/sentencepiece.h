// SentencePiece's BPE mode: neighbours that together are a token merge, best score first. Internal
// to text.
//
// Threads: immutable after make(); any number of threads may call encode at once.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/text/vocab.h"

namespace hadal {

// U+2581 to spaces, and back.
std::string unescape_spaces(std::string_view text);
std::string escape_spaces(std::string_view text);

// The byte that "<0xHH>" names; -1 for any other text.
int byte_of_name(std::string_view name);

class SentencePieceEncoder {
 public:
  // Keeps views into `data`, which must outlive it. kCorrupt: no scores, or neither the 256 byte
  // tokens nor an unknown token.
  static Result<SentencePieceEncoder> make(const VocabData& data);

  // Appends the tokens of `text`, any bytes, its spaces already escaped. O(n log n). What no token
  // covers becomes byte tokens.
  void encode(std::string_view text, std::vector<TokenId>* out) const;

 private:
  struct Ranked {
    TokenId id;
    float score;
  };
  void put_bytes(std::string_view bytes, std::vector<TokenId>* out) const;

  std::unordered_map<std::string_view, Ranked> tokens_;
  std::array<TokenId, 256> byte_tokens_{};
  TokenId unknown_ = -1;
  size_t longest_ = 0;  // bytes of the longest token
};

}  // namespace hadal
