#include "hadal/text/marker_scan.h"

#include <algorithm>
#include <utility>

namespace hadal {
namespace {

bool begins_marker(std::string_view text, std::span<const std::string_view> markers) {
  return std::any_of(markers.begin(), markers.end(),
                     [text](std::string_view marker) { return marker.starts_with(text); });
}

// Up to the first byte that a marker may begin with.
size_t plain_length(std::string_view text, std::span<const std::string_view> markers) {
  size_t length = text.size();
  for (const std::string_view marker : markers) {
    length = std::min(length, text.substr(0, length).find(marker.front()));
  }
  return std::min(length, text.size());
}

}  // namespace

size_t MarkerScan::next(std::string_view* text, std::span<const std::string_view> markers,
                        std::string* plain) {
  while (!text->empty()) {
    if (held_.empty()) {
      const size_t length = plain_length(*text, markers);
      plain->append(text->substr(0, length));
      text->remove_prefix(length);
      if (text->empty()) break;
    }
    held_.push_back(text->front());
    text->remove_prefix(1);
    // What can no longer become a marker passes; markers are short, so this is a few steps.
    size_t passed = 0;
    while (passed < held_.size() &&
           !begins_marker(std::string_view(held_).substr(passed), markers)) {
      ++passed;
    }
    plain->append(held_, 0, passed);
    held_.erase(0, passed);
    const auto found = std::find(markers.begin(), markers.end(), held_);
    if (found != markers.end()) {
      held_.clear();
      return static_cast<size_t>(found - markers.begin());
    }
  }
  return kNone;
}

std::string MarkerScan::take_held() { return std::exchange(held_, {}); }

}  // namespace hadal
