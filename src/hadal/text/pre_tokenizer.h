// Cuts text into the pieces inside which byte-level BPE may merge, with each model's own regular
// expressions. Internal to text.
//
// Threads: immutable after make(); any number of threads may call split at once.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/text/vocab.h"

namespace hadal {

class PreTokenizerRegex {
 public:
  static Result<PreTokenizerRegex> make(PreTokenizer kind);
  PreTokenizerRegex(PreTokenizerRegex&&) noexcept;
  PreTokenizerRegex& operator=(PreTokenizerRegex&&) noexcept;
  ~PreTokenizerRegex();

  // Appends the length of each piece of `text`, in order; together they cover it exactly. `text`
  // must be valid UTF-8. The expressions apply in turn, each to the pieces that the one before
  // left, and what an expression does not match is a piece too.
  void split(std::string_view text, std::vector<size_t>* lengths) const;

 private:
  struct Impl;
  explicit PreTokenizerRegex(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hadal
