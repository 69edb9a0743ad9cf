#include "hadal/text/jinja/filters.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "hadal/text/jinja/parser.h"
#include "hadal/text/jinja/python_text.h"

namespace hadal::jinja {
namespace {

using Kind = Value::Kind;

// A string of any value, markup kept: markupsafe.soft_str.
Value soft_str(const Value& value, Budget& budget) {
  return value.is_string() ? value : make_str(to_str(value, budget), budget);
}

Value upper(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("upper", arguments, {});
  return cased(soft_str(value, budget).as_str(), Case::kUpper, budget);
}

Value lower(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("lower", arguments, {});
  return cased(soft_str(value, budget).as_str(), Case::kLower, budget);
}

Value capitalize(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("capitalize", arguments, {});
  return capitalized(soft_str(value, budget).as_str(), budget);
}

// Unlike str.title: words begin behind white space and opening brackets, not behind any letter's
// end.
Value title(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("title", arguments, {});
  const Value text = soft_str(value, budget);
  const std::string& all = text.text();
  std::string out;
  bool first = true;
  for (size_t at = 0; at < all.size();) {
    const CodePoint c = code_point_at(all, at);
    const bool border =
        space_length(std::string_view(all).substr(at)) > 0 ||
        (c.value < 0x80 && std::string_view("-({[<").find(all[at]) != std::string_view::npos);
    append_case(all, at, first ? Case::kUpper : Case::kLower, &out);
    first = border;
    at += c.length;
  }
  return derived(std::move(out), text.as_str(), budget);
}

Value trim(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("trim", arguments, {"chars"});
  const Value text = soft_str(value, budget);
  const Str* chars = bound.has(0) && !bound[0].is_none() ? &bound.str(0) : nullptr;
  return stripped(text.as_str(), chars, Side::kBoth, budget);
}

Value replace(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("replace", arguments, {"old", "new", "count"}, 2);
  const int64_t count = bound.has(2) && !bound[2].is_none() ? bound.integer(2, -1) : -1;
  return replaced(to_str(value, budget), to_str(bound[0], budget), to_str(bound[1], budget), count,
                  budget);
}

Value string(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("string", arguments, {});
  return soft_str(value, budget);
}

Value safe(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("safe", arguments, {});
  Str out = to_str(value, budget);
  out.markup = true;
  return make_str(std::move(out), budget);
}

Value escape(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("escape", arguments, {});
  return escaped(value, budget);
}

Value force_escape(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("forceescape", arguments, {});
  return escaped(make_str(to_str(value, budget), budget), budget);
}

Value center(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("center", arguments, {"width"});
  return centered(soft_str(value, budget).as_str(), bound.integer(0, 80), budget);
}

Value format(const Value& value, const Arguments& arguments, Budget& budget) {
  const Value text = soft_str(value, budget);
  if (arguments.named.empty()) {
    return percent_format(text, make_tuple(arguments.positional, budget), budget);
  }
  if (!arguments.positional.empty())
    raise("can't handle positional and keyword arguments at the same time");
  Dict named;
  for (const auto& [name, argument] : arguments.named) named.set(name, argument);
  return percent_format(text, make_dict(std::move(named), budget), budget);
}

Value indent(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("indent", arguments, {"width", "first", "blank"});
  if (!value.is_string()) {
    if (value.is_undefined()) raise(value.undefined_message());
    raise(fmt::format("can only indent a string, not {}", type_name(value)));
  }
  Str indention;
  if (bound.has(0) && bound[0].is_string()) {
    indention = bound[0].as_str();
  } else {
    const int64_t width = std::max<int64_t>(bound.integer(0, 4), 0);
    budget.made(static_cast<uint64_t>(width));
    indention.append(std::string(static_cast<size_t>(width), ' '));
  }
  const bool blank = bound.flag(2);
  Str text = value.as_str();
  text.append("\n");
  const std::vector<Value> lines = split_lines(text, false, budget);
  Str out;
  out.markup = value.as_str().markup;
  if (bound.flag(1)) out.append(indention);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out.append("\n");
    if (i > 0 && (blank || !lines[i].text().empty())) {
      budget.made(indention.text.size());
      out.append(indention);
    }
    out.append(lines[i].as_str());
  }
  return make_str(std::move(out), budget);
}

Value truncate(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("truncate", arguments, {"length", "killwords", "end", "leeway"});
  const int64_t wanted = bound.integer(0, 255);
  const Str end = bound.has(2) ? bound.str(2) : make_text("...", budget).as_str();
  const int64_t leeway = bound.has(3) && !bound[3].is_none() ? bound.integer(3, 5) : 5;
  const auto end_length = static_cast<int64_t>(character_count(end.text));
  if (wanted < end_length) raise(fmt::format("expected length >= {}, got {}", end_length, wanted));
  if (leeway < 0) raise(fmt::format("expected leeway >= 0, got {}", leeway));
  const auto count = length(value);
  if (!count) raise(fmt::format("object of type '{}' has no len()", type_name(value)));
  if (*count <= wanted || *count - wanted <= leeway) return value;
  if (!value.is_string()) raise(fmt::format("a {} cannot be truncated", type_name(value)));
  const Str& text = value.as_str();
  size_t cut = byte_of_character(text.text, static_cast<size_t>(wanted - end_length));
  if (!bound.flag(1) && cut > 0) {
    const size_t space = text.text.rfind(' ', cut - 1);
    if (space != std::string::npos) cut = space;
  }
  Str out = text.slice(0, cut);
  out.append(end);
  return make_str(std::move(out), budget);
}

Value wordcount(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("wordcount", arguments, {});
  const Str text = to_str(value, budget);
  int64_t words = 0;
  bool inside = false;
  for (size_t at = 0; at < text.text.size();) {
    const CodePoint c = code_point_at(text.text, at);
    const bool word = c.value == '_' || is_word(c.value);
    words += word && !inside ? 1 : 0;
    inside = word;
    at += c.length;
  }
  return Value::integer(words);
}

// RFC 3986's unreserved characters and "/" stay.
void append_url_quoted(std::string_view text, bool query, std::string* out) {
  for (const char c : text) {
    const bool kept = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      std::string_view("_.-~").find(c) != std::string_view::npos ||
                      (c == '/' && !query);
    if (kept) {
      out->push_back(c);
    } else if (c == ' ' && query) {
      out->push_back('+');
    } else {
      out->append(fmt::format("%{:02X}", static_cast<uint8_t>(c)));
    }
  }
}

Value urlencode(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("urlencode", arguments, {});
  std::string out;
  if (value.is_string() || !is_iterable(value)) {
    const Str text = to_str(value, budget);
    append_url_quoted(text.text, false, &out);
    return derived(std::move(out), text, budget);
  }
  Str pairs;
  const auto add = [&](const Value& key, const Value& item) {
    const Str left = to_str(key, budget);
    const Str right = to_str(item, budget);
    std::string pair = pairs.text.empty() ? "" : "&";
    append_url_quoted(left.text, true, &pair);
    pair += "=";
    append_url_quoted(right.text, true, &pair);
    pairs.append(pair);
  };
  if (value.is_dict()) {
    for (const auto& [key, item] : value.as_dict().items()) add(key, item);
  } else {
    for (const Value& pair : to_list(value, budget)) {
      const std::vector<Value> both = to_list(pair, budget);
      if (both.size() != 2) raise("urlencode needs pairs");
      add(both[0], both[1]);
    }
  }
  return make_str(std::move(pairs), budget);
}

Value default_value(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("default", arguments, {"default_value", "boolean"});
  if (value.is_undefined() || (bound.flag(1) && !truthy(value))) {
    return bound.or_else(0, make_text("", budget));
  }
  return value;
}

// What float() and int() read: digits with single underscores, a sign, an exponent; inf and nan.
std::optional<double> parse_float(std::string_view text) {
  text = right_stripped(left_stripped(text));
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto is_digit = [&](size_t at) {
      return at < text.size() && text[at] >= '0' && text[at] <= '9';
    };
    if (text[i] == '_' && i > 0 && is_digit(i - 1) && is_digit(i + 1)) continue;
    digits.push_back(
        static_cast<char>(text[i] >= 'A' && text[i] <= 'Z' ? text[i] | 0x20 : text[i]));
  }
  const bool negative = digits.starts_with("-");
  if (negative || digits.starts_with("+")) digits.erase(0, 1);
  if (digits == "inf" || digits == "infinity") return negative ? -HUGE_VAL : HUGE_VAL;
  if (digits == "nan") return std::nan("");
  if (digits.empty() || (digits[0] != '.' && (digits[0] < '0' || digits[0] > '9')))
    return std::nullopt;
  double out = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
  if (error == std::errc::invalid_argument || end != digits.data() + digits.size())
    return std::nullopt;
  if (error == std::errc::result_out_of_range)
    out = digits.find("e-") == std::string::npos ? HUGE_VAL : 0;
  return negative ? -out : out;
}

std::optional<int64_t> parse_int(std::string_view text, int base) {
  text = right_stripped(left_stripped(text));
  std::string digits(text);
  const bool negative = digits.starts_with("-");
  if (negative || digits.starts_with("+")) digits.erase(0, 1);
  const char mark =
      digits.size() > 1 && digits[0] == '0' ? static_cast<char>(digits[1] | 0x20) : '\0';
  const int marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
  if (marked != 0 && (base == marked || base == 0)) {
    digits.erase(0, 2);
    base = marked;
  }
  if (base == 0) base = 10;
  std::string plain;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (digits[i] == '_' && i > 0 && digits[i - 1] != '_' && i + 1 < digits.size()) continue;
    plain.push_back(digits[i]);
  }
  if (plain.empty() || plain[0] == '-' || plain[0] == '+') return std::nullopt;
  if (negative) plain.insert(0, "-");
  int64_t out = 0;
  const auto [end, error] = std::from_chars(plain.data(), plain.data() + plain.size(), out, base);
  if (error == std::errc::result_out_of_range) raise("an integer is beyond 64 bits");
  if (error != std::errc() || end != plain.data() + plain.size()) return std::nullopt;
  return out;
}

std::optional<int64_t> truncated(double value) {
  if (std::isnan(value)) return std::nullopt;
  if (std::isinf(value)) raise("cannot convert float infinity to integer");
  if (!(std::abs(value) < 9.2e18)) raise("an integer grew beyond 64 bits");
  return static_cast<int64_t>(value);
}

Value to_int(const Value& value, const Arguments& arguments, Budget&) {
  const Bound bound("int", arguments, {"default", "base"});
  const int64_t base = bound.integer(1, 10);
  std::optional<int64_t> out;
  if (value.is_undefined()) raise(value.undefined_message());
  if (value.is_integral()) out = value.as_int();
  if (value.kind() == Kind::kFloat) out = truncated(value.as_double());
  if (value.is_string()) {
    if (base == 0 || (base >= 2 && base <= 36))
      out = parse_int(value.text(), static_cast<int>(base));
    if (!out) {
      if (const auto real = parse_float(value.text())) out = truncated(*real);
    }
  }
  return out ? Value::integer(*out) : bound.or_else(0, Value::integer(0));
}

Value to_float(const Value& value, const Arguments& arguments, Budget&) {
  const Bound bound("float", arguments, {"default"});
  if (value.is_undefined()) raise(value.undefined_message());
  if (value.is_number()) return Value::number(value.as_double());
  if (value.is_string()) {
    if (const auto real = parse_float(value.text())) return Value::number(*real);
  }
  return bound.or_else(0, Value::number(0));
}

Value absolute(const Value& value, const Arguments& arguments, Budget&) {
  const Bound bound("abs", arguments, {});
  if (value.is_undefined()) raise(value.undefined_message());
  if (!value.is_number()) raise(fmt::format("bad operand type for abs(): '{}'", type_name(value)));
  if (value.kind() == Kind::kFloat) return Value::number(std::abs(value.as_double()));
  return value.as_int() < 0 ? negative(value) : positive(value);
}

// round(value, precision): to the nearest decimal, ties of the exact binary value to even.
double rounded(double value, int64_t precision) {
  if (!std::isfinite(value) || precision > 300) return value;
  if (precision < -300) return std::copysign(0.0, value);
  if (precision >= 0) {
    const std::string text = fmt::format("{:.{}f}", value, static_cast<int>(precision));
    double out = 0;
    std::from_chars(text.data(), text.data() + text.size(), out);
    return out;
  }
  const double unit = std::pow(10.0, static_cast<double>(-precision));
  return std::nearbyint(value / unit) * unit;
}

Value round_integer(const Value& value, int64_t precision) {
  if (precision >= 0) return positive(value);
  if (precision < -18) return Value::integer(0);
  int64_t unit = 1;
  for (int64_t i = precision; i < 0; ++i) unit *= 10;
  const int64_t number = value.as_int();
  const int64_t rest = ((number % unit) + unit) % unit;
  const int64_t floor = number - rest;
  const bool up = rest * 2 > unit || (rest * 2 == unit && (floor / unit) % 2 != 0);
  return Value::integer(up ? floor + unit : floor);
}

Value round(const Value& value, const Arguments& arguments, Budget&) {
  const Bound bound("round", arguments, {"precision", "method"});
  const int64_t precision = bound.integer(0, 0);
  const std::string method = bound.has(1) ? bound.str(1).text : "common";
  if (value.is_undefined()) raise(value.undefined_message());
  if (method != "common" && method != "ceil" && method != "floor") {
    raise("method must be common, ceil or floor");
  }
  if (!value.is_number())
    raise(fmt::format("type {} doesn't define __round__ method", type_name(value)));
  if (method == "common") {
    return value.is_integral() ? round_integer(value, precision)
                               : Value::number(rounded(value.as_double(), precision));
  }
  const double unit = std::pow(10.0, static_cast<double>(precision));
  const double scaled = value.as_double() * unit;
  if (!std::isfinite(scaled)) raise("cannot convert float to integer");
  return Value::number((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit);
}

Value attribute(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("attr", arguments, {"name"}, 1);
  const std::string name = bound.str(0).text;
  if (value.is_dict() && !has_method(value, name)) {
    return Value::undefined(fmt::format("'dict object' has no attribute '{}'", name));
  }
  return get_attribute(value, name, budget);
}

constexpr std::array<std::pair<std::string_view, Filter>, 26> kFilters = {{
    {"abs", absolute},
    {"attr", attribute},
    {"capitalize", capitalize},
    {"center", center},
    {"d", default_value},
    {"default", default_value},
    {"e", escape},
    {"escape", escape},
    {"float", to_float},
    {"forceescape", force_escape},
    {"format", format},
    {"from_json", from_json},
    {"indent", indent},
    {"int", to_int},
    {"lower", lower},
    {"replace", replace},
    {"round", round},
    {"safe", safe},
    {"string", string},
    {"title", title},
    {"tojson", to_json},
    {"trim", trim},
    {"truncate", truncate},
    {"upper", upper},
    {"urlencode", urlencode},
    {"wordcount", wordcount},
}};

}  // namespace

Filter find_filter(std::string_view name) {
  for (const auto& [known, filter] : kFilters) {
    if (known == name && filter != nullptr) return filter;
  }
  return find_sequence_filter(name);
}

bool is_filter(std::string_view name) { return find_filter(name) != nullptr; }

}  // namespace hadal::jinja
