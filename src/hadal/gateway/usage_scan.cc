#include "hadal/gateway/usage_scan.h"

#include <algorithm>

namespace hadal::gateway {
namespace {

constexpr std::string_view kKeyEnd = "_tokens\"";
constexpr std::string_view kEvent = "data: {";
constexpr size_t kLineMax = 96;  // of the longest key with its number

int64_t count(std::string_view text, std::string_view part) {
  int64_t found = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace

void UsageScan::push(std::string_view bytes) {
  const std::string text = kept_ + std::string(bytes);
  // What is all within the kept end was seen the last time.
  events_ += count(text, kEvent) - count(kept_, kEvent);
  for (size_t at = text.find(kKeyEnd); at != text.npos; at = text.find(kKeyEnd, at + 1)) {
    const size_t quote = text.rfind('"', at);
    if (quote == text.npos) continue;
    const std::string_view key =
        std::string_view(text).substr(quote + 1, at + kKeyEnd.size() - 1 - (quote + 1));
    size_t place = at + kKeyEnd.size();
    while (place < text.size() && (text[place] == ' ' || text[place] == ':')) ++place;
    int64_t value = -1;
    for (; place < text.size() && text[place] >= '0' && text[place] <= '9'; ++place) {
      value = std::min<int64_t>(std::max<int64_t>(value, 0) * 10 + (text[place] - '0'), 1ll << 40);
    }
    // A number at the very end may go on in the next piece, where it is found again.
    if (value >= 0 && place < text.size()) take(key, value);
  }
  kept_ = text.substr(text.size() - std::min(text.size(), kLineMax));
}

// Counts only grow within an answer.
void UsageScan::take(std::string_view key, int64_t value) {
  const auto grow = [&](int64_t* count) { *count = std::max(*count, value); };
  if (key == "prompt_tokens" || key == "input_tokens") grow(&prompt_);
  if (key == "completion_tokens" || key == "output_tokens") grow(&output_);
  if (key == "prompt_cache_hit_tokens" || key == "cached_tokens") grow(&hit_);
  // Anthropic's input_tokens are those that neither was.
  if (key == "cache_read_input_tokens") grow(&read_);
  if (key == "cache_creation_input_tokens") grow(&written_);
}

Tokens UsageScan::tokens(int64_t prompt_tokens) const {
  if (prompt_ < 0 && output_ < 0 && events_ == 0) return {};
  const int64_t prompt = prompt_ >= 0 ? prompt_ : prompt_tokens;
  const int64_t hit = std::min(hit_, prompt);
  return {hit + read_, prompt - hit + written_,
          std::max(output_, events_ > 0 && output_ < 0 ? events_ : 0)};
}

}  // namespace hadal::gateway
