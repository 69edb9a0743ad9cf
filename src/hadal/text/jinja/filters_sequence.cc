// Filters over sequences.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>

#include "hadal/text/jinja/filters.h"
#include "hadal/text/jinja/python_text.h"

namespace hadal::jinja {
namespace {

using Getter = std::function<Value(const Value&)>;

Value fold_case(Value value, bool fold, Budget& budget) {
  return fold && value.is_string() ? cased(value.as_str(), Case::kLower, budget) : std::move(value);
}

// "a.b.0" as jinja2's make_attrgetter takes it; none: the item itself.
Getter getter(const Value& path, const Value* fallback, bool fold, Budget& budget) {
  std::vector<Value> parts;
  if (path.is_string()) {
    const std::string& text = path.text();
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find('.', begin), text.size());
      const std::string part = text.substr(begin, end - begin);
      const bool digits = !part.empty() && part.size() < 18 &&
                          std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; });
      parts.push_back(digits ? Value::integer(std::stoll(part)) : Value::string(part));
      begin = end + 1;
    }
  } else if (!path.is_none()) {
    parts.push_back(path);
  }
  std::optional<Value> otherwise;
  if (fallback != nullptr && !fallback->is_none()) otherwise = *fallback;
  return [parts, otherwise, fold, &budget](const Value& item) {
    Value found = item;
    for (const Value& part : parts) {
      found = get_item(found, part, budget);
      if (otherwise && found.is_undefined()) found = *otherwise;
    }
    return fold_case(std::move(found), fold, budget);
  };
}

Value attribute_of(const Bound& bound, size_t i) { return bound.or_else(i, Value::none()); }

Value length_of(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("length", arguments, {});
  const auto count = length(value);
  if (!count) raise(fmt::format("object of type '{}' has no len()", type_name(value)));
  if (value.is_string()) budget.work(value.text().size() / 64);
  return Value::integer(*count);
}

Value list(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("list", arguments, {});
  return make_list(to_list(value, budget), budget);
}

Value first(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("first", arguments, {});
  Iterator walk(value, budget);
  Value out;
  return walk.next(&out) ? out : Value::undefined("No first item, sequence was empty.");
}

bool is_reversible(const Value& value) {
  if (value.kind() != Value::Kind::kObject) return is_iterable(value) && !value.is_undefined();
  const Object::Kind kind = value.as_object().kind;
  return kind == Object::Kind::kView || kind == Object::Kind::kRange ||
         kind == Object::Kind::kGroup;
}

Value last(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("last", arguments, {});
  if (value.is_undefined()) return Value::undefined("No last item, sequence was empty.");
  if (!is_reversible(value)) raise(fmt::format("'{}' object is not reversible", type_name(value)));
  if (value.is_sequence() && !value.items().empty()) return value.items().back();
  const std::vector<Value> items = to_list(value, budget);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

Value reverse(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("reverse", arguments, {});
  if (!is_iterable(value)) raise("argument must be iterable");
  std::vector<Value> items = to_list(value, budget);
  std::ranges::reverse(items);
  if (value.is_string()) {
    Str out;
    out.markup = value.as_str().markup;
    for (const Value& item : items) out.append(item.as_str());
    return make_str(std::move(out), budget);
  }
  return is_reversible(value) ? make_generator(std::move(items), budget)
                              : make_list(std::move(items), budget);
}

Value join(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("join", arguments, {"d", "attribute"});
  const Str separator = bound.has(0) ? to_str(bound[0], budget) : Str();
  const Value attribute = attribute_of(bound, 1);
  if (attribute.is_none()) return joined(separator, value, true, budget);
  const Getter get = getter(attribute, nullptr, false, budget);
  std::vector<Value> items = to_list(value, budget);
  for (Value& item : items) item = get(item);
  return joined(separator, make_list(std::move(items), budget), true, budget);
}

Value items(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("items", arguments, {});
  std::vector<Value> out;
  if (!value.is_undefined()) {
    if (!value.is_dict()) raise("Can only get item pairs from a mapping.");
    for (const auto& [key, item] : value.as_dict().items())
      out.push_back(make_tuple({key, item}, budget));
  }
  return make_generator(std::move(out), budget);
}

// The rest of the arguments behind the first `count`.
Arguments tail(const Arguments& arguments, size_t count) {
  Arguments out;
  out.positional.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(count),
                        arguments.positional.end());
  out.named = arguments.named;
  return out;
}

const std::string& name_of(const Value& value, const char* what) {
  if (!value.is_string()) raise(fmt::format("No {} named {}.", what, type_name(value)));
  return value.text();
}

Value map(const Value& value, const Arguments& arguments, Budget& budget) {
  std::vector<Value> out;
  if (!truthy(value)) return make_generator(std::move(out), budget);
  Getter apply;
  if (arguments.positional.empty()) {
    const Bound bound("map", arguments, {"attribute", "default"});
    if (!bound.has(0)) raise("map requires a filter argument");
    apply = getter(bound[0], bound.has(1) ? &bound[1] : nullptr, false, budget);
  } else {
    const std::string& name = name_of(arguments.positional[0], "filter");
    const Filter filter = find_filter(name);
    if (filter == nullptr) raise(fmt::format("No filter named '{}'.", name));
    apply = [filter, rest = tail(arguments, 1), &budget](const Value& item) {
      return filter(item, rest, budget);
    };
  }
  out = to_list(value, budget);
  for (Value& item : out) item = apply(item);
  return make_generator(std::move(out), budget);
}

template <bool by_attribute, bool wanted>
Value select(const Value& value, const Arguments& arguments, Budget& budget) {
  std::vector<Value> out;
  if (!truthy(value)) return make_generator(std::move(out), budget);
  constexpr size_t kName = by_attribute ? 1 : 0;
  if (by_attribute && arguments.positional.empty()) raise("Missing parameter for attribute name");
  Test test = nullptr;
  Arguments rest;
  if (arguments.positional.size() > kName) {
    const std::string& name = name_of(arguments.positional[kName], "test");
    test = find_test(name);
    if (test == nullptr) raise(fmt::format("No test named '{}'.", name));
    rest = tail(arguments, kName + 1);
  }
  Getter get;
  if (by_attribute) get = getter(arguments.positional[0], nullptr, false, budget);
  Iterator walk(value, budget);
  for (Value item; walk.next(&item);) {
    const Value looked_at = by_attribute ? get(item) : item;
    const bool passes = test == nullptr ? truthy(looked_at) : test(looked_at, rest, budget);
    if (passes == wanted) out.push_back(std::move(item));
  }
  return make_generator(std::move(out), budget);
}

struct Keyed {
  Value key;
  Value item;
};

void sort_keyed(std::vector<Keyed>* items, bool reverse, Budget& budget) {
  const auto before = [&budget](const Keyed& a, const Keyed& b) {
    return less(a.key, b.key, "<", budget);
  };
  // Stable in both directions, as Python's sort is.
  if (reverse) std::ranges::reverse(*items);
  std::stable_sort(items->begin(), items->end(), before);
  if (reverse) std::ranges::reverse(*items);
}

std::vector<Keyed> keyed(const Value& value, const Getter& get, Budget& budget) {
  std::vector<Keyed> out;
  Iterator walk(value, budget);
  for (Value item; walk.next(&item);) {
    budget.items(2);
    Value key = get(item);
    out.push_back({std::move(key), std::move(item)});
  }
  return out;
}

// |sort(attribute="a,b") sorts by several.
Getter multi_getter(const Value& path, bool fold, Budget& budget) {
  std::vector<Getter> getters;
  if (path.is_string()) {
    const std::string& text = path.text();
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find(',', begin), text.size());
      getters.push_back(
          getter(Value::string(text.substr(begin, end - begin)), nullptr, fold, budget));
      begin = end + 1;
    }
  } else {
    getters.push_back(getter(path, nullptr, fold, budget));
  }
  return [getters, &budget](const Value& item) {
    std::vector<Value> keys;
    for (const Getter& get : getters) keys.push_back(get(item));
    return make_list(std::move(keys), budget);
  };
}

Value sort(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  std::vector<Keyed> pairs =
      keyed(value, multi_getter(attribute_of(bound, 2), !bound.flag(1), budget), budget);
  sort_keyed(&pairs, bound.flag(0), budget);
  std::vector<Value> out;
  for (Keyed& pair : pairs) out.push_back(std::move(pair.item));
  return make_list(std::move(out), budget);
}

Value dictsort(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  const std::string by = bound.has(1) ? bound.str(1).text : "key";
  if (by != "key" && by != "value") raise("You can only sort by either \"key\" or \"value\"");
  if (value.is_undefined()) raise(value.undefined_message());
  if (!value.is_dict())
    raise(fmt::format("'{}' object has no attribute 'items'", type_name(value)));
  std::vector<Keyed> pairs;
  for (const auto& [key, item] : value.as_dict().items()) {
    pairs.push_back({fold_case(by == "key" ? key : item, !bound.flag(0), budget),
                     make_tuple({key, item}, budget)});
  }
  sort_keyed(&pairs, bound.flag(2), budget);
  std::vector<Value> out;
  for (Keyed& pair : pairs) out.push_back(std::move(pair.item));
  return make_list(std::move(out), budget);
}

Value unique(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("unique", arguments, {"case_sensitive", "attribute"});
  const Getter get = getter(attribute_of(bound, 1), nullptr, !bound.flag(0), budget);
  Dict seen;
  std::vector<Value> out;
  Iterator walk(value, budget);
  for (Value item; walk.next(&item);) {
    const size_t before = seen.size();
    set_item(&seen, get(item), Value::none(), budget);
    if (seen.size() > before) out.push_back(std::move(item));
  }
  return make_generator(std::move(out), budget);
}

template <bool want_max>
Value extreme(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound(want_max ? "max" : "min", arguments, {"case_sensitive", "attribute"});
  const std::vector<Keyed> pairs =
      keyed(value, getter(attribute_of(bound, 1), nullptr, !bound.flag(0), budget), budget);
  if (pairs.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  const Keyed* best = &pairs[0];
  for (const Keyed& pair : pairs) {
    if (&pair == best) continue;
    const bool better =
        want_max ? less(best->key, pair.key, ">", budget) : less(pair.key, best->key, "<", budget);
    if (better) best = &pair;
  }
  return best->item;
}

Value sum(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("sum", arguments, {"attribute", "start"});
  const Getter get = getter(attribute_of(bound, 0), nullptr, false, budget);
  Value total = bound.or_else(1, Value::integer(0));
  if (total.is_string()) raise("sum() can't sum strings [use ''.join(seq) instead]");
  Iterator walk(value, budget);
  for (Value item; walk.next(&item);) {
    Value next = get(item);
    total = binary(Op::kAdd, std::move(total), std::move(next), budget);
  }
  return total;
}

Value groupby(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  const bool fold = !bound.flag(2);
  const Value* fallback = bound.has(1) ? &bound[1] : nullptr;
  std::vector<Keyed> pairs = keyed(value, getter(bound[0], fallback, fold, budget), budget);
  sort_keyed(&pairs, false, budget);
  const Getter shown = getter(bound[0], fallback, false, budget);
  std::vector<Value> out;
  for (size_t begin = 0; begin < pairs.size();) {
    size_t end = begin;
    std::vector<Value> members;
    while (end < pairs.size() && equal(pairs[end].key, pairs[begin].key, budget)) {
      members.push_back(pairs[end++].item);
    }
    Value key = shown(members[0]);
    out.push_back(make_object(
        std::make_shared<Group>(std::move(key), make_list(std::move(members), budget)), budget));
    begin = end;
  }
  return make_list(std::move(out), budget);
}

Value batch(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("batch", arguments, {"linecount", "fill_with"}, 1);
  const int64_t wanted = bound.integer(0, 0);
  const bool fills = bound.has(1) && !bound[1].is_none();
  std::vector<Value> out;
  std::vector<Value> row;
  const auto flush = [&] {
    out.push_back(make_list(std::move(row), budget));
    row.clear();
  };
  Iterator walk(value, budget);
  for (Value item; walk.next(&item);) {
    if (static_cast<int64_t>(row.size()) == wanted) flush();
    row.push_back(std::move(item));
  }
  if (!row.empty()) {
    while (fills && static_cast<int64_t>(row.size()) < wanted) {
      budget.items(1);
      row.push_back(bound[1]);
    }
    flush();
  }
  return make_generator(std::move(out), budget);
}

Value slice(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("slice", arguments, {"slices", "fill_with"}, 1);
  const int64_t slices = bound.integer(0, 0);
  const std::vector<Value> all = to_list(value, budget);
  const auto count = static_cast<int64_t>(all.size());
  if (slices == 0) raise("integer division or modulo by zero");
  std::vector<Value> out;
  for (int64_t i = 0, at = 0; i < slices; ++i) {
    const bool extra = i < count % slices;
    const int64_t end = at + count / slices + (extra ? 1 : 0);
    std::vector<Value> row(all.begin() + at, all.begin() + end);
    if (bound.has(1) && !bound[1].is_none() && !extra) row.push_back(bound[1]);
    out.push_back(make_list(std::move(row), budget));
    at = end;
  }
  return make_generator(std::move(out), budget);
}

constexpr std::array<std::pair<std::string_view, Filter>, 22> kFilters = {{
    {"batch", batch},
    {"count", length_of},
    {"dictsort", dictsort},
    {"first", first},
    {"groupby", groupby},
    {"items", items},
    {"join", join},
    {"last", last},
    {"length", length_of},
    {"list", list},
    {"map", map},
    {"max", extreme<true>},
    {"min", extreme<false>},
    {"reject", select<false, false>},
    {"rejectattr", select<true, false>},
    {"reverse", reverse},
    {"select", select<false, true>},
    {"selectattr", select<true, true>},
    {"slice", slice},
    {"sort", sort},
    {"sum", sum},
    {"unique", unique},
}};

}  // namespace

Filter find_sequence_filter(std::string_view name) {
  for (const auto& [known, filter] : kFilters) {
    if (known == name) return filter;
  }
  return nullptr;
}

}  // namespace hadal::jinja
