#include "hadal/text/reasoning.h"

#include <algorithm>

namespace hadal {
namespace {

constexpr std::string_view kOpen = "<think>";
constexpr std::string_view kClose = "</think>";
constexpr std::string_view kSpace = " \t\r\n";

bool may_become(std::string_view text, std::string_view marker) {
  return text.size() < marker.size() && marker.starts_with(text);
}

// How many bytes at the end of `text` could be the beginning of `marker`.
size_t partial_marker(std::string_view text, std::string_view marker) {
  for (size_t n = std::min(text.size(), marker.size() - 1); n > 0; --n) {
    if (marker.starts_with(text.substr(text.size() - n))) return n;
  }
  return 0;
}

}  // namespace

ReasoningSplitter::ReasoningSplitter(bool enabled, bool inside,
                                     std::span<const std::string_view> openers, bool closed)
    : openers_(openers),
      state_(!enabled ? State::kContent
             : inside ? State::kReasoning
                      : State::kStart),
      trim_(enabled && inside),
      expect_opening_(enabled && inside),
      closed_(enabled && closed) {}

ReasoningDelta ReasoningSplitter::push(std::string_view text) {
  ReasoningDelta delta;
  pending_.append(text);
  consume(&delta, false);
  return delta;
}

ReasoningDelta ReasoningSplitter::finish() {
  ReasoningDelta delta;
  consume(&delta, true);
  return delta;
}

void ReasoningSplitter::consume(ReasoningDelta* delta, bool final) {
  if (state_ == State::kStart && !consume_start(final)) return;
  if (state_ == State::kReasoning && !consume_reasoning(delta, final)) return;
  if (trim_ && !skip_space()) return;
  delta->content.append(pending_);
  pending_.clear();
}

// Each of these returns whether the next state has text to look at.

bool ReasoningSplitter::consume_start(bool final) {
  const size_t first = std::min(pending_.find_first_not_of(kSpace), pending_.size());
  const std::string_view rest = std::string_view(pending_).substr(first);
  if (!final && (rest.empty() || may_become(rest, kOpen))) return false;
  if (rest.starts_with(kOpen)) {
    pending_.erase(0, first + kOpen.size());
    state_ = State::kReasoning;
    trim_ = true;
  } else {
    state_ = State::kContent;
    trim_ = closed_;  // else its leading spaces were the answer's
  }
  return true;
}

bool ReasoningSplitter::consume_reasoning(ReasoningDelta* delta, bool final) {
  if (trim_ && !skip_space()) return false;
  if (expect_opening_) {
    if (!final && may_become(pending_, kOpen)) {
      trim_ = true;
      return false;
    }
    expect_opening_ = false;
    if (pending_.starts_with(kOpen)) {
      pending_.erase(0, kOpen.size());
      trim_ = true;
      if (!skip_space()) return false;
    }
  }
  size_t close = pending_.find(kClose);
  size_t marker = kClose.size();
  for (const std::string_view opener : openers_) {
    const size_t at = pending_.find(opener);
    if (at < close) {
      close = at;
      marker = 0;
    }
  }
  if (close != std::string::npos) {
    delta->reasoning.append(pending_, 0, close);
    pending_.erase(0, close + marker);
    state_ = State::kContent;
    trim_ = true;
    return true;
  }
  const size_t held = final ? 0 : held_length();
  delta->reasoning.append(pending_, 0, pending_.size() - held);
  pending_.erase(0, pending_.size() - held);
  return false;
}

size_t ReasoningSplitter::held_length() const {
  size_t held = partial_marker(pending_, kClose);
  for (const std::string_view opener : openers_) {
    held = std::max(held, partial_marker(pending_, opener));
  }
  return held;
}

// False when nothing but spaces has come yet.
bool ReasoningSplitter::skip_space() {
  pending_.erase(0, std::min(pending_.find_first_not_of(kSpace), pending_.size()));
  trim_ = pending_.empty();
  return !trim_;
}

}  // namespace hadal
