// Splits a stream of text into reasoning (inside <think>) and content (outside), with markers cut
// anywhere. Thinking also ends, unclosed, before a marker that opens a list of tool calls. Nothing
// is lost and nothing is shown twice; whitespace between the closing marker and the answer, and at
// the start of the reasoning, belongs to neither. Thinking comes first or not at all: a <think>
// after the answer has begun is part of the answer, and a </think> that closes nothing too.
//
// Threads: one stream, one thread at a time.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace hadal {

struct ReasoningDelta {
  std::string reasoning;
  std::string content;
};

class ReasoningSplitter {
 public:
  // `inside`: the prompt already opened <think>; a model that repeats the marker is forgiven.
  // `enabled` false passes everything as content. `openers`: what ends thinking and is content
  // itself; static strings. `closed`: the prompt ends with the </think> of a thinking without
  // words, so whitespace at the start belongs to no answer.
  ReasoningSplitter(bool enabled, bool inside, std::span<const std::string_view> openers = {},
                    bool closed = false);
  ReasoningDelta push(std::string_view text);
  ReasoningDelta finish();  // what was held back as a possible marker
  bool inside() const { return state_ == State::kReasoning; }

 private:
  enum class State : uint8_t { kStart, kReasoning, kContent };

  void consume(ReasoningDelta* delta, bool final);
  bool consume_start(bool final);
  bool consume_reasoning(ReasoningDelta* delta, bool final);
  size_t held_length() const;
  bool skip_space();

  std::span<const std::string_view> openers_;
  std::string pending_;  // leading spaces, or what may become a marker
  State state_;
  bool trim_;            // at the start of a part: skip whitespace
  bool expect_opening_;  // the prompt's <think> may be repeated
  bool closed_;
};

}  // namespace hadal
