// Finds markers in a stream that may be cut anywhere, inside a marker too. Holds back only what may
// still become one; everything else passes at once.
//
// Threads: one stream, one thread at a time.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace hadal {

class MarkerScan {
 public:
  static constexpr size_t kNone = static_cast<size_t>(-1);

  // Takes bytes from the front of *text until a marker is complete, and returns its index, or
  // until the text is spent: kNone. What is no marker is appended to *plain. No marker may be the
  // beginning of another; the set may change after a marker was returned, or when nothing is held.
  size_t next(std::string_view* text, std::span<const std::string_view> markers,
              std::string* plain);
  // What is held back, given up; for the end of the stream.
  std::string take_held();
  bool holds() const { return !held_.empty(); }

 private:
  std::string held_;  // the beginning of at least one marker
};

}  // namespace hadal
