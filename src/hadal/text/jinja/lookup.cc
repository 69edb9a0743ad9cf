// Walking, printing and looking into values.
#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "hadal/text/jinja/methods.h"
#include "hadal/text/jinja/ops.h"
#include "hadal/text/jinja/python_text.h"

namespace hadal::jinja {
namespace {

using Kind = Value::Kind;

constexpr int kReprDepthMax = 250;

// As jinja2's messages call what an attribute was looked for in.
std::string object_repr(const Value& value) {
  if (value.is_none()) return "None";
  const std::string_view name = type_name(value);
  if (value.kind() == Kind::kObject) {
    switch (value.as_object().kind) {
      case Object::Kind::kNamespace:
      case Object::Kind::kJoiner:
      case Object::Kind::kCycler:
        return fmt::format("jinja2.utils.{} object", name);
      case Object::Kind::kMacro:
      case Object::Kind::kLoop:
        return fmt::format("jinja2.runtime.{} object", name);
      case Object::Kind::kGroup:
        return fmt::format("jinja2.filters.{} object", name);
      default:
        break;
    }
  }
  if (name == "Markup") return "markupsafe.Markup object";
  return fmt::format("{} object", name);
}

Value no_attribute(const Value& value, std::string_view name, Budget& budget) {
  std::string out;
  append_repr(object_repr(value), &out);
  out += " has no attribute ";
  append_repr(name, &out);
  budget.made(out.size());
  return Value::undefined(std::move(out));
}

Value no_element(const Value& value, const Value& key, Budget& budget) {
  if (key.is_string()) return no_attribute(value, key.text(), budget);
  Str out;
  out.append(object_repr(value) + " has no element ");
  append_repr(key, &out, budget);
  budget.made(out.text.size());
  return Value::undefined(std::move(out.text));
}

// The n-th item counted as Python does, nullopt beyond the ends.
std::optional<size_t> position(int64_t index, size_t size) {
  const auto count = static_cast<int64_t>(size);
  if (index < 0) index += count;
  if (index < 0 || index >= count) return std::nullopt;
  return static_cast<size_t>(index);
}

std::optional<Value> character(const Str& text, int64_t index, Budget& budget) {
  const size_t count = character_count(text.text);
  budget.work(text.text.size() / 16);
  const auto at = position(index, count);
  if (!at) return std::nullopt;
  const size_t begin = count == text.text.size() ? *at : byte_of_character(text.text, *at);
  return make_str(text.slice(begin, begin + code_point_at(text.text, begin).length), budget);
}

// value[key] without attributes; nullopt where Python has a TypeError or LookupError.
std::optional<Value> subscript(const Value& value, const Value& key, Budget& budget) {
  if (value.is_undefined()) raise(value.undefined_message());
  if (value.is_dict()) {
    budget.work(value.as_dict().size() < 16 ? 1 : 2);
    const Value* found = is_key(key) ? value.as_dict().find(key) : nullptr;
    return found == nullptr ? std::nullopt : std::optional(*found);
  }
  if (!key.is_integral()) return std::nullopt;
  if (value.is_string()) return character(value.as_str(), key.as_int(), budget);
  const std::vector<Value>* items = nullptr;
  if (value.is_sequence()) items = &value.items();
  if (value.kind() == Kind::kObject) {
    const Object& object = value.as_object();
    if (object.kind == Object::Kind::kGroup) items = &static_cast<const Group&>(object).pair;
    if (object.kind == Object::Kind::kRange) {
      const auto& range = static_cast<const Range&>(object);
      const auto at = position(key.as_int(), static_cast<size_t>(range.size()));
      if (at) return Value::integer(range.start + static_cast<int64_t>(*at) * range.step);
    }
  }
  if (items == nullptr) return std::nullopt;
  const auto at = position(key.as_int(), items->size());
  return at ? std::optional((*items)[*at]) : std::nullopt;
}

int64_t loop_length(Loop* loop, Budget& budget) {
  if (loop->length) return *loop->length;
  auto rest = std::make_shared<std::vector<Value>>();
  for (Value item; loop->pull(&item);) {
    budget.items(1);
    rest->push_back(std::move(item));
  }
  const auto left = static_cast<int64_t>(rest->size());
  loop->length = left + loop->index0 + 1 + (loop->has_after ? 1 : 0);
  loop->pull = [rest, next = size_t{0}](Value* out) mutable {
    if (next == rest->size()) return false;
    *out = std::move((*rest)[next++]);
    return true;
  };
  return *loop->length;
}

bool loop_peek(Loop* loop) {
  if (!loop->has_after) loop->has_after = loop->pull(&loop->after);
  return loop->has_after;
}

std::optional<Value> loop_attribute(Loop* loop, std::string_view name, Budget& budget) {
  if (name == "index0") return Value::integer(loop->index0);
  if (name == "index") return Value::integer(loop->index0 + 1);
  if (name == "first") return Value::boolean(loop->index0 == 0);
  if (name == "last") return Value::boolean(!loop_peek(loop));
  if (name == "length") return Value::integer(loop_length(loop, budget));
  if (name == "revindex") return Value::integer(loop_length(loop, budget) - loop->index0);
  if (name == "revindex0") return Value::integer(loop_length(loop, budget) - loop->index0 - 1);
  if (name == "depth") return Value::integer(loop->depth0 + 1);
  if (name == "depth0") return Value::integer(loop->depth0);
  if (name == "previtem") {
    return loop->index0 == 0 ? Value::undefined("there is no previous item") : loop->before;
  }
  if (name == "nextitem") {
    return loop_peek(loop) ? loop->after : Value::undefined("there is no next item");
  }
  return std::nullopt;
}

// What Python's objects have and its sandbox hides, so that its message can be given.
bool is_unsafe(const Value& value, std::string_view name) {
  constexpr std::array<std::string_view, 12> kHidden = {
      "__class__", "__dict__", "__dir__", "__doc__",    "__eq__",   "__getattribute__",
      "__hash__",  "__init__", "__new__", "__reduce__", "__repr__", "__str__"};
  return is_mutating_method(value, name) || std::ranges::find(kHidden, name) != kHidden.end();
}

// getattr(value, name): methods and properties, not elements.
std::optional<Value> attribute(const Value& value, const std::string& name, Budget& budget) {
  if (value.kind() == Kind::kObject) {
    Object& object = value.as_object();
    if (object.kind == Object::Kind::kNamespace) {
      const Value* found = static_cast<Namespace&>(object).values.find(name);
      if (found != nullptr) return *found;
    } else if (object.kind == Object::Kind::kLoop) {
      if (auto found = loop_attribute(&static_cast<Loop&>(object), name, budget)) return found;
    } else if (object.kind == Object::Kind::kGroup) {
      const auto& pair = static_cast<Group&>(object).pair;
      if (name == "grouper") return pair[0];
      if (name == "list") return pair[1];
    } else if (object.kind == Object::Kind::kMacro && name == "name") {
      return make_text(static_cast<Macro&>(object).definition->text, budget);
    } else if (object.kind == Object::Kind::kCycler && name == "current") {
      const auto& cycler = static_cast<Cycler&>(object);
      return cycler.items[cycler.next];
    }
  }
  if (is_unsafe(value, name)) {
    return Value::undefined(
        fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, type_name(value)));
  }
  if (has_method(value, name)) return make_object(std::make_shared<Method>(value, name), budget);
  return std::nullopt;
}

void append_joined(const std::vector<Value>& items, Str* out, Budget& budget, int depth) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out->append(", ");
    append_repr(items[i], out, budget, depth);
  }
}

void append_dict(const Dict& dict, Str* out, Budget& budget, int depth) {
  out->append("{");
  for (size_t i = 0; i < dict.size(); ++i) {
    if (i > 0) out->append(", ");
    append_repr(dict.items()[i].first, out, budget, depth);
    out->append(": ");
    append_repr(dict.items()[i].second, out, budget, depth);
  }
  out->append("}");
}

void append_object(const Value& value, Str* out, Budget& budget, int depth) {
  const Object& object = value.as_object();
  switch (object.kind) {
    case Object::Kind::kView: {
      const auto& view = static_cast<const View&>(object);
      out->append(std::string(view.type_name) + "([");
      append_joined(view.items, out, budget, depth);
      return out->append("])");
    }
    case Object::Kind::kRange: {
      const auto& range = static_cast<const Range&>(object);
      out->append(fmt::format("range({}, {}", range.start, range.stop));
      return out->append(range.step == 1 ? ")" : fmt::format(", {})", range.step));
    }
    case Object::Kind::kNamespace:
      out->append("<Namespace ");
      append_dict(static_cast<const Namespace&>(object).values, out, budget, depth);
      return out->append(">");
    case Object::Kind::kMacro: {
      const auto& definition = *static_cast<const Macro&>(object).definition;
      return out->append(definition.kind == StmtKind::kMacro
                             ? fmt::format("<Macro '{}'>", definition.text)
                             : "<Macro anonymous>");
    }
    case Object::Kind::kLoop: {
      auto& loop = static_cast<Loop&>(value.as_object());
      return out->append(
          fmt::format("<LoopContext {}/{}>", loop.index0 + 1, loop_length(&loop, budget)));
    }
    case Object::Kind::kGroup:
      out->append("(");
      append_joined(static_cast<const Group&>(object).pair, out, budget, depth);
      return out->append(")");
    default:
      // Python prints an address here, which no template can want.
      return out->append(fmt::format("<{} object>", type_name(value)));
  }
}

}  // namespace

std::optional<int64_t> length(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      return static_cast<int64_t>(character_count(value.text()));
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<int64_t>(value.items().size());
    case Kind::kDict:
      return static_cast<int64_t>(value.as_dict().size());
    case Kind::kObject:
      break;
    default:
      return std::nullopt;
  }
  const Object& object = value.as_object();
  if (object.kind == Object::Kind::kView) {
    return static_cast<int64_t>(static_cast<const View&>(object).items.size());
  }
  if (object.kind == Object::Kind::kRange) return static_cast<const Range&>(object).size();
  if (object.kind == Object::Kind::kGroup) return 2;
  return std::nullopt;
}

bool is_iterable(const Value& value) {
  if (value.kind() != Kind::kObject) return !value.is_number() && !value.is_none();
  switch (value.as_object().kind) {
    case Object::Kind::kGenerator:
    case Object::Kind::kView:
    case Object::Kind::kRange:
    case Object::Kind::kGroup:
      return true;
    default:
      return false;
  }
}

Iterator::Iterator(Value value, Budget& budget) : value_(std::move(value)), budget_(budget) {
  if (!is_iterable(value_)) raise(fmt::format("'{}' object is not iterable", type_name(value_)));
  if (value_.is_sequence()) items_ = &value_.items();
  if (value_.kind() != Kind::kObject) return;
  const Object& object = value_.as_object();
  if (object.kind == Object::Kind::kView) items_ = &static_cast<const View&>(object).items;
  if (object.kind == Object::Kind::kGroup) items_ = &static_cast<const Group&>(object).pair;
}

bool Iterator::next(Value* out) {
  budget_.work();
  if (items_ != nullptr) {
    if (at_ == items_->size()) return false;
    *out = (*items_)[at_++];
    return true;
  }
  if (value_.is_undefined()) return false;
  if (value_.is_string()) {
    const Str& text = value_.as_str();
    if (at_ == text.text.size()) return false;
    const size_t begin = at_;
    at_ += code_point_at(text.text, begin).length;
    Str one = text.slice(begin, at_);
    one.markup = false;
    *out = make_str(std::move(one), budget_);
    return true;
  }
  if (value_.is_dict()) {
    const auto& items = value_.as_dict().items();
    if (at_ == items.size()) return false;
    *out = items[at_++].first;
    return true;
  }
  if (value_.as_object().kind == Object::Kind::kRange) {
    const auto& range = static_cast<const Range&>(value_.as_object());
    if (static_cast<int64_t>(at_) >= range.size()) return false;
    *out = Value::integer(range.start + static_cast<int64_t>(at_++) * range.step);
    return true;
  }
  auto& generator = static_cast<Generator&>(value_.as_object());
  if (generator.next == generator.items.size()) return false;
  *out = std::move(generator.items[generator.next++]);
  return true;
}

std::vector<Value> to_list(const Value& value, Budget& budget) {
  Iterator walk(value, budget);
  std::vector<Value> out;
  for (Value item; walk.next(&item);) {
    budget.items(1);
    out.push_back(std::move(item));
  }
  return out;
}

Str to_str(const Value& value, Budget& budget) {
  if (value.is_string()) {
    budget.made(value.text().size());
    Str out = value.as_str();
    out.markup = false;
    return out;
  }
  Str out;
  if (!value.is_undefined()) append_repr(value, &out, budget);
  return out;
}

void append_repr(const Value& value, Str* out, Budget& budget, int depth) {
  if (depth > kReprDepthMax) Budget::over("nesting of lists and dictionaries");
  const size_t before = out->text.size();
  switch (value.kind()) {
    case Kind::kUndefined:
      out->append("Undefined");
      break;
    case Kind::kNone:
      out->append("None");
      break;
    case Kind::kBool:
      out->append(value.as_int() != 0 ? "True" : "False");
      break;
    case Kind::kInt:
      out->append(std::to_string(value.as_int()));
      break;
    case Kind::kFloat:
      out->append(float_repr(value.as_double()));
      break;
    case Kind::kString: {
      Str text;
      if (value.as_str().markup) text.text = "Markup(";
      append_repr(value.text(), &text.text);
      if (value.as_str().markup) text.text += ")";
      if (value.as_str().is_foreign()) text.foreign.push_back({0, text.text.size()});
      out->append(text);
      break;
    }
    case Kind::kList:
    case Kind::kTuple: {
      const bool list = value.kind() == Kind::kList;
      out->append(list ? "[" : "(");
      append_joined(value.items(), out, budget, depth + 1);
      out->append(list ? "]" : value.items().size() == 1 ? ",)" : ")");
      break;
    }
    case Kind::kDict:
      append_dict(value.as_dict(), out, budget, depth + 1);
      break;
    case Kind::kObject:
      append_object(value, out, budget, depth + 1);
      break;
  }
  if (value.depth() == 0) budget.made(out->text.size() - before);
  budget.work();
}

Value get_attribute(const Value& value, const std::string& name, Budget& budget) {
  if (value.is_undefined()) raise(value.undefined_message());
  if (value.is_dict() && !has_method(value, name) && !is_unsafe(value, name)) {
    budget.work(2);
    if (const Value* found = value.as_dict().find(name)) return *found;
    return no_attribute(value, name, budget);
  }
  if (auto found = attribute(value, name, budget)) return *found;
  return no_attribute(value, name, budget);
}

Value get_item(const Value& value, const Value& key, Budget& budget) {
  if (auto found = subscript(value, key, budget)) return *found;
  if (key.is_string()) {
    if (auto found = attribute(value, key.text(), budget)) return *found;
  }
  return no_element(value, key, budget);
}

Value get_slice(const Value& value, const Value& start, const Value& stop, const Value& step,
                Budget& budget) {
  if (value.is_undefined()) raise(value.undefined_message());
  const bool is_range =
      value.kind() == Kind::kObject && value.as_object().kind == Object::Kind::kRange;
  if (value.is_dict()) raise("unhashable type: 'slice'");
  if (!value.is_string() && !value.is_sequence() && !is_range) {
    raise(fmt::format("'{}' object is not subscriptable", type_name(value)));
  }
  const auto part = [](const Value& v, int64_t fallback) {
    if (v.is_none()) return fallback;
    if (v.is_integral()) return v.as_int();
    raise("slice indices must be integers or None or have an __index__ method");
  };
  const int64_t by = part(step, 1);
  if (by == 0) raise("slice step cannot be zero");
  const int64_t count = *length(value);
  const int64_t low = by > 0 ? 0 : -1;
  const int64_t high = by > 0 ? count : count - 1;
  const auto clamped = [&](const Value& v, int64_t fallback) {
    if (v.is_none()) return fallback;
    int64_t at = part(v, 0);
    if (at < 0) at = at < -count ? low : at + count;
    return std::clamp(at, low, high);
  };
  const int64_t from = clamped(start, by > 0 ? low : high);
  const int64_t to = clamped(stop, by > 0 ? high : low);
  budget.work(static_cast<uint64_t>(count) / 16 + 1);
  if (value.is_string() && by == 1) {
    const Str& text = value.as_str();
    const bool ascii = static_cast<size_t>(count) == text.text.size();
    if (to <= from) return make_str(text.slice(0, 0), budget);
    const auto byte = [&](int64_t i) {
      return ascii ? static_cast<size_t>(i) : byte_of_character(text.text, static_cast<size_t>(i));
    };
    return make_str(text.slice(byte(from), byte(to)), budget);
  }
  const std::vector<Value> all = to_list(value, budget);
  std::vector<Value> items;
  const Range picked(from, to, by);
  for (int64_t i = 0; i < picked.size(); ++i) {
    items.push_back(all[static_cast<size_t>(from + i * by)]);
  }
  if (value.is_string()) {
    Str out;
    out.markup = value.as_str().markup;
    for (const Value& item : items) out.append(item.as_str());
    return make_str(std::move(out), budget);
  }
  return value.kind() == Kind::kTuple ? make_tuple(std::move(items), budget)
                                      : make_list(std::move(items), budget);
}

}  // namespace hadal::jinja
