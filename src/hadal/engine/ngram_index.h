// Prompt lookup: where did the last few tokens of this text stand before, and what came after them?
// The cheapest source of guesses: it costs no model and is right wherever a text repeats itself
// (code that is edited, sources that are quoted, reasoning that goes round).
//
// Every position is chained to the one before it that ends with the same three tokens, so a look-up
// walks a few candidates whatever the text's length. At most 24 bytes a token, in three arrays,
// since a token is added in every step of every sequence.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace hadal {

class NgramIndex {
 public:
  static constexpr int32_t kShortest = 3;  // tokens that must agree
  static constexpr int32_t kLongest = 32;  // more are not compared

  void append(std::span<const int32_t> tokens);

  // Replaces `guesses` by at most `most` tokens that followed the longest earlier occurrence of the
  // text's end (of equally long ones the latest). Where they reach the text's end they go round, as
  // a loop would. Returns the length of the match; 0: none, and no guesses.
  int32_t guess(int32_t most, std::vector<int32_t>* guesses) const;

  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }

 private:
  static constexpr int32_t kCandidates = 16;

  int32_t match_before(int32_t end) const;
  int32_t& latest(int32_t end);
  void make_room(size_t tokens);

  std::vector<int32_t> tokens_;
  // earlier_[i]: the last j < i such that the three tokens that end at j are those that end at i;
  // -1: none.
  std::vector<int32_t> earlier_;
  // Where three tokens ended last, at a place that they themselves say, or behind it; kFree. A
  // power of two, more than twice as many as there are tokens.
  std::vector<int32_t> latest_;
};

}  // namespace hadal
