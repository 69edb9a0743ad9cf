#include "hadal/text/jinja/ops.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "hadal/text/jinja/methods.h"
#include "hadal/text/jinja/python_text.h"

namespace hadal::jinja {
namespace {

using Kind = Value::Kind;

const char* sign_of(Op op) {
  constexpr std::array<const char*, 15> kSigns = {
      "+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "in", "not in"};
  return kSigns[static_cast<size_t>(op)];
}

[[noreturn]] void unsupported(Op op, const Value& a, const Value& b) {
  if (a.is_undefined()) raise(a.undefined_message());
  if (b.is_undefined()) raise(b.undefined_message());
  raise(fmt::format("unsupported operand type(s) for {}: '{}' and '{}'", sign_of(op), type_name(a),
                    type_name(b)));
}

[[noreturn]] void overflow() { raise("an integer grew beyond 64 bits"); }

// -1, 0, 1; 2 when one is not a number.
int order(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) {
    return a.as_int() < b.as_int() ? -1 : a.as_int() > b.as_int() ? 1 : 0;
  }
  const double x = a.as_double();
  const double y = b.as_double();
  return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
}

bool equal_items(const std::vector<Value>& a, const std::vector<Value>& b, Budget& budget) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!equal(a[i], b[i], budget)) return false;
  }
  return true;
}

bool equal_dicts(const Dict& a, const Dict& b, Budget& budget) {
  if (a.size() != b.size()) return false;
  for (const auto& [key, value] : a.items()) {
    budget.work();
    const Value* other = b.find(key);
    if (other == nullptr || !equal(value, *other, budget)) return false;
  }
  return true;
}

Value integer_result(Op op, int64_t a, int64_t b) {
  int64_t out = 0;
  switch (op) {
    case Op::kAdd:
      if (__builtin_add_overflow(a, b, &out)) overflow();
      return Value::integer(out);
    case Op::kSubtract:
      if (__builtin_sub_overflow(a, b, &out)) overflow();
      return Value::integer(out);
    case Op::kMultiply:
      if (__builtin_mul_overflow(a, b, &out)) overflow();
      return Value::integer(out);
    case Op::kDivide:
      if (b == 0) raise("division by zero");
      return Value::number(static_cast<double>(a) / static_cast<double>(b));
    case Op::kFloorDivide:
    case Op::kModulo: {
      if (b == 0) raise("integer division or modulo by zero");
      if (b == -1)
        return op == Op::kModulo ? Value::integer(0) : integer_result(Op::kSubtract, 0, a);
      const bool down = a % b != 0 && (a < 0) != (b < 0);
      if (op == Op::kFloorDivide) return Value::integer(a / b - (down ? 1 : 0));
      return Value::integer(a % b + (down ? b : 0));
    }
    default:
      break;
  }
  if (b < 0) {
    if (a == 0) raise("0.0 cannot be raised to a negative power");
    return Value::number(std::pow(static_cast<double>(a), static_cast<double>(b)));
  }
  out = 1;
  for (int64_t base = a; b > 0; b >>= 1) {
    if ((b & 1) != 0 && __builtin_mul_overflow(out, base, &out)) overflow();
    if (b > 1 && __builtin_mul_overflow(base, base, &base)) overflow();
  }
  return Value::integer(out);
}

Value float_result(Op op, double a, double b) {
  switch (op) {
    case Op::kAdd:
      return Value::number(a + b);
    case Op::kSubtract:
      return Value::number(a - b);
    case Op::kMultiply:
      return Value::number(a * b);
    case Op::kDivide:
      if (b == 0) raise("float division by zero");
      return Value::number(a / b);
    case Op::kFloorDivide:
    case Op::kModulo: {
      if (b == 0) raise("float floor division or modulo by zero");
      double rest = std::fmod(a, b);
      double whole = (a - rest) / b;
      if (rest != 0 && (rest < 0) != (b < 0)) {
        rest += b;
        whole -= 1;
      }
      if (op == Op::kModulo) return Value::number(rest == 0 ? std::copysign(0.0, b) : rest);
      if (whole == 0) return Value::number(std::copysign(0.0, a / b));
      const double floor = std::floor(whole);
      return Value::number(whole - floor > 0.5 ? floor + 1 : floor);
    }
    default:
      break;
  }
  if (a == 0 && b < 0) raise("0.0 cannot be raised to a negative power");
  const double out = std::pow(a, b);
  if (std::isnan(out) && !std::isnan(a) && !std::isnan(b))
    raise("complex numbers are not supported");
  if (std::isinf(out) && !std::isinf(a) && !std::isinf(b))
    raise("(34, 'Numerical result out of range')");
  return Value::number(out);
}

Value add_strings(Value a, Value b, Budget& budget) {
  const bool markup = a.as_str().markup || b.as_str().markup;
  if (markup && !a.as_str().markup) a = escaped(a, budget);
  if (markup && !b.as_str().markup) b = escaped(b, budget);
  budget.made(b.text().size());
  if (Str* mine = a.unique_str()) {  // nobody else sees it: grow it, as CPython does
    mine->append(b.as_str());
    mine->markup = markup;
    return a;
  }
  budget.made(a.text().size());
  Str out = a.as_str();
  out.append(b.as_str());
  out.markup = markup;
  return Value::str(std::move(out));
}

Value repeated(const Value& sequence, const Value& count, Budget& budget) {
  const uint64_t times = count.as_int() > 0 ? static_cast<uint64_t>(count.as_int()) : 0;
  const uint64_t unit = sequence.is_string() ? sequence.text().size() : sequence.items().size();
  if (unit != 0 && times > budget.limits().bytes / unit) Budget::over("memory");
  if (sequence.is_string()) {
    budget.made(unit * times);
    Str out;
    out.markup = sequence.as_str().markup;
    for (uint64_t i = 0; i < times && unit != 0; ++i) out.append(sequence.as_str());
    return Value::str(std::move(out));
  }
  budget.items(unit * times);
  std::vector<Value> items;
  for (uint64_t i = 0; i < times && unit != 0; ++i) {
    items.insert(items.end(), sequence.items().begin(), sequence.items().end());
  }
  return sequence.kind() == Kind::kList ? make_list(std::move(items), budget)
                                        : make_tuple(std::move(items), budget);
}

}  // namespace

void raise(std::string what) { throw Failure{std::move(what)}; }

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return value.as_str().markup ? "Markup" : "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kObject:
      break;
  }
  constexpr std::array<std::string_view, 11> kNames = {
      "generator", "dict_items",  "range",  "Namespace", "Macro",      "builtin_function_or_method",
      "function",  "LoopContext", "Joiner", "Cycler",    "_GroupTuple"};
  const Object& object = value.as_object();
  if (object.kind == Object::Kind::kView) return static_cast<const View&>(object).type_name;
  return kNames[static_cast<size_t>(object.kind)];
}

bool truthy(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.as_int() != 0;
    case Kind::kFloat:
      return value.as_double() != 0;
    default:
      return length(value).value_or(1) != 0;
  }
}

bool equal(const Value& a, const Value& b, Budget& budget) {
  budget.work();
  if (a.is_number() && b.is_number()) return order(a, b) == 0;
  if (a.kind() != b.kind()) {
    const auto as_tuple = [](const Value& v) -> const std::vector<Value>* {
      if (v.kind() == Kind::kTuple) return &v.items();
      if (v.kind() != Kind::kObject || v.as_object().kind != Object::Kind::kGroup) return nullptr;
      return &static_cast<const Group&>(v.as_object()).pair;
    };
    const auto* x = as_tuple(a);
    const auto* y = as_tuple(b);
    return x != nullptr && y != nullptr && equal_items(*x, *y, budget);
  }
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      budget.work(a.text().size() / 64);
      return a.text() == b.text();
    case Kind::kList:
    case Kind::kTuple:
      return equal_items(a.items(), b.items(), budget);
    case Kind::kDict:
      return equal_dicts(a.as_dict(), b.as_dict(), budget);
    default:
      break;
  }
  if (a.identity() == b.identity()) return true;
  const Object& x = a.as_object();
  const Object& y = b.as_object();
  if (x.kind == Object::Kind::kRange && y.kind == Object::Kind::kRange) {
    return equal_items(to_list(a, budget), to_list(b, budget), budget);
  }
  if (x.kind == Object::Kind::kGroup && y.kind == Object::Kind::kGroup) {
    return equal_items(static_cast<const Group&>(x).pair, static_cast<const Group&>(y).pair,
                       budget);
  }
  return false;
}

bool less(const Value& a, const Value& b, std::string_view sign, Budget& budget) {
  budget.work();
  if (a.is_undefined()) raise(a.undefined_message());
  if (b.is_undefined()) raise(b.undefined_message());
  if (a.is_number() && b.is_number()) return order(a, b) == -1;
  if (a.is_string() && b.is_string()) {
    budget.work(std::min(a.text().size(), b.text().size()) / 64);
    return a.text() < b.text();  // UTF-8 sorts as its code points do
  }
  if (a.kind() == b.kind() && a.is_sequence()) {
    const auto& x = a.items();
    const auto& y = b.items();
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!equal(x[i], y[i], budget)) return less(x[i], y[i], sign, budget);
    }
    return x.size() < y.size();
  }
  raise(fmt::format("'{}' not supported between instances of '{}' and '{}'", sign, type_name(a),
                    type_name(b)));
}

bool compare(Op op, const Value& a, const Value& b, Budget& budget) {
  const bool orders =
      op == Op::kLess || op == Op::kLessEqual || op == Op::kGreater || op == Op::kGreaterEqual;
  if (orders && a.is_undefined()) raise(a.undefined_message());
  switch (op) {
    case Op::kEqual:
      return equal(a, b, budget);
    case Op::kNotEqual:
      return !equal(a, b, budget);
    case Op::kIn:
      return contains(b, a, budget);
    case Op::kNotIn:
      return !contains(b, a, budget);
    case Op::kLess:
      return less(a, b, "<", budget);
    case Op::kGreater:
      return less(b, a, ">", budget);
    default:
      break;
  }
  // Not the negation of the other: nan is neither below nor above.
  const bool less_equal = op == Op::kLessEqual;
  const Value& x = less_equal ? a : b;
  const Value& y = less_equal ? b : a;
  if (x.is_number() && y.is_number()) return order(x, y) <= 0;
  return less(x, y, less_equal ? "<=" : ">=", budget) || equal(x, y, budget);
}

bool contains(const Value& container, const Value& item, Budget& budget) {
  if (container.is_string()) {
    if (!item.is_string()) {
      raise(fmt::format("'in <string>' requires string as left operand, not {}", type_name(item)));
    }
    budget.work(container.text().size() / 64);
    return container.text().find(item.text()) != std::string::npos;
  }
  if (container.is_dict()) {
    if (!is_key(item)) raise(fmt::format("unhashable type: '{}'", type_name(item)));
    return container.as_dict().find(item) != nullptr;
  }
  if (!is_iterable(container)) {
    raise(fmt::format("argument of type '{}' is not iterable", type_name(container)));
  }
  Iterator walk(container, budget);
  for (Value one; walk.next(&one);) {
    if (equal(one, item, budget)) return true;
  }
  return false;
}

Value binary(Op op, Value a, Value b, Budget& budget) {
  if (a.is_integral() && b.is_integral()) return integer_result(op, a.as_int(), b.as_int());
  if (a.is_number() && b.is_number()) return float_result(op, a.as_double(), b.as_double());
  if (op == Op::kAdd) {
    if (a.is_string() && b.is_string()) return add_strings(std::move(a), std::move(b), budget);
    if (a.kind() == b.kind() && a.is_sequence()) {
      budget.items(a.items().size() + b.items().size());
      std::vector<Value> items = a.items();
      items.insert(items.end(), b.items().begin(), b.items().end());
      return a.kind() == Kind::kList ? make_list(std::move(items), budget)
                                     : make_tuple(std::move(items), budget);
    }
    if (a.is_string() && !b.is_undefined()) {
      raise(fmt::format("can only concatenate str (not \"{}\") to str", type_name(b)));
    }
  }
  if (op == Op::kMultiply) {
    if ((a.is_string() || a.is_sequence()) && b.is_integral()) return repeated(a, b, budget);
    if ((b.is_string() || b.is_sequence()) && a.is_integral()) return repeated(b, a, budget);
  }
  if (op == Op::kModulo && a.is_string()) return percent_format(a, b, budget);
  unsupported(op, a, b);
}

Value negative(const Value& value) {
  if (value.is_integral()) return integer_result(Op::kSubtract, 0, value.as_int());
  if (value.is_number()) return Value::number(-value.as_double());
  if (value.is_undefined()) raise(value.undefined_message());
  raise(fmt::format("bad operand type for unary -: '{}'", type_name(value)));
}

Value positive(const Value& value) {
  if (value.is_integral()) return Value::integer(value.as_int());
  if (value.is_number()) return value;
  if (value.is_undefined()) raise(value.undefined_message());
  raise(fmt::format("bad operand type for unary +: '{}'", type_name(value)));
}

int64_t to_index(const Value& value) {
  if (value.is_integral()) return value.as_int();
  if (value.is_undefined()) raise(value.undefined_message());
  raise(fmt::format("'{}' object cannot be interpreted as an integer", type_name(value)));
}

Value make_str(Str text, Budget& budget) {
  budget.made(sizeof(Str) + text.text.size());
  return Value::str(std::move(text));
}

Value make_text(std::string text, Budget& budget) {
  Str out;
  out.text = std::move(text);
  return make_str(std::move(out), budget);
}

Value derived(std::string text, const Str& from, Budget& budget) {
  Str out;
  out.text = std::move(text);
  out.markup = from.markup;
  if (from.is_foreign() && !out.text.empty()) out.foreign.push_back({0, out.text.size()});
  return make_str(std::move(out), budget);
}

Value make_list(std::vector<Value> items, Budget& budget) {
  budget.items(items.size() + 2);
  Value out = Value::list(std::move(items));
  budget.nest(out);
  return out;
}

Value make_tuple(std::vector<Value> items, Budget& budget) {
  budget.items(items.size() + 2);
  Value out = Value::tuple(std::move(items));
  budget.nest(out);
  return out;
}

Value make_dict(Dict items, Budget& budget) {
  budget.items(3 * items.size() + 4);
  Value out = Value::dict(std::move(items));
  budget.nest(out);
  return out;
}

Value make_generator(std::vector<Value> items, Budget& budget) {
  budget.items(items.size());
  return make_object(std::make_shared<Generator>(std::move(items)), budget);
}

Value make_object(std::shared_ptr<Object> object, Budget& budget) {
  budget.items(4);
  Value out = Value::object(std::move(object));
  budget.nest(out);
  return out;
}

void set_item(Dict* dict, Value key, Value value, Budget& budget) {
  if (!is_key(key)) raise(fmt::format("unhashable type: '{}'", type_name(key)));
  budget.work();
  dict->set(std::move(key), std::move(value));
}

}  // namespace hadal::jinja
