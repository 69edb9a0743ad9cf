#include "hadal/text/jinja/methods.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "hadal/text/jinja/python_text.h"

namespace hadal::jinja {
namespace {

using Kind = Value::Kind;
using StrMethod = Value (*)(const Str& self, const Arguments& arguments, Budget& budget);

constexpr size_t kNowhere = std::string::npos;

const Str* chars_of(const Bound& bound) {
  return bound.has(0) && !bound[0].is_none() ? &bound.str(0) : nullptr;
}

template <Side side>
Value strip(const Str& self, const Arguments& arguments, Budget& budget) {
  const Bound bound("strip", arguments, {"chars"});
  return stripped(self, chars_of(bound), side, budget);
}

template <bool from_right>
Value split(const Str& self, const Arguments& arguments, Budget& budget) {
  const Bound bound("split", arguments, {"sep", "maxsplit"});
  const int64_t limit = bound.integer(1, -1);
  const Str* separator = chars_of(bound);
  return make_list(separator == nullptr ? split_space(self, limit, from_right, budget)
                                        : split_at(self, *separator, limit, from_right, budget),
                   budget);
}

Value splitlines(const Str& self, const Arguments& arguments, Budget& budget) {
  const Bound bound("splitlines", arguments, {"keepends"});
  return make_list(split_lines(self, bound.flag(0), budget), budget);
}

template <bool from_right>
Value partition(const Str& self, const Arguments& arguments, Budget& budget) {
  const Bound bound("partition", arguments, {"sep"}, 1);
  const Str& separator = bound.str(0);
  if (separator.text.empty()) raise("empty separator");
  const size_t hit = from_right ? self.text.rfind(separator.text) : self.text.find(separator.text);
  const auto piece = [&](size_t begin, size_t end) {
    return make_str(self.slice(begin, end), budget);
  };
  const size_t end = self.text.size();
  if (hit == kNowhere) {
    const Value empty = piece(0, 0);
    return make_tuple(from_right ? std::vector<Value>{empty, empty, piece(0, end)}
                                 : std::vector<Value>{piece(0, end), empty, empty},
                      budget);
  }
  const size_t behind = hit + separator.text.size();
  return make_tuple({piece(0, hit), piece(hit, behind), piece(behind, end)}, budget);
}

// The part of `self` between two positions in characters, as find and startswith take them.
struct Window {
  size_t begin = 0, end = 0;
  bool valid = true;
};
Window window(const Str& self, const Bound& bound, Budget& budget) {
  const auto count = static_cast<int64_t>(character_count(self.text));
  budget.work(self.text.size() / 32);
  const auto clamped = [&](size_t i, int64_t fallback) {
    if (!bound.has(i) || bound[i].is_none()) return fallback;
    int64_t at = bound.integer(i, 0);
    if (at < 0) at = at < -count ? 0 : at + count;
    return at;
  };
  const int64_t begin = clamped(1, 0);
  const int64_t end = std::min(clamped(2, count), count);
  if (begin > count || begin > end) return {0, 0, false};
  return {byte_of_character(self.text, static_cast<size_t>(begin)),
          byte_of_character(self.text, static_cast<size_t>(end)), true};
}

template <bool at_end>
Value starts_or_ends(const Str& self, const Arguments& arguments, Budget& budget) {
  const Bound bound(at_end ? "endswith" : "startswith", arguments, {"prefix", "start", "end"}, 1);
  const Window part = window(self, bound, budget);
  const std::string_view text =
      std::string_view(self.text).substr(part.begin, part.end - part.begin);
  const auto matches = [&](const Value& affix) {
    if (!affix.is_string()) {
      raise(fmt::format("{} first arg must be str or a tuple of str, not {}",
                        at_end ? "endswith" : "startswith", type_name(affix)));
    }
    budget.work();
    return part.valid && (at_end ? text.ends_with(affix.text()) : text.starts_with(affix.text()));
  };
  if (bound[0].kind() != Kind::kTuple) return Value::boolean(matches(bound[0]));
  return Value::boolean(std::ranges::any_of(bound[0].items(), matches));
}

template <bool from_right, bool must>
Value find(const Str& self, const Arguments& arguments, Budget& budget) {
  const Bound bound("find", arguments, {"sub", "start", "end"}, 1);
  const Str& wanted = bound.str(0);
  const Window part = window(self, bound, budget);
  const std::string_view text =
      std::string_view(self.text).substr(part.begin, part.end - part.begin);
  const size_t hit = !part.valid  ? kNowhere
                     : from_right ? text.rfind(wanted.text)
                                  : text.find(wanted.text);
  if (hit != kNowhere) {
    const std::string_view before = std::string_view(self.text).substr(0, part.begin + hit);
    return Value::integer(static_cast<int64_t>(character_count(before)));
  }
  if (must) raise("substring not found");
  return Value::integer(-1);
}

Value count(const Str& self, const Arguments& arguments, Budget& budget) {
  const Bound bound("count", arguments, {"sub", "start", "end"}, 1);
  const Str& wanted = bound.str(0);
  const Window part = window(self, bound, budget);
  if (!part.valid) return Value::integer(0);
  const std::string_view text =
      std::string_view(self.text).substr(part.begin, part.end - part.begin);
  if (wanted.text.empty()) return Value::integer(static_cast<int64_t>(character_count(text)) + 1);
  int64_t found = 0;
  for (size_t at = text.find(wanted.text); at != kNowhere; at = text.find(wanted.text, at)) {
    ++found;
    at += wanted.text.size();
  }
  return Value::integer(found);
}

Value replace(const Str& self, const Arguments& arguments, Budget& budget) {
  const Bound bound("replace", arguments, {"old", "new", "count"}, 2);
  return replaced(self, bound.str(0), bound.str(1), bound.integer(2, -1), budget);
}

template <Case wanted>
Value change_case(const Str& self, const Arguments& arguments, Budget& budget) {
  const Bound bound("upper", arguments, {});
  return cased(self, wanted, budget);
}

Value capitalize(const Str& self, const Arguments& arguments, Budget& budget) {
  const Bound bound("capitalize", arguments, {});
  return capitalized(self, budget);
}

// Each run of cased characters: the first in title case.
Value title(const Str& self, const Arguments& arguments, Budget& budget) {
  const Bound bound("title", arguments, {});
  std::string out;
  bool inside = false;
  for (size_t at = 0; at < self.text.size();) {
    const CodePoint c = code_point_at(self.text, at);
    append_case(self.text, at, inside ? Case::kLower : Case::kTitle, &out);
    inside = is_cased(c.value);
    at += c.length;
  }
  return derived(std::move(out), self, budget);
}

Value swapcase(const Str& self, const Arguments& arguments, Budget& budget) {
  const Bound bound("swapcase", arguments, {});
  std::string out;
  for (size_t at = 0; at < self.text.size();) {
    const CodePoint c = code_point_at(self.text, at);
    if (is_upper(c.value)) {
      append_case(self.text, at, Case::kLower, &out);
    } else if (is_lower(c.value)) {
      append_case(self.text, at, Case::kUpper, &out);
    } else {
      out.append(self.text, at, c.length);
    }
    at += c.length;
  }
  return derived(std::move(out), self, budget);
}

Value join(const Str& self, const Arguments& arguments, Budget& budget) {
  const Bound bound("join", arguments, {"iterable"}, 1);
  return joined(self, bound[0], false, budget);
}

Value format(const Str& self, const Arguments& arguments, Budget& budget) {
  return brace_format(self, arguments, budget);
}

template <bool left, bool right>
Value justify(const Str& self, const Arguments& arguments, Budget& budget) {
  const Bound bound("ljust", arguments, {"width", "fillchar"}, 1);
  const std::string fill = bound.has(1) ? bound.str(1).text : " ";
  if (character_count(fill) != 1) raise("The fill character must be exactly one character long");
  const int64_t width = bound.integer(0, 0);
  const int64_t missing =
      std::max<int64_t>(width - static_cast<int64_t>(character_count(self.text)), 0);
  budget.made(static_cast<uint64_t>(missing) * fill.size());
  int64_t before = left ? missing : 0;
  if (left && right) before = missing / 2 + (missing & width & 1);
  Str out;
  const auto fill_in = [&](int64_t times) {
    for (; times > 0; --times) out.append(fill);
  };
  fill_in(before);
  out.append(self);
  fill_in(missing - before);
  return make_str(std::move(out), budget);
}

Value zfill(const Str& self, const Arguments& arguments, Budget& budget) {
  const Bound bound("zfill", arguments, {"width"}, 1);
  const int64_t missing =
      std::max<int64_t>(bound.integer(0, 0) - static_cast<int64_t>(character_count(self.text)), 0);
  budget.made(static_cast<uint64_t>(missing));
  const size_t sign = self.text.starts_with("-") || self.text.starts_with("+") ? 1 : 0;
  Str out;
  out.append(self, 0, sign);
  out.append(std::string(static_cast<size_t>(missing), '0'));
  out.append(self, sign, self.text.size());
  return make_str(std::move(out), budget);
}

Value removeprefix(const Str& self, const Arguments& arguments, Budget& budget) {
  const Bound bound("removeprefix", arguments, {"prefix"}, 1);
  const std::string& prefix = bound.str(0).text;
  return make_str(self.slice(self.text.starts_with(prefix) ? prefix.size() : 0, self.text.size()),
                  budget);
}

Value removesuffix(const Str& self, const Arguments& arguments, Budget& budget) {
  const Bound bound("removesuffix", arguments, {"suffix"}, 1);
  const std::string& suffix = bound.str(0).text;
  const size_t cut = self.text.ends_with(suffix) ? suffix.size() : 0;
  return make_str(self.slice(0, self.text.size() - cut), budget);
}

// All characters are such, and there is one.
template <bool (*is)(uint32_t)>
Value all_are(const Str& self, const Arguments& arguments, Budget& budget) {
  const Bound bound("is", arguments, {});
  budget.work(self.text.size() / 16);
  for (size_t at = 0; at < self.text.size();) {
    const CodePoint c = code_point_at(self.text, at);
    if (!is(c.value)) return Value::boolean(false);
    at += c.length;
  }
  return Value::boolean(!self.text.empty());
}

bool is_space(uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}
bool is_ascii(uint32_t c) { return c < 0x80; }

// Some character has case, and all that have are such.
template <bool (*is)(uint32_t)>
Value cased_are(const Str& self, const Arguments& arguments, Budget& budget) {
  const Bound bound("is", arguments, {});
  budget.work(self.text.size() / 16);
  bool any = false;
  for (size_t at = 0; at < self.text.size();) {
    const CodePoint c = code_point_at(self.text, at);
    if (is_cased(c.value) && !is(c.value)) return Value::boolean(false);
    any = any || is(c.value);
    at += c.length;
  }
  return Value::boolean(any);
}

Value isascii(const Str& self, const Arguments& arguments, Budget& budget) {
  const Value all = all_are<is_ascii>(self, arguments, budget);
  return Value::boolean(self.text.empty() || truthy(all));
}

constexpr std::array<std::pair<std::string_view, StrMethod>, 40> kStrMethods = {{
    {"capitalize", capitalize},
    {"casefold", change_case<Case::kLower>},
    {"center", justify<true, true>},
    {"count", count},
    {"endswith", starts_or_ends<true>},
    {"find", find<false, false>},
    {"format", format},
    {"index", find<false, true>},
    {"isalnum", all_are<is_word>},
    {"isalpha", all_are<is_alpha>},
    {"isascii", isascii},
    {"isdecimal", all_are<is_decimal>},
    {"isdigit", all_are<is_decimal>},
    {"islower", cased_are<is_lower>},
    {"isnumeric", all_are<is_decimal>},
    {"isprintable", all_are<is_printable>},
    {"isspace", all_are<is_space>},
    {"isupper", cased_are<is_upper>},
    {"join", join},
    {"ljust", justify<false, true>},
    {"lower", change_case<Case::kLower>},
    {"lstrip", strip<Side::kLeft>},
    {"partition", partition<false>},
    {"removeprefix", removeprefix},
    {"removesuffix", removesuffix},
    {"replace", replace},
    {"rfind", find<true, false>},
    {"rindex", find<true, true>},
    {"rjust", justify<true, false>},
    {"rpartition", partition<true>},
    {"rsplit", split<true>},
    {"rstrip", strip<Side::kRight>},
    {"split", split<false>},
    {"splitlines", splitlines},
    {"startswith", starts_or_ends<false>},
    {"strip", strip<Side::kBoth>},
    {"swapcase", swapcase},
    {"title", title},
    {"upper", change_case<Case::kUpper>},
    {"zfill", zfill},
}};

StrMethod str_method(std::string_view name) {
  const auto* at = std::ranges::lower_bound(kStrMethods, name, {},
                                            &std::pair<std::string_view, StrMethod>::first);
  return at != kStrMethods.end() && at->first == name ? at->second : nullptr;
}

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::ranges::find(names, name) != names.end();
}

Value call_dict_method(const Value& self, std::string_view name, const Arguments& arguments,
                       Budget& budget) {
  const Dict& dict = self.as_dict();
  if (name == "get") {
    const Bound bound("get", arguments, {"key", "default"}, 1);
    if (!arguments.named.empty()) raise("get() takes no keyword arguments");
    if (!is_key(bound[0])) raise(fmt::format("unhashable type: '{}'", type_name(bound[0])));
    const Value* found = dict.find(bound[0]);
    return found != nullptr ? *found : bound.or_else(1, Value::none());
  }
  const Bound bound(name, arguments, {});
  if (name == "copy") return self;
  std::vector<Value> items;
  for (const auto& [key, value] : dict.items()) {
    if (name == "keys") items.push_back(key);
    if (name == "values") items.push_back(value);
    if (name == "items") items.push_back(make_tuple({key, value}, budget));
  }
  budget.items(items.size());
  const char* type = name == "keys" ? "dict_keys" : name == "values" ? "dict_values" : "dict_items";
  return make_object(std::make_shared<View>(type, std::move(items)), budget);
}

Value call_list_method(const Value& self, std::string_view name, const Arguments& arguments,
                       Budget& budget) {
  if (name == "copy") return self;
  const Bound bound(name, arguments, {"value"}, 1);
  int64_t found = 0;
  for (size_t i = 0; i < self.items().size(); ++i) {
    if (!equal(self.items()[i], bound[0], budget)) continue;
    if (name == "index") return Value::integer(static_cast<int64_t>(i));
    ++found;
  }
  if (name == "index") raise("the value is not in the list");
  return Value::integer(found);
}

}  // namespace

Bound::Bound(std::string_view callee, const Arguments& arguments,
             std::initializer_list<std::string_view> names, size_t required)
    : callee_(callee), values_(names.size(), nullptr) {
  if (arguments.positional.size() > names.size()) {
    raise(fmt::format("{}() takes at most {} arguments ({} given)", callee, names.size(),
                      arguments.positional.size()));
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto* at = std::ranges::find(names, name);
    if (at == names.end()) {
      raise(fmt::format("{}() got an unexpected keyword argument '{}'", callee, name));
    }
    const auto i = static_cast<size_t>(at - names.begin());
    if (values_[i] != nullptr)
      raise(fmt::format("{}() got multiple values for argument '{}'", callee, name));
    values_[i] = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (values_[i] == nullptr) {
      raise(fmt::format("{}() missing a required argument: '{}'", callee, *(names.begin() + i)));
    }
  }
}

int64_t Bound::integer(size_t i, int64_t fallback) const {
  return has(i) ? to_index(*values_[i]) : fallback;
}

bool Bound::flag(size_t i, bool fallback) const { return has(i) ? truthy(*values_[i]) : fallback; }

const Str& Bound::str(size_t i) const {
  const Value& value = *values_[i];
  if (!value.is_string()) {
    raise(fmt::format("{}() argument {} must be str, not {}", callee_, i + 1, type_name(value)));
  }
  return value.as_str();
}

bool has_method(const Value& value, std::string_view name) {
  switch (value.kind()) {
    case Kind::kString:
      return str_method(name) != nullptr;
    case Kind::kDict:
      return is_one_of(name, {"items", "keys", "values", "get", "copy"});
    case Kind::kList:
      return is_one_of(name, {"index", "count", "copy"});
    case Kind::kTuple:
      return is_one_of(name, {"index", "count"});
    case Kind::kObject:
      break;
    default:
      return false;
  }
  if (value.as_object().kind == Object::Kind::kLoop) return is_one_of(name, {"cycle", "changed"});
  return value.as_object().kind == Object::Kind::kCycler && is_one_of(name, {"next", "reset"});
}

bool is_mutating_method(const Value& value, std::string_view name) {
  if (value.is_dict()) return is_one_of(name, {"clear", "pop", "popitem", "setdefault", "update"});
  // jinja2 3.1.2 forgets list.pop and list.clear; nothing here can change a list.
  return value.kind() == Kind::kList && is_one_of(name, {"append", "clear", "extend", "insert",
                                                         "pop", "remove", "reverse", "sort"});
}

Value call_method(const Value& self, const std::string& name, const Arguments& arguments,
                  Budget& budget) {
  budget.work();
  if (self.is_string()) {
    budget.work(self.text().size() / 32);
    return str_method(name)(self.as_str(), arguments, budget);
  }
  if (self.is_dict()) return call_dict_method(self, name, arguments, budget);
  if (self.is_sequence()) return call_list_method(self, name, arguments, budget);
  if (self.as_object().kind == Object::Kind::kCycler) {
    auto& cycler = static_cast<Cycler&>(self.as_object());
    const Bound bound(name, arguments, {});
    if (name == "reset") {
      cycler.next = 0;
      return Value::none();
    }
    const Value out = cycler.items[cycler.next];
    cycler.next = (cycler.next + 1) % cycler.items.size();
    return out;
  }
  auto& loop = static_cast<Loop&>(self.as_object());
  if (!arguments.named.empty()) raise(name + "() takes no keyword arguments");
  if (name == "cycle") {
    if (arguments.positional.empty()) raise("no items for cycling given");
    return arguments.positional[static_cast<size_t>(loop.index0) % arguments.positional.size()];
  }
  const Value now = make_tuple(arguments.positional, budget);
  if (loop.last_changed && equal(*loop.last_changed, now, budget)) return Value::boolean(false);
  loop.last_changed = now;
  return Value::boolean(true);
}

}  // namespace hadal::jinja
