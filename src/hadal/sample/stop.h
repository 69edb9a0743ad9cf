// Stop strings in streamed text, wherever the pieces are cut.
//
// The match that is complete first ends the text; of several complete at the same byte, the
// longest. So the result is a property of the whole text, not of how it was cut into tokens. What
// could be the beginning of a match is held back, and nothing else.
//
// Threads: one stream, one thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hadal {

class StopMatcher {
 public:
  // No string may be empty. With `include` the matched string is part of the text.
  StopMatcher(const std::vector<std::string>& stops, bool include);
  StopMatcher(StopMatcher&&) = default;
  StopMatcher& operator=(StopMatcher&&) = default;

  // Takes the next piece and returns what became certain. After a match: everything up to it; what
  // follows in `piece` is dropped, and so is every later piece.
  std::string push(std::string_view piece);
  // Takes text in which nothing is to be matched (before min_tokens). A match begun before is given
  // up.
  std::string pass(std::string_view piece);
  // The end without a match: what was held back.
  std::string finish();

  // The stop string that ended the text; nullptr while none did.
  const std::string* match() const { return match_; }

 private:
  struct Pattern {
    std::string text;
    std::vector<int32_t>
        border;           // [i]: longest proper prefix of text[0..i] that is also its suffix
    int32_t matched = 0;  // longest prefix of text that the stream ends with
  };
  const Pattern* step(char byte);

  std::vector<Pattern> patterns_;
  std::string held_;
  const std::string* match_ = nullptr;
  bool include_;
};

}  // namespace hadal
