// "..." % arguments and "...".format(...).
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "hadal/base/ascii.h"
#include "hadal/text/jinja/methods.h"

namespace hadal::jinja {
namespace {

constexpr int kWidthMax = 10'000;

struct Spec {
  std::string flags;
  int width = 0;
  int precision = -1;
};

void pad(Str text, const Spec& spec, bool zeros, Str* out) {
  const auto count = static_cast<int>(character_count(text.text));
  const auto missing = static_cast<size_t>(std::max(spec.width - count, 0));
  if (spec.flags.find('-') != std::string::npos) {
    out->append(text);
    out->append(std::string(missing, ' '));
  } else if (zeros) {
    const size_t sign = text.text[0] == '-' || text.text[0] == '+' || text.text[0] == ' ' ? 1 : 0;
    out->append(text, 0, sign);
    out->append(std::string(missing, '0'));
    out->append(text, sign, text.text.size());
  } else {
    out->append(std::string(missing, ' '));
    out->append(text);
  }
}

std::string signed_text(std::string digits, bool negative, const Spec& spec) {
  if (negative) return "-" + digits;
  if (spec.flags.find('+') != std::string::npos) return "+" + digits;
  return spec.flags.find(' ') != std::string::npos ? " " + digits : digits;
}

std::string integer_text(int64_t value, char kind, const Spec& spec) {
  const bool negative = value < 0;
  const uint64_t magnitude =
      negative ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  const bool marked = spec.flags.find('#') != std::string::npos;
  std::string digits;
  std::string mark;
  if (kind == 'x') digits = fmt::format("{:x}", magnitude), mark = "0x";
  if (kind == 'X') digits = fmt::format("{:X}", magnitude), mark = "0X";
  if (kind == 'o') digits = fmt::format("{:o}", magnitude), mark = "0o";
  if (digits.empty()) digits = std::to_string(magnitude);
  while (static_cast<int>(digits.size()) < spec.precision) digits.insert(0, "0");
  return signed_text(marked ? mark + digits : digits, negative, spec);
}

std::string float_text(double value, char kind, const Spec& spec) {
  const bool upper = kind >= 'A' && kind <= 'Z';
  if (!std::isfinite(value)) {
    std::string text = std::isnan(value) ? "nan" : "inf";
    if (upper) text = std::isnan(value) ? "NAN" : "INF";
    return signed_text(text, std::signbit(value) && !std::isnan(value), spec);
  }
  const std::string format =
      fmt::format("{{:{}.{}{}}}", spec.flags.find('#') != std::string::npos ? "#" : "",
                  spec.precision < 0 ? 6 : spec.precision, kind);
  return signed_text(fmt::format(fmt::runtime(format), std::abs(value)), std::signbit(value), spec);
}

// Truncates to `precision` characters.
Str cut(Str text, const Spec& spec) {
  if (spec.precision < 0) return text;
  return text.slice(0, byte_of_character(text.text, static_cast<size_t>(spec.precision)));
}

class PercentFormatter {
 public:
  PercentFormatter(const Value& format, const Value& arguments, Budget& budget)
      : format_(format.as_str()), arguments_(arguments), budget_(budget) {
    if (arguments.kind() == Value::Kind::kTuple) list_ = &arguments.items();
  }

  Value run() {
    const std::string& text = format_.text;
    while (at_ < text.size()) {
      const size_t percent = std::min(text.find('%', at_), text.size());
      out_.append(format_, at_, percent);
      at_ = percent;
      if (at_ < text.size()) directive();
      budget_.work();
    }
    const bool is_mapping = arguments_.is_dict() || arguments_.is_undefined() ||
                            arguments_.kind() == Value::Kind::kList;
    if (list_ == nullptr ? used_ == 0 && !is_mapping : used_ < list_->size()) {
      raise("not all arguments converted during string formatting");
    }
    out_.markup = format_.markup;
    return make_str(std::move(out_), budget_);
  }

 private:
  char take() {
    if (at_ == format_.text.size()) raise("incomplete format");
    return format_.text[at_++];
  }

  const Value& argument() {
    if (list_ == nullptr && used_ == 0) {
      ++used_;
      return arguments_;
    }
    if (list_ == nullptr || used_ >= list_->size()) raise("not enough arguments for format string");
    return (*list_)[used_++];
  }

  int number(char* c) {
    if (*c == '*') {
      const int64_t value = to_index(argument());
      if (value < 0 || value > kWidthMax) raise("a width in a format is not between 0 and 10000");
      *c = take();
      return static_cast<int>(value);
    }
    int value = 0;
    for (; is_digit(*c); *c = take()) {
      value = value * 10 + (*c - '0');
      if (value > kWidthMax) raise("a width in a format is over 10000");
    }
    return value;
  }

  void directive() {
    ++at_;
    char c = take();
    const Value* named = nullptr;
    if (c == '(') {
      const size_t close = format_.text.find(')', at_);
      if (close == std::string::npos) raise("incomplete format key");
      if (!arguments_.is_dict()) raise("format requires a mapping");
      const std::string key = format_.text.substr(at_, close - at_);
      named = arguments_.as_dict().find(key);
      if (named == nullptr) raise(fmt::format("'{}'", key));
      at_ = close + 1;
      c = take();
    }
    Spec spec;
    for (; std::string_view("-+ #0").find(c) != std::string_view::npos; c = take()) {
      spec.flags.push_back(c);
    }
    spec.width = number(&c);
    if (c == '.') {
      c = take();
      spec.precision = number(&c);
    }
    while (c == 'l' || c == 'h' || c == 'L') c = take();
    if (c == '%') return out_.append("%");
    convert(c, named == nullptr ? argument() : *named, spec);
  }

  void convert(char c, const Value& value, const Spec& spec) {
    const bool zeros = spec.flags.find('0') != std::string::npos;
    Str text;
    switch (c) {
      case 's':
        return pad(cut(to_str(value, budget_), spec), spec, false, &out_);
      case 'r':
      case 'a':
        append_repr(value, &text, budget_);
        return pad(cut(std::move(text), spec), spec, false, &out_);
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        if (!value.is_number() ||
            (value.kind() == Value::Kind::kFloat && (c == 'x' || c == 'X' || c == 'o'))) {
          if (value.is_undefined()) raise(value.undefined_message());
          raise(fmt::format("%{} format: a number is required, not {}", c, type_name(value)));
        }
        text.append(
            integer_text(value.is_integral() ? value.as_int() : whole(value.as_double()), c, spec));
        return pad(std::move(text), spec, zeros, &out_);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        if (value.is_undefined()) raise(value.undefined_message());
        if (!value.is_number()) raise(fmt::format("must be real number, not {}", type_name(value)));
        text.append(float_text(value.as_double(), c, spec));
        return pad(std::move(text), spec, zeros && std::isfinite(value.as_double()), &out_);
      case 'c':
        if (!value.is_string() || character_count(value.text()) != 1)
          raise("%c requires int or char");
        return pad(value.as_str(), spec, false, &out_);
      default:
        raise(fmt::format("unsupported format character '{}'",
                          is_printable(static_cast<uint8_t>(c)) ? c : '?'));
    }
  }

  static int64_t whole(double value) {
    if (!(std::abs(value) < 9.2e18)) raise("an integer grew beyond 64 bits");
    return static_cast<int64_t>(value);
  }

  const Str& format_;
  const Value& arguments_;
  Budget& budget_;
  const std::vector<Value>* list_ = nullptr;
  size_t used_ = 0;
  size_t at_ = 0;
  Str out_;
};

// {}, {0}, {name}, {name.attribute[key]}, with !r or !s; a width or type after ":" is refused.
class BraceFormatter {
 public:
  BraceFormatter(const Str& format, const Arguments& arguments, Budget& budget)
      : format_(format), arguments_(arguments), budget_(budget) {}

  Value run() {
    const std::string& text = format_.text;
    for (size_t at = 0; at < text.size();) {
      budget_.work();
      const size_t mark = std::min(text.find_first_of("{}", at), text.size());
      out_.append(format_, at, mark);
      at = mark;
      if (at == text.size()) break;
      if (at + 1 < text.size() && text[at + 1] == text[at]) {
        out_.append(format_, at, at + 1);
        at += 2;
        continue;
      }
      if (text[at] == '}') raise("Single '}' encountered in format string");
      const size_t close = text.find('}', at);
      if (close == std::string::npos) raise("expected '}' before end of string");
      field(text.substr(at + 1, close - at - 1));
      at = close + 1;
    }
    out_.markup = format_.markup;
    return make_str(std::move(out_), budget_);
  }

 private:
  void field(const std::string& inside) {
    const size_t end = std::min(inside.find_first_of("!:"), inside.size());
    const std::string_view rest = std::string_view(inside).substr(end);
    if (!rest.empty() && rest != "!r" && rest != "!s" && rest != ":") {
      raise("a format specification inside {} is not supported");
    }
    const Value value = find(inside.substr(0, end));
    if (rest == "!r") {
      append_repr(value, &out_, budget_);
    } else {
      out_.append(to_str(value, budget_));
    }
  }

  Value find(const std::string& path) {
    const size_t end = std::min(path.find_first_of(".["), path.size());
    Value value = first(path.substr(0, end));
    for (size_t at = end; at < path.size();) {
      const bool item = path[at] == '[';
      const size_t stop =
          std::min(item ? path.find(']', at) : path.find_first_of(".[", at + 1), path.size());
      const std::string name = path.substr(at + 1, stop - at - 1);
      if (name.empty()) raise("Empty attribute in format string");
      if (item && is_number(name)) {
        value = get_item(value, Value::integer(std::stoll(name)), budget_);
      } else {
        value = item ? get_item(value, Value::string(name), budget_)
                     : get_attribute(value, name, budget_);
      }
      at = item ? stop + 1 : stop;
    }
    return value;
  }

  static bool is_number(const std::string& text) {
    return !text.empty() && text.size() < 18 && std::ranges::all_of(text, is_digit);
  }

  Value first(const std::string& name) {
    if (name.empty() || is_number(name)) {
      if (numbering_ && *numbering_ != name.empty()) raise("cannot switch between {} and {0}");
      numbering_ = name.empty();
      const size_t index = name.empty() ? next_++ : std::stoull(name);
      if (index >= arguments_.positional.size()) {
        raise(fmt::format("Replacement index {} out of range for positional args tuple", index));
      }
      return arguments_.positional[index];
    }
    for (const auto& [known, value] : arguments_.named) {
      if (known == name) return value;
    }
    raise(fmt::format("'{}'", name));
  }

  const Str& format_;
  const Arguments& arguments_;
  Budget& budget_;
  size_t next_ = 0;
  std::optional<bool> numbering_;  // automatic
  Str out_;
};

}  // namespace

Value percent_format(const Value& format, const Value& arguments, Budget& budget) {
  return PercentFormatter(format, arguments, budget).run();
}

Value brace_format(const Str& format, const Arguments& arguments, Budget& budget) {
  return BraceFormatter(format, arguments, budget).run();
}

}  // namespace hadal::jinja
