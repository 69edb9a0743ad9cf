#include "hadal/text/jinja/lexer.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "hadal/base/ascii.h"
#include "hadal/text/jinja/object.h"
#include "hadal/text/jinja/python_text.h"
#include "hadal/text/unicode.h"

namespace hadal::jinja {
namespace {

constexpr std::string_view::size_type kNowhere = std::string_view::npos;

[[noreturn]] void bad(std::string what) { throw Failure{std::move(what)}; }

int count_lines(std::string_view text) {
  return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
}

// "\r\n" and "\r" become "\n"; one newline at the very end is not part of a template.
std::string normalised(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out.push_back(source[i]);
    } else {
      out.push_back('\n');
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

size_t spaces_at(std::string_view text, size_t at) {
  size_t end = at;
  while (const size_t n = space_length(text.substr(end))) end += n;
  return end - at;
}

// Python's unicode-escape of a string's inside, after everything beyond ASCII became \u escapes: so
// a backslash before such a character escapes the backslash of its escape.
class StringDecoder {
 public:
  std::string decode(std::string_view inside) {
    ascii_ = backslash_replaced(inside);
    std::string out;
    while (at_ < ascii_.size()) {
      const char c = ascii_[at_++];
      if (c != '\\') {
        out.push_back(c);
      } else {
        escape(&out);
      }
    }
    if (high_ != 0) bad("a string has half a surrogate pair");
    return out;
  }

 private:
  static std::string backslash_replaced(std::string_view text) {
    std::string out;
    for (size_t i = 0; i < text.size();) {
      const CodePoint c = code_point_at(text, i);
      if (c.value < 0x80) {
        out.push_back(text[i]);
      } else if (c.value < 0x100) {
        out += fmt::format("\\x{:02x}", c.value);
      } else if (c.value < 0x10000) {
        out += fmt::format("\\u{:04x}", c.value);
      } else {
        out += fmt::format("\\U{:08x}", c.value);
      }
      i += c.length;
    }
    return out;
  }

  void escape(std::string* out) {
    if (at_ == ascii_.size()) bad("a string ends with a backslash");
    const char c = ascii_[at_++];
    constexpr std::string_view kFrom = "\\'\"abfnrtv";
    constexpr std::string_view kTo = "\\'\"\a\b\f\n\r\t\v";
    if (const size_t known = kFrom.find(c); known != kNowhere) {
      out->push_back(kTo[known]);
    } else if (c == '\n') {
      return;
    } else if (c >= '0' && c <= '7') {
      uint32_t value = static_cast<uint32_t>(c - '0');
      for (int i = 0; i < 2 && at_ < ascii_.size() && ascii_[at_] >= '0' && ascii_[at_] <= '7';
           ++i) {
        value = value * 8 + static_cast<uint32_t>(ascii_[at_++] - '0');
      }
      put(value, out);
    } else if (c == 'x' || c == 'u' || c == 'U') {
      put(hexadecimal(c == 'x' ? 2 : c == 'u' ? 4 : 8), out);
    } else if (c == 'N') {
      bad("\\N{...} in a string is not supported");
    } else {
      out->push_back('\\');
      out->push_back(c);
    }
  }

  uint32_t hexadecimal(int digits) {
    uint32_t value = 0;
    for (int i = 0; i < digits; ++i) {
      const int digit = at_ < ascii_.size() ? hex_digit(ascii_[at_]) : -1;
      if (digit < 0) bad("truncated escape in a string");
      value = value * 16 + static_cast<uint32_t>(digit);
      ++at_;
    }
    if (value > 0x10FFFF) bad("illegal Unicode character in a string");
    return value;
  }

  // Python keeps lone surrogates and fails when it encodes; a written pair stays two of them.
  void put(uint32_t value, std::string* out) {
    if (value >= 0xD800 && value < 0xE000) {
      high_ = value;
    } else {
      append_utf8(value, out);
    }
  }

  std::string ascii_;
  size_t at_ = 0;
  uint32_t high_ = 0;
};

constexpr std::array<std::string_view, 26> kOperators = {
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
    "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};

class Lexer {
 public:
  Lexer(std::string_view source, int* line) : source_(normalised(source)), line_(line) {
    *line_ = 1;
  }

  std::vector<Token> run() {
    while (at_ < text().size()) root();
    tokens_.push_back({.line = *line_});
    return std::move(tokens_);
  }

 private:
  std::string_view text() const { return source_; }
  char peek(size_t ahead = 0) const {
    return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0';
  }
  bool follows(std::string_view what, size_t at) const {
    return text().substr(at, what.size()) == what;
  }
  void advance(size_t bytes) {
    *line_ += count_lines(text().substr(at_, bytes));
    at_ += bytes;
  }
  void add(TokenKind kind, std::string token) {
    tokens_.push_back({.kind = kind, .text = std::move(token), .line = *line_});
  }

  // One stretch of data and the tag after it.
  void root() {
    size_t tag = at_;
    while (true) {
      tag = text().find('{', tag);
      if (tag == kNowhere || tag + 1 >= text().size()) {
        add_data(text().substr(at_));
        return;
      }
      const char kind = text()[tag + 1];
      if (kind == '{' || kind == '%' || kind == '#') break;
      ++tag;
    }
    const char kind = text()[tag + 1];
    char sign = tag + 2 < text().size() ? text()[tag + 2] : '\0';
    if (sign != '-' && sign != '+') sign = '\0';
    const size_t open = sign == '\0' ? 2 : 3;
    const size_t raw = kind == '%' ? raw_end(tag + open) : kNowhere;
    add_stripped(text().substr(at_, tag - at_), sign, kind == '{');
    if (raw != kNowhere) {
      advance(raw - at_);
      raw_block();
      return;
    }
    advance(open);
    if (kind == '#') {
      comment();
    } else {
      add(kind == '{' ? TokenKind::kVariableBegin : TokenKind::kBlockBegin, "");
      inside(kind == '{');
    }
  }

  void add_data(std::string_view data) {
    if (!data.empty()) add(TokenKind::kData, std::string(data));
    advance(data.size());
  }

  // What a tag's sign, or lstrip_blocks, takes from the text before it.
  void add_stripped(std::string_view data, char sign, bool is_variable) {
    std::string_view kept = data;
    if (sign == '-') {
      kept = right_stripped(data);
    } else if (sign != '+' && !is_variable) {
      const size_t newline = data.rfind('\n');
      const size_t line_begin = newline == kNowhere ? 0 : newline + 1;
      const bool at_line_begin = line_begin > 0 || line_starting_;
      if (at_line_begin && spaces_at(data, line_begin) == data.size() - line_begin) {
        kept = data.substr(0, line_begin);
      }
    }
    if (!kept.empty()) add(TokenKind::kData, std::string(kept));
    advance(data.size());
  }

  // Behind "raw %}" when that is what stands at `at`.
  size_t raw_end(size_t at) const {
    at += spaces_at(text(), at);
    if (!follows("raw", at)) return kNowhere;
    at += 3;
    at += spaces_at(text(), at);
    if (follows("-%}", at)) return at + 3 + spaces_at(text(), at + 3);
    return follows("%}", at) ? at + 2 : kNowhere;
  }

  // Behind the end mark `end` ("%}", "#}") with its sign and what it takes; kNowhere if it is not
  // there.
  size_t end_of_tag(std::string_view end, size_t at) const {
    if (follows("+", at) && follows(end, at + 1)) return at + 1 + end.size();
    if (follows("-", at) && follows(end, at + 1)) {
      at += 1 + end.size();
      return at + spaces_at(text(), at);
    }
    if (!follows(end, at)) return kNowhere;
    at += end.size();
    return follows("\n", at) ? at + 1 : at;
  }

  void finish_tag(size_t end) {
    line_starting_ = text()[end - 1] == '\n';
    advance(end - at_);
  }

  void comment() {
    for (size_t at = at_; at < text().size(); ++at) {
      if (const size_t end = end_of_tag("#}", at); end != kNowhere) return finish_tag(end);
    }
    if (at_ < text().size()) bad("Missing end of comment tag");
  }

  void raw_block() {
    line_starting_ = text()[at_ - 1] == '\n';
    for (size_t tag = text().find("{%", at_); tag != kNowhere; tag = text().find("{%", tag + 1)) {
      size_t at = tag + 2;
      const char sign =
          at < text().size() && (text()[at] == '-' || text()[at] == '+') ? text()[at] : 0;
      if (sign != 0) ++at;
      at += spaces_at(text(), at);
      if (!follows("endraw", at)) continue;
      at += 6;
      at += spaces_at(text(), at);
      const size_t end = end_of_tag("%}", at);
      if (end == kNowhere) continue;
      add_stripped(text().substr(at_, tag - at_), sign, false);
      return finish_tag(end);
    }
    if (at_ < text().size()) bad("Missing end of raw directive");
  }

  // The tokens of a tag, up to its end.
  void inside(bool is_variable) {
    std::vector<char> open;
    while (true) {
      if (at_ >= text().size()) bad("unexpected end of template");
      if (open.empty() && end_of_expression(is_variable)) return;
      if (const size_t spaces = spaces_at(text(), at_)) {
        advance(spaces);
      } else if (!number() && !name() && !string_literal()) {
        operation(&open);
      }
    }
  }

  bool end_of_expression(bool is_variable) {
    size_t end = kNowhere;
    if (!is_variable) {
      end = end_of_tag("%}", at_);
    } else if (follows("-}}", at_)) {
      end = at_ + 3 + spaces_at(text(), at_ + 3);
    } else if (follows("}}", at_)) {
      end = at_ + 2;
    }
    if (end == kNowhere) return false;
    add(is_variable ? TokenKind::kVariableEnd : TokenKind::kBlockEnd, "");
    finish_tag(end);
    return true;
  }

  // Digits with single underscores between them; kNowhere when none begin at `at`.
  size_t digits_end(size_t at) const {
    if (at >= text().size() || !is_digit(text()[at])) return kNowhere;
    while (at < text().size() &&
           (is_digit(text()[at]) ||
            (text()[at] == '_' && at + 1 < text().size() && is_digit(text()[at + 1])))) {
      ++at;
    }
    return at;
  }

  bool number() {
    if (!is_digit(peek())) return false;
    return real() || integer();
  }

  bool real() {
    if (at_ > 0 && text()[at_ - 1] == '.') return false;
    size_t end = digits_end(at_);
    bool is_real = false;
    if (follows(".", end)) {
      if (const size_t fraction = digits_end(end + 1); fraction != kNowhere) {
        end = fraction;
        is_real = true;
      }
    }
    if (end < text().size() && (text()[end] == 'e' || text()[end] == 'E')) {
      size_t exponent = end + 1;
      if (follows("+", exponent) || follows("-", exponent)) ++exponent;
      if (const size_t behind = digits_end(exponent); behind != kNowhere) {
        end = behind;
        is_real = true;
      }
    }
    if (!is_real) return false;
    const std::string digits = without_underscores(text().substr(at_, end - at_));
    double value = 0;
    const auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error == std::errc::result_out_of_range) {
      const size_t exponent = digits.find_first_of("eE");
      const bool tiny = exponent != kNowhere && digits[exponent + 1] == '-';
      value = tiny ? 0.0 : HUGE_VAL;
    }
    tokens_.push_back({.kind = TokenKind::kFloat, .number = value, .line = *line_});
    advance(end - at_);
    return true;
  }

  static std::string without_underscores(std::string_view digits) {
    std::string out(digits);
    std::erase(out, '_');
    return out;
  }

  bool integer() {
    int base = 10;
    if (peek() == '0') {
      const char mark = static_cast<char>(peek(1) | 0x20);
      base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 10;
    }
    size_t begin = at_;
    if (base != 10) {
      begin += 2;
      if (follows("_", begin)) ++begin;
      if (begin >= text().size() || !is_digit_of(base, text()[begin])) {
        base = 10;
        begin = at_;
      }
    }
    size_t end = begin;
    // A leading zero is followed by zeros only: "012" is two numbers, and so no expression.
    const bool zeros = base == 10 && text()[begin] == '0';
    while (end < text().size()) {
      const size_t digit = text()[end] == '_' && end > begin ? end + 1 : end;
      if (digit >= text().size() || !is_digit_of(base, text()[digit])) break;
      if (zeros && text()[digit] != '0') break;
      end = digit + 1;
    }
    const std::string digits = without_underscores(text().substr(begin, end - begin));
    int64_t value = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    if (parsed.ec != std::errc()) bad("an integer is beyond 64 bits");
    tokens_.push_back({.kind = TokenKind::kInteger, .integer = value, .line = *line_});
    advance(end - at_);
    return true;
  }

  static bool is_digit_of(int base, char c) {
    const int digit = hex_digit(c);
    return digit >= 0 && digit < base;
  }

  bool name() {
    size_t end = at_;
    while (end < text().size()) {
      const CodePoint c = code_point_at(text(), end);
      if (c.value != '_' && !is_word(c.value)) break;
      end += c.length;
    }
    if (end == at_) return false;
    add(TokenKind::kName, std::string(text().substr(at_, end - at_)));
    advance(end - at_);
    return true;
  }

  bool string_literal() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') return false;
    size_t end = at_ + 1;
    while (end < text().size() && text()[end] != quote) end += text()[end] == '\\' ? 2 : 1;
    if (end >= text().size()) bad("a string has no end");
    add(TokenKind::kString, StringDecoder().decode(text().substr(at_ + 1, end - at_ - 1)));
    advance(end + 1 - at_);
    return true;
  }

  void operation(std::vector<char>* open) {
    for (const std::string_view known : kOperators) {
      if (!follows(known, at_)) continue;
      const char c = known[0];
      if (c == '(' || c == '[' || c == '{') {
        open->push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
      } else if (c == ')' || c == ']' || c == '}') {
        if (open->empty()) bad(fmt::format("unexpected '{}'", c));
        if (open->back() != c) bad(fmt::format("unexpected '{}', expected '{}'", c, open->back()));
        open->pop_back();
      }
      add(TokenKind::kOperator, std::string(known));
      return advance(known.size());
    }
    bad("unexpected character in a tag");
  }

  const std::string source_;
  int* line_;
  size_t at_ = 0;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, int* line) {
  return Lexer(source, line).run();
}

}  // namespace hadal::jinja
