// An operator's regular expression (PCRE2's syntax, UTF-8), searched in text of any size from
// anywhere: time is bounded, and a search that ran into the bound says so.
//
// Threads: immutable; any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "hadal/base/result.h"

namespace hadal {

class Pattern {
 public:
  // kInvalidInput: says what is wrong and at which byte of the expression.
  static Result<Pattern> make(std::string_view expression, bool ignore_case);
  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;
  ~Pattern();

  enum class Search : unsigned char {
    kNo,
    kFound,
    kGaveUp,  // too much work, or text that is not UTF-8
  };
  // The first match that begins at `from` or later. The text is checked when `from` is 0; `from` is
  // the beginning of a character.
  struct Match {
    size_t begin = 0, end = 0;
  };
  Search find(std::string_view text, size_t from, Match* match) const;

 private:
  struct Program;
  explicit Pattern(std::unique_ptr<Program> code);
  std::unique_ptr<Program> code_;
};

}  // namespace hadal
