// Internal to text.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hadal/text/tokenizer.h"

namespace hadal {

// The rendered conversation as stretches of what the template says and what people said.
class Pieces {
 public:
  void literal(std::string_view text) { add(text, true); }
  void content(std::string_view text) { add(text, false); }

  std::string joined() const {
    std::string out;
    for (const auto& [text, is_literal] : pieces_) out.append(text);
    return out;
  }
  // What the template says last opens <think> and does not close it.
  bool inside_thinking() const {
    if (pieces_.empty() || !pieces_.back().second) return false;
    const std::string& last = pieces_.back().first;
    const size_t open = last.rfind("<think>");
    return open != std::string::npos && last.find("</think>", open) == std::string::npos;
  }
  // The text ends with </think>, and whitespace at most.
  bool thinking_closed() const {
    if (pieces_.empty() || !pieces_.back().second) return false;
    const std::string_view last = pieces_.back().first;
    const size_t end = last.find_last_not_of(" \t\r\n");
    return end != last.npos && last.substr(0, end + 1).ends_with("</think>");
  }
  std::vector<TextPart> parts() const {
    std::vector<TextPart> out;
    out.reserve(pieces_.size());
    for (const auto& [text, is_literal] : pieces_) out.push_back({text, is_literal});
    return out;
  }

 private:
  void add(std::string_view text, bool is_literal) {
    if (text.empty()) return;
    if (!pieces_.empty() && pieces_.back().second == is_literal) {
      pieces_.back().first.append(text);
    } else {
      pieces_.emplace_back(text, is_literal);
    }
  }
  std::vector<std::pair<std::string, bool>> pieces_;
};

}  // namespace hadal
