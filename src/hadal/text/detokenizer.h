// Tokens to text while they are generated: holds back bytes until they are whole UTF-8 characters.
// The concatenation of all that push() and finish() return is exactly the tokens' bytes, with each
// ill-formed sequence replaced by U+FFFD (as WHATWG's decoder does), so that JSON can carry it.
//
// Threads: one stream, one thread at a time.
#pragma once

#include <string>
#include <vector>

#include "hadal/text/tokenizer.h"

namespace hadal {

class Detokenizer {
 public:
  // `tokenizer` must outlive this. `first_of_text`: SentencePiece drops the first token's leading
  // space. `shown`: control tokens that are text even without `show_special`; a few.
  explicit Detokenizer(const Tokenizer& tokenizer, bool show_special = false,
                       bool first_of_text = false, std::vector<TokenId> shown = {});

  // Returns what became printable: "" while a character is incomplete.
  std::string push(TokenId id);
  // What is left at the end, incomplete characters as U+FFFD.
  std::string finish();

 private:
  std::string drain(bool final);
  const Tokenizer* tokenizer_;
  std::vector<TokenId> shown_;
  std::string pending_;  // at most 3 bytes between calls
  bool show_special_;
  bool drop_space_;
};

}  // namespace hadal
