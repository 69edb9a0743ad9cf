#include "hadal/sample/stop.h"

#include <algorithm>
#include <utility>

#include "hadal/base/check.h"

namespace hadal {

StopMatcher::StopMatcher(const std::vector<std::string>& stops, bool include) : include_(include) {
  patterns_.reserve(stops.size());
  for (const std::string& text : stops) {
    HADAL_CHECK(!text.empty());
    // Knuth, Morris, Pratt (1977).
    std::vector<int32_t> border(text.size(), 0);
    for (size_t i = 1; i < text.size(); ++i) {
      int32_t length = border[i - 1];
      while (length > 0 && text[i] != text[static_cast<size_t>(length)])
        length = border[length - 1];
      border[i] = length + (text[i] == text[static_cast<size_t>(length)] ? 1 : 0);
    }
    patterns_.push_back({text, std::move(border), 0});
  }
}

// The longest pattern that is complete with this byte.
const StopMatcher::Pattern* StopMatcher::step(char byte) {
  const Pattern* complete = nullptr;
  for (Pattern& pattern : patterns_) {
    int32_t& matched = pattern.matched;
    while (matched > 0 && pattern.text[static_cast<size_t>(matched)] != byte) {
      matched = pattern.border[static_cast<size_t>(matched) - 1];
    }
    if (pattern.text[static_cast<size_t>(matched)] == byte) ++matched;
    if (static_cast<size_t>(matched) < pattern.text.size()) continue;
    if (complete == nullptr || pattern.text.size() > complete->text.size()) complete = &pattern;
  }
  return complete;
}

std::string StopMatcher::push(std::string_view piece) {
  if (match_ != nullptr) return "";
  for (const char byte : piece) {
    held_ += byte;
    if (const Pattern* complete = step(byte)) {
      match_ = &complete->text;
      if (!include_) held_.resize(held_.size() - complete->text.size());
      return std::exchange(held_, {});
    }
  }
  size_t keep = 0;
  for (const Pattern& pattern : patterns_) {
    keep = std::max(keep, static_cast<size_t>(pattern.matched));
  }
  std::string certain = held_.substr(0, held_.size() - keep);
  held_.erase(0, certain.size());
  return certain;
}

std::string StopMatcher::pass(std::string_view piece) {
  if (match_ != nullptr) return "";
  for (Pattern& pattern : patterns_) pattern.matched = 0;
  return std::exchange(held_, {}).append(piece);
}

std::string StopMatcher::finish() { return match_ != nullptr ? "" : std::exchange(held_, {}); }

}  // namespace hadal
