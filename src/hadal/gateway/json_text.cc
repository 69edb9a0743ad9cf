#include "hadal/gateway/json_text.h"

#include <algorithm>

#include "hadal/text/unicode.h"

namespace hadal::gateway {
namespace {

constexpr char32_t kReplacement = 0xfffd;

int hex_of(char32_t c) {
  if (c >= '0' && c <= '9') return static_cast<int>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<int>(c - 'a') + 10;
  if (c >= 'A' && c <= 'F') return static_cast<int>(c - 'A') + 10;
  return -1;
}

// Four digits from `at` on, each by `digit(i)`; -1: they are none.
template <class DigitAt>
int32_t hex4(DigitAt digit) {
  int32_t value = 0;
  for (size_t i = 0; i < 4; ++i) {
    const int one = hex_of(digit(i));
    if (one < 0) return -1;
    value = value * 16 + one;
  }
  return value;
}

bool is_high(int32_t c) { return c >= 0xd800 && c < 0xdc00; }
bool is_low(int32_t c) { return c >= 0xdc00 && c < 0xe000; }

// A one-letter escape's character; 0: there is no such escape.
char32_t escape(char32_t c) {
  switch (c) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case '"':
    case '\\':
    case '/':
      return c;
    default:
      return 0;
  }
}

JsonChar utf8_char(std::string_view raw, size_t at) {
  const Utf8Step step = utf8_step(raw.substr(at));
  if (!step.valid) return {kReplacement, std::max<size_t>(step.length, 1)};
  const auto byte = [&](size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(raw[at + i]));
  };
  switch (step.length) {
    case 1:
      return {byte(0), 1};
    case 2:
      return {((byte(0) & 0x1f) << 6) | (byte(1) & 0x3f), 2};
    case 3:
      return {((byte(0) & 0x0f) << 12) | ((byte(1) & 0x3f) << 6) | (byte(2) & 0x3f), 3};
    default:
      return {((byte(0) & 0x07) << 18) | ((byte(1) & 0x3f) << 12) | ((byte(2) & 0x3f) << 6) |
                  (byte(3) & 0x3f),
              4};
  }
}

// Scripts whose digits stand in a row from 0 to 9 and are common in text.
constexpr char32_t kZeros[] = {0x0660, 0x06f0, 0x07c0, 0x0966,  0x09e6,  0x0a66,  0x0ae6,  0x0b66,
                               0x0be6, 0x0c66, 0x0ce6, 0x0d66,  0x0e50,  0x0ed0,  0x0f20,  0x1040,
                               0x17e0, 0x1810, 0x2080, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6};

char32_t han_digit(char32_t c) {
  switch (c) {
    case U'〇':
    case U'零':
    case U'○':
      return '0';
    case U'一':
    case U'壹':
    case U'幺':
      return '1';
    case U'二':
    case U'贰':
      return '2';
    case U'三':
    case U'叁':
      return '3';
    case U'四':
    case U'肆':
      return '4';
    case U'五':
    case U'伍':
      return '5';
    case U'六':
    case U'陆':
      return '6';
    case U'七':
    case U'柒':
      return '7';
    case U'八':
    case U'捌':
      return '8';
    case U'九':
    case U'玖':
      return '9';
    default:
      return c;
  }
}

bool is_invisible(char32_t c) {
  return c == 0xad || c == 0x34f || c == 0x180e || (c >= 0x200b && c <= 0x200f) ||
         (c >= 0x202a && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0x20e3 ||
         (c >= 0xfe00 && c <= 0xfe0f) || c == 0xfeff || (c >= 0xe0000 && c <= 0xe0fff);
}

char32_t digit_of(char32_t c) {
  for (const char32_t zero : kZeros) {
    if (c >= zero && c < zero + 10) return '0' + (c - zero);
  }
  if (c == 0xb2 || c == 0xb3) return '0' + (c - 0xb0);
  if (c == 0xb9) return '1';
  if (c == 0x2070 || (c >= 0x2074 && c <= 0x2079)) return '0' + (c - 0x2070);
  if (c >= 0x2460 && c <= 0x2468) return '1' + (c - 0x2460);  // in circles
  if (c == 0x24ea) return '0';
  if (c >= 0x2776 && c <= 0x277e) return '1' + (c - 0x2776);
  return c;
}

}  // namespace

char32_t folded(char32_t c) {
  if (c < 0x80) return c;
  if (c >= 0xff01 && c <= 0xff5e) return c - 0xff01 + '!';
  if (c >= 0x4e00 && c <= 0x9fff) return c;
  if (is_invisible(c)) return 0;
  if (c == 0xa0 || c == 0x3000 || (c >= 0x2000 && c <= 0x200a) || c == 0x202f || c == 0x205f ||
      c == 0x1680) {
    return ' ';
  }
  if ((c >= 0x2010 && c <= 0x2015) || c == 0x2212 || c == 0xfe58 || c == 0xfe63 || c == 0x2043) {
    return '-';
  }
  if (c == 0xb7 || c == 0x2022 || c == 0x30fb || c == 0x2027 || c == 0x2024) return '.';
  if (c == 0x2028 || c == 0x2029 || c == 0x85) return '\n';
  return digit_of(c);
}

bool JsonTokens::next(JsonToken* token) {
  using Kind = JsonToken::Kind;
  const auto skip = [&](std::string_view what) {
    while (at_ < text_.size() && what.find(text_[at_]) != std::string_view::npos) ++at_;
  };
  skip(" \t\r\n,:");
  if (at_ >= text_.size()) return false;
  const char c = text_[at_];
  if (c == '{' || c == '[' || c == '}' || c == ']') {
    const bool open = c == '{' || c == '[';
    *token = {open ? Kind::kOpen : Kind::kClose, c == '{' || c == '}', at_, at_ + 1};
    ++at_;
    return true;
  }
  const size_t begin = at_;
  if (c != '"') {
    while (at_ < text_.size() &&
           std::string_view(" \t\r\n,:]}").find(text_[at_]) == std::string_view::npos) {
      ++at_;
    }
    const bool number = c == '-' || (c >= '0' && c <= '9');
    *token = {number ? Kind::kNumber : Kind::kWord, false, begin, at_};
    return true;
  }
  for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
    if (text_[at_] == '\\') ++at_;
  }
  const size_t end = std::min(at_, text_.size());
  at_ = std::min(at_ + 1, text_.size());
  skip(" \t\r\n");
  const bool key = at_ < text_.size() && text_[at_] == ':';
  *token = {key ? Kind::kKey : Kind::kString, false, begin + 1, end};
  return true;
}

JsonChar json_char(std::string_view raw, size_t at) {
  if (raw[at] != '\\') return utf8_char(raw, at);
  if (at + 1 >= raw.size()) return {'\\', 1};
  const auto digits = [&](size_t from) {
    return hex4([&](size_t i) -> char32_t {
      return from + i < raw.size() ? static_cast<unsigned char>(raw[from + i]) : U'\0';
    });
  };
  if (raw[at + 1] != 'u') {
    const char32_t c = escape(static_cast<unsigned char>(raw[at + 1]));
    if (c != 0) return {c, 2};
    return {'\\', 1};
  }
  const int32_t first = digits(at + 2);
  if (first < 0) return {'\\', 1};
  if (is_low(first)) return {kReplacement, 6};
  if (!is_high(first)) return {static_cast<char32_t>(first), 6};
  const bool pair = raw.substr(at + 6, 2) == "\\u";
  const int32_t second = pair ? digits(at + 8) : -1;
  if (!is_low(second)) return {kReplacement, 6};
  return {static_cast<char32_t>(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)), 12};
}

void TextReader::decode(std::string_view raw, size_t offset) {
  units_.clear();
  units_.reserve(raw.size());
  for (size_t at = 0; at < raw.size();) {
    const JsonChar one = json_char(raw, at);
    units_.push_back({one.c, static_cast<uint32_t>(offset + at),
                      static_cast<uint32_t>(offset + at + one.length)});
    at += one.length;
  }
}

// Once more. False: nothing changed.
bool TextReader::unescape(const std::vector<Unit>& from, std::vector<Unit>* to) {
  to->clear();
  bool changed = false;
  for (size_t i = 0; i < from.size();) {
    size_t length = 1;
    char32_t c = from[i].c;
    if (c == '\\' && i + 1 < from.size()) {
      if (from[i + 1].c == 'u') {
        const auto digits = [&](size_t at) {
          return hex4(
              [&](size_t k) -> char32_t { return at + k < from.size() ? from[at + k].c : U'\0'; });
        };
        const int32_t first = digits(i + 2);
        if (first >= 0) {
          length = 6;
          c = is_high(first) || is_low(first) ? kReplacement : static_cast<char32_t>(first);
        }
        const bool pair =
            is_high(first) && i + 7 < from.size() && from[i + 6].c == '\\' && from[i + 7].c == 'u';
        if (const int32_t second = pair ? digits(i + 8) : -1; is_low(second)) {
          length = 12;
          c = static_cast<char32_t>(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
        }
      } else if (const char32_t meant = escape(from[i + 1].c); meant != 0) {
        length = 2;
        c = meant;
      }
    }
    changed |= length > 1;
    to->push_back({c, from[i].begin, from[i + length - 1].end});
    i += length;
  }
  return changed;
}

void TextReader::fold(const std::vector<Unit>& units, bool han_digits) {
  if (readings_.size() == count_) readings_.emplace_back();
  FoldedText& out = readings_[count_++];
  out.direct = {};
  out.own.clear();
  out.begins.clear();
  out.ends.clear();
  for (const Unit& unit : units) {
    const char32_t c = han_digits ? han_digit(folded(unit.c)) : folded(unit.c);
    if (c == 0) continue;
    append_utf8(c, &out.own);
    out.begins.resize(out.own.size(), unit.begin);
    out.ends.resize(out.own.size(), unit.end);
  }
}

void TextReader::fold_all() {
  constexpr int kNumeralsMin = 3;  // fewer are words, and no number is hidden in them
  fold(units_, false);
  const auto numerals = std::count_if(units_.begin(), units_.end(), [](const Unit& unit) {
    return unit.c > 0x80 && han_digit(unit.c) < 0x80;
  });
  if (numerals >= kNumeralsMin) fold(units_, true);
}

std::span<const FoldedText> TextReader::read_units() {
  fold_all();
  for (int depth = 1; depth < kReadingsMax && unescape(units_, &next_); ++depth) {
    std::swap(units_, next_);
    fold_all();
  }
  return {readings_.data(), count_};
}

std::span<const FoldedText> TextReader::read_json(std::string_view raw, size_t offset) {
  count_ = 0;
  const bool simple = std::all_of(raw.begin(), raw.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x80 && c != '\\';
  });
  if (!simple) {
    decode(raw, offset);
    return read_units();
  }
  if (readings_.empty()) readings_.emplace_back();
  readings_[0].begins.clear();
  readings_[0].ends.clear();
  readings_[0].direct = raw;
  readings_[0].offset = offset;
  count_ = 1;
  return {readings_.data(), count_};
}

std::span<const FoldedText> TextReader::read_plain(std::string_view text, size_t offset) {
  count_ = 0;
  units_.clear();
  for (size_t at = 0; at < text.size();) {
    const JsonChar one = utf8_char(text, at);
    units_.push_back({one.c, static_cast<uint32_t>(offset + at),
                      static_cast<uint32_t>(offset + at + one.length)});
    at += one.length;
  }
  return read_units();
}

}  // namespace hadal::gateway
