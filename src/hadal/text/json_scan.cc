#include "hadal/text/json_scan.h"

#include <algorithm>

#include "hadal/base/ascii.h"
#include "hadal/base/limits.h"
#include "hadal/text/unicode.h"

namespace hadal {
namespace {

// The four digits behind "\u"; -1 when they are not four digits.
int32_t code_unit(std::string_view text) {
  if (text.size() < 4) return -1;
  int32_t unit = 0;
  for (const char c : text.substr(0, 4)) {
    const int digit = hex_digit(c);
    if (digit < 0) return -1;
    unit = unit * 16 + digit;
  }
  return unit;
}

// A checker by descent; `depth` bounds the stack.
class Checker {
 public:
  explicit Checker(std::string_view text) : text_(text) {}

  bool whole() {
    space();
    if (!value(0)) return false;
    space();
    return at_ == text_.size();
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void space() {
    while (at_ < text_.size() && is_json_space(text_[at_])) ++at_;
  }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view expected) {
    if (text_.substr(at_, expected.size()) != expected) return false;
    at_ += expected.size();
    return true;
  }

  bool value(size_t depth) {
    switch (peek()) {
      case '{':
      case '[':
        return depth < limits::kJsonDepthMax && list(depth);
      case '"':
        return string();
      case 't':
        return word("true");
      case 'f':
        return word("false");
      case 'n':
        return word("null");
      default:
        return number();
    }
  }

  bool list(size_t depth) {
    const bool object = text_[at_++] == '{';
    const char end = object ? '}' : ']';
    space();
    if (take(end)) return true;
    for (;;) {
      space();
      if (object) {
        if (peek() != '"' || !string()) return false;
        space();
        if (!take(':')) return false;
        space();
      }
      if (!value(depth + 1)) return false;
      space();
      if (take(end)) return true;
      if (!take(',')) return false;
    }
  }

  bool string() {
    ++at_;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return true;
      if (static_cast<uint8_t>(c) < 0x20) return false;
      if (c != '\\') continue;
      const char escape = peek();
      ++at_;
      if (escape == 'u') {
        if (code_unit(text_.substr(std::min(at_, text_.size()))) < 0) return false;
        at_ += 4;
      } else if (std::string_view("\"\\/bfnrt").find(escape) == std::string_view::npos ||
                 escape == '\0') {
        return false;
      }
    }
    return false;
  }

  bool digits() {
    const size_t from = at_;
    while (is_digit(peek())) ++at_;
    return at_ > from;
  }
  bool number() {
    take('-');
    if (!take('0') && !digits()) return false;
    if (take('.') && !digits()) return false;
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      if (!take('+')) take('-');
      return digits();
    }
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
};

// Reads one escape behind the backslash at `at`; how many bytes of `inner` it took, with the
// backslash.
size_t append_escape(std::string_view inner, size_t at, std::string* out) {
  constexpr std::string_view kFrom = "\"\\/bfnrt";
  constexpr std::string_view kTo = "\"\\/\b\f\n\r\t";
  if (at + 1 >= inner.size()) {
    out->push_back('\\');
    return 1;
  }
  const size_t simple = kFrom.find(inner[at + 1]);
  if (simple != std::string_view::npos) {
    out->push_back(kTo[simple]);
    return 2;
  }
  const int32_t unit = inner[at + 1] == 'u' ? code_unit(inner.substr(at + 2)) : -1;
  if (unit < 0) {
    out->push_back('\\');
    return 1;
  }
  const bool high = unit >= 0xD800 && unit < 0xDC00;
  if (high && inner.substr(std::min(at + 6, inner.size())).starts_with("\\u")) {
    const int32_t low = code_unit(inner.substr(at + 8));
    if (low >= 0xDC00 && low < 0xE000) {
      append_utf8(static_cast<uint32_t>(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)), out);
      return 12;
    }
  }
  append_utf8(unit >= 0xD800 && unit < 0xE000 ? 0xFFFD : static_cast<uint32_t>(unit), out);
  return 6;
}

}  // namespace

JsonEnd::Step JsonEnd::push(char c) {
  if (in_string_) {
    if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      in_string_ = false;
      if (depth_ == 0) return Step::kLast;
    }
    return Step::kMore;
  }
  if (depth_ == 0 && begun_ && (is_json_space(c) || c == ',' || c == '}' || c == ']')) {
    return Step::kAfter;
  }
  begun_ = true;
  if (c == '"') in_string_ = true;
  if (c == '{' || c == '[') ++depth_;
  if ((c == '}' || c == ']') && (depth_ == 0 || --depth_ == 0)) return Step::kLast;
  return Step::kMore;
}

bool is_json(std::string_view text) { return Checker(text).whole(); }

bool is_json_object(std::string_view text) {
  return json_trimmed(text).starts_with('{') && is_json(text);
}

std::string json_unescaped(std::string_view inner) {
  std::string out;
  out.reserve(inner.size());
  for (size_t at = 0; at < inner.size();) {
    if (inner[at] == '\\') {
      at += append_escape(inner, at, &out);
    } else {
      out.push_back(inner[at++]);
    }
  }
  return out;
}

void append_json_escaped(std::string_view text, std::string* out) {
  constexpr std::string_view kHex = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (c == '\n') {
      out->append("\\n");
    } else if (c == '\r') {
      out->append("\\r");
    } else if (c == '\t') {
      out->append("\\t");
    } else if (byte < 0x20) {
      out->append("\\u00");
      out->push_back(kHex[byte >> 4]);
      out->push_back(kHex[byte & 15]);
    } else {
      out->push_back(c);
    }
  }
}

std::string_view json_trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kJsonSpace), text.size()));
  return text.substr(0, text.find_last_not_of(kJsonSpace) + 1);
}

}  // namespace hadal
