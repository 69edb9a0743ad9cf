// Numbers that people write with spaces and dashes in them, or a digit at a time. A window of a run
// of digits counts when it begins and ends where a group of digits does, and either is written as
// such numbers are, or with the same separator throughout that does not go on beyond it, or is all
// of the run: so that a table of numbers is not full of bank cards.
#include <algorithm>
#include <array>
#include <initializer_list>
#include <string>

#include "hadal/gateway/detect_parts.h"

namespace hadal::gateway {
namespace {

constexpr size_t kGapMax = 3;  // bytes between two digits of a number

// Between a digit and the one before it.
enum class Gap : uint8_t { kNone, kSpace, kDash, kDot, kLine, kMixed };

Gap gap_of(char c) {
  switch (c) {
    case ' ':
    case '\t':
      return Gap::kSpace;
    case '-':
    case '_':
      return Gap::kDash;
    case '.':
      return Gap::kDot;
    case '\n':
    case '\r':
      return Gap::kLine;
    case '(':
    case ')':
    case '/':
      return Gap::kMixed;
    default:
      return Gap::kNone;
  }
}

struct Digits {
  std::string digits;
  std::vector<size_t> at;  // in the text
  std::vector<Gap> gaps;   // before each digit; the first has none
  size_t end = 0;          // behind the run

  size_t size() const { return digits.size(); }
  // Whether a window may begin or end before digit i.
  bool is_edge(size_t i) const { return i == 0 || i == size() || gaps[i] != Gap::kNone; }
  std::string_view window(size_t i, size_t length) const {
    return std::string_view(digits).substr(i, length);
  }
};

Digits read_digits(std::string_view text, size_t at) {
  Digits run;
  Gap gap = Gap::kNone;
  for (size_t since = 0; at < text.size() && since <= kGapMax; ++at) {
    if (is_digit(text[at])) {
      run.digits += text[at];
      run.at.push_back(at);
      run.gaps.push_back(gap);
      run.end = at + 1;
      gap = Gap::kNone;
      since = 0;
      continue;
    }
    const Gap here = gap_of(text[at]);
    if (here == Gap::kNone) break;
    gap = gap == Gap::kNone || gap == here ? here : Gap::kMixed;
    ++since;
  }
  return run;
}

// The lengths of the groups of a window are exactly these.
bool is_grouped(const Digits& run, size_t begin, size_t length,
                std::initializer_list<size_t> groups) {
  size_t at = begin;
  for (const size_t group : groups) {
    for (size_t i = 1; i < group; ++i) {
      if (at + i >= begin + length || run.gaps[at + i] != Gap::kNone) return false;
    }
    at += group;
    if (at > begin + length || (at < begin + length && run.gaps[at] == Gap::kNone)) return false;
  }
  return at == begin + length;
}

bool is_written_as_one(const Digits& run, size_t begin, size_t length) {
  const size_t end = begin + length;
  if (begin == 0 && end == run.size()) return true;
  Gap within = Gap::kNone;
  for (size_t i = begin + 1; i < end; ++i) {
    if (run.gaps[i] == Gap::kNone) continue;
    if (within != Gap::kNone && run.gaps[i] != within) return false;
    within = run.gaps[i];
  }
  if (within == Gap::kNone) return true;
  return within != Gap::kMixed && (begin == 0 || run.gaps[begin] != within) &&
         (end == run.size() || run.gaps[end] != within);
}

// In the middle of short groups that all have the same gap between them: no number is written so
// that it begins here.
bool is_within_row(const Digits& run, size_t begin) {
  constexpr size_t kGroupMin = 3;
  if (begin == 0) return false;
  for (size_t i = 1; i < kGroupMin && begin + i < run.size(); ++i) {
    if (run.gaps[begin + i] != Gap::kNone) return run.gaps[begin + i] == run.gaps[begin];
  }
  return false;
}

bool is_card_shape(const Digits& run, size_t begin, size_t length) {
  switch (length) {
    case 14:
      if (is_grouped(run, begin, length, {4, 6, 4})) return true;
      break;
    case 15:
      if (is_grouped(run, begin, length, {4, 6, 5})) return true;
      break;
    case 16:
      if (is_grouped(run, begin, length, {4, 4, 4, 4})) return true;
      break;
    case 17:
      if (is_grouped(run, begin, length, {4, 4, 4, 4, 1})) return true;
      break;
    case 18:
      if (is_grouped(run, begin, length, {4, 4, 4, 4, 2})) return true;
      break;
    case 19:
      if (is_grouped(run, begin, length, {4, 4, 4, 4, 3}) ||
          is_grouped(run, begin, length, {6, 13})) {
        return true;
      }
      break;
    default:
      break;
  }
  return is_written_as_one(run, begin, length);
}

bool is_mobile(std::string_view digits) {
  return digits.size() == 11 && digits[0] == '1' && digits[1] >= '3';
}

// Lengths of a number from its first digit on: a mobile one, with or without 86 before it.
bool is_mobile_window(const Digits& run, size_t begin, size_t length) {
  const std::string_view digits = run.window(begin, length);
  size_t before = 0;
  if (length == 13 && digits.starts_with("86")) before = 2;
  if (length == 15 && digits.starts_with("0086")) before = 4;
  if (length == 12 && digits.starts_with("0")) before = 1;
  if (!is_mobile(digits.substr(before))) return false;
  if (before > 0 && run.gaps[begin + before] != Gap::kNone) return false;  // found without it
  return is_grouped(run, begin, length, {before + 3, 4, 4}) ||
         is_written_as_one(run, begin, length);
}

bool is_fixed_line(const Digits& run, size_t begin, size_t length) {
  const std::string_view digits = run.window(begin, length);
  if (digits[0] == '0' && digits[1] != '0') {
    if (length == 11 && (digits[1] == '1' || digits[1] == '2') &&
        (is_grouped(run, begin, length, {11}) || is_grouped(run, begin, length, {3, 4, 4}))) {
      return true;
    }
    const size_t area = digits[1] <= '2' ? 3 : 4;
    return length > area + 6 && length <= area + 8 &&
           (is_grouped(run, begin, length, {area, length - area}) ||
            is_grouped(run, begin, length, {area, length - area - 4, 4}));
  }
  // North America; also the service numbers of China, 400-820-8820.
  return length == 10 && digits[0] >= '2' && digits[3] >= '2' &&
         is_grouped(run, begin, length, {3, 3, 4});
}

// +COUNTRY ...: the longest that ends with a group.
size_t international(const Digits& run) {
  constexpr size_t kLeast = 8, kMost = 15;  // E.164
  if (run.digits[0] == '0') return 0;
  for (size_t length = std::min(kMost, run.size()); length >= kLeast; --length) {
    if (run.is_edge(length)) return length;
  }
  return 0;
}

void add(const Digits& run, Finding finding, size_t begin, size_t length,
         std::vector<Found>* found) {
  found->push_back({finding, run.at[begin], run.at[begin + length - 1] + 1});
}

void find_id_card(std::string_view text, const Digits& run, size_t begin,
                  std::vector<Found>* found) {
  if (begin + 17 > run.size()) return;
  if (begin + 18 <= run.size() && run.is_edge(begin + 18) && is_id_card(run.window(begin, 18))) {
    return add(run, Finding::kIdCard, begin, 18, found);
  }
  // An X may end it, which is no digit, and so ends the run.
  if (begin + 17 != run.size()) return;
  size_t x = run.end;
  while (x < text.size() && x < run.end + kGapMax && gap_of(text[x]) != Gap::kNone) ++x;
  if (x >= text.size() || lower(text[x]) != 'x') return;
  if (!is_id_card(std::string(run.window(begin, 17)) + "X")) return;
  found->push_back({Finding::kIdCard, run.at[begin], x + 1});
}

}  // namespace

bool is_id_card(std::string_view digits) {
  if (digits.size() != 18) return false;
  int sum = 0, weight = 1;
  for (size_t i = 18; i-- > 0;) {
    const char c = digits[i];
    const bool x = i == 17 && c == 'X';
    if (!is_digit(c) && !x) return false;
    sum += (x ? 10 : c - '0') * weight;
    weight = weight * 2 % 11;
  }
  const auto number = [&](size_t at, size_t length) {
    int value = 0;
    for (size_t i = at; i < at + length; ++i) value = value * 10 + (digits[i] - '0');
    return value;
  };
  const int year = number(6, 4), month = number(10, 2), day = number(12, 2);
  return sum % 11 == 1 && digits[0] >= '1' && digits[0] <= '9' && year >= 1850 && year <= 2199 &&
         month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

bool is_bank_card(std::string_view digits) {
  const size_t length = digits.size();
  if (length < 13 || length > 19 || !std::all_of(digits.begin(), digits.end(), is_digit)) {
    return false;
  }
  const auto prefix = [&](size_t count) {
    int value = 0;
    for (size_t i = 0; i < count; ++i) value = value * 10 + (digits[i] - '0');
    return value;
  };
  const int two = prefix(2), three = prefix(3), four = prefix(4);
  bool issued = false;
  if (length == 13) issued = two / 10 == 4;
  if (length == 14) issued = two == 36 || two == 38 || two == 39 || (three >= 300 && three <= 305);
  if (length == 15) issued = two == 34 || two == 37;
  if (length >= 16) {
    issued = (digits[0] >= '3' && digits[0] <= '6') || digits[0] == '9' ||
             (four >= 2200 && four <= 2720);
  }
  if (!issued) return false;
  int sum = 0;
  for (size_t i = 0; i < length; ++i) {
    const int digit = digits[length - 1 - i] - '0';
    const int twice = digit * 2;
    sum += i % 2 == 0 ? digit : twice > 9 ? twice - 9 : twice;
  }
  return sum % 10 == 0 && digits.find_first_not_of(digits[0]) != std::string_view::npos;
}

size_t detect_numbers(std::string_view text, size_t at, Findings wanted,
                      std::vector<Found>* found) {
  constexpr size_t kShortest = 10;  // of the windows below; +COUNTRY may have fewer
  constexpr size_t kLongest = 19;
  const Digits run = read_digits(text, at);
  const bool phones = (wanted & only(Finding::kPhone)) != 0;
  const bool plus = at > 0 && text[at - 1] == '+' && (at < 2 || !is_word(text[at - 2]));
  if (const size_t length = phones && plus ? international(run) : 0; length > 0) {
    add(run, Finding::kPhone, 0, length, found);
  }
  if (run.size() < kShortest) return run.end;
  for (size_t begin = 0; begin + kShortest <= run.size(); ++begin) {
    if (!run.is_edge(begin)) continue;
    if ((wanted & only(Finding::kIdCard)) != 0) find_id_card(text, run, begin, found);
    if (is_within_row(run, begin)) continue;
    const size_t longest = std::min(kLongest, run.size() - begin);
    for (size_t length = kShortest; length <= longest; ++length) {
      if (!run.is_edge(begin + length)) continue;
      if (phones && (is_mobile_window(run, begin, length) || is_fixed_line(run, begin, length))) {
        add(run, Finding::kPhone, begin, length, found);
      }
      if ((wanted & only(Finding::kBankCard)) != 0 && is_bank_card(run.window(begin, length)) &&
          is_card_shape(run, begin, length)) {
        add(run, Finding::kBankCard, begin, length, found);
      }
    }
  }
  return run.end;
}

}  // namespace hadal::gateway
