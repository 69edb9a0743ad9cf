// Splits a stream of text into reasoning (inside <think>) and content (outside), with markers cut
// anywhere. Nothing is lost and nothing is shown twice; whitespace between the closing marker and
// the answer, and at the start of the reasoning, belongs to neither.
//
// Threads: one stream, one thread at a time.
#pragma once

#include <string>
#include <string_view>

namespace hadal {

struct ReasoningDelta {
  std::string reasoning;
  std::string content;
};

class ReasoningSplitter {
 public:
  // `inside`: the prompt already opened <think>. `enabled` false passes everything as content.
  ReasoningSplitter(bool enabled, bool inside);
  ReasoningDelta push(std::string_view text);
  ReasoningDelta finish();  // what was held back as a possible marker
  bool inside() const { return inside_; }

 private:
  void consume(ReasoningDelta* delta, bool final);
  std::string pending_;
  bool enabled_;
  bool inside_;
  bool trim_ = true;  // at the start of a part: skip whitespace
};

}  // namespace hadal
