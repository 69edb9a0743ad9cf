// Tokens to text while they are generated: holds back bytes until they are whole UTF-8 characters.
// The concatenation of all that push() and finish() return is exactly the tokens' bytes, with each
// ill-formed sequence replaced by U+FFFD (as WHATWG's decoder does), so that JSON can carry it.
//
// Threads: one stream, one thread at a time.
#pragma once

#include <string>

#include "hadal/text/tokenizer.h"

namespace hadal {

class Detokenizer {
 public:
  // `tokenizer` must outlive this. `first_of_text`: SentencePiece drops the first token's leading
  // space.
  explicit Detokenizer(const Tokenizer& tokenizer, bool show_special = false,
                       bool first_of_text = false);

  // Returns what became printable: "" while a character is incomplete.
  std::string push(TokenId id);
  // What is left at the end, incomplete characters as U+FFFD.
  std::string finish();

 private:
  std::string drain(bool final);
  const Tokenizer* tokenizer_;
  std::string pending_;  // at most 3 bytes between calls
  bool show_special_;
  bool drop_space_;
};

}  // namespace hadal
