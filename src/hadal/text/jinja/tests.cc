// The tests of jinja2: {{ value is name(argument) }}.
#include <fmt/core.h>

#include <array>

#include "hadal/text/jinja/filters.h"
#include "hadal/text/jinja/parser.h"

namespace hadal::jinja {
namespace {

using Kind = Value::Kind;

void no_more(const Arguments& arguments) { const Bound bound("test", arguments, {}); }

template <bool (*is)(const Value&)>
bool simple(const Value& value, const Arguments& arguments, Budget&) {
  no_more(arguments);
  return is(value);
}

template <Op op>
bool compares(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("test", arguments, {"other"}, 1);
  return compare(op, value, bound[0], budget);
}

bool is_defined(const Value& v) { return !v.is_undefined(); }
bool is_undefined(const Value& v) { return v.is_undefined(); }
bool is_none(const Value& v) { return v.is_none(); }
bool is_boolean(const Value& v) { return v.kind() == Kind::kBool; }
bool is_true(const Value& v) { return v.kind() == Kind::kBool && v.as_int() != 0; }
bool is_false(const Value& v) { return v.kind() == Kind::kBool && v.as_int() == 0; }
bool is_integer(const Value& v) { return v.kind() == Kind::kInt; }
bool is_float(const Value& v) { return v.kind() == Kind::kFloat; }
bool is_number(const Value& v) { return v.is_number(); }
bool is_string(const Value& v) { return v.is_string(); }
bool is_mapping(const Value& v) { return v.is_dict(); }
bool is_escaped(const Value& v) { return v.is_string() && v.as_str().markup; }

bool is_sequence(const Value& v) {
  if (v.kind() != Kind::kObject) return length(v).has_value();
  const Object::Kind kind = v.as_object().kind;
  return kind == Object::Kind::kRange || kind == Object::Kind::kGroup;
}

bool is_callable(const Value& v) {
  if (v.is_undefined()) return true;  // it has __call__, which raises
  if (v.kind() != Kind::kObject) return false;
  switch (v.as_object().kind) {
    case Object::Kind::kMacro:
    case Object::Kind::kMethod:
    case Object::Kind::kFunction:
    case Object::Kind::kJoiner:
    case Object::Kind::kLoop:
      return true;
    default:
      return false;
  }
}

bool is_in(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("in", arguments, {"seq"}, 1);
  return contains(bound[0], value, budget);
}

bool divisible(const Value& value, const Value& by, int64_t rest, Budget& budget) {
  const Value left = binary(Op::kModulo, value, by, budget);
  return equal(left, Value::integer(rest), budget);
}

bool is_odd(const Value& value, const Arguments& arguments, Budget& budget) {
  no_more(arguments);
  return divisible(value, Value::integer(2), 1, budget);
}

bool is_even(const Value& value, const Arguments& arguments, Budget& budget) {
  no_more(arguments);
  return divisible(value, Value::integer(2), 0, budget);
}

bool is_divisible(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("divisibleby", arguments, {"num"}, 1);
  return divisible(value, bound[0], 0, budget);
}

bool is_same(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("sameas", arguments, {"other"}, 1);
  if (value.kind() != bound[0].kind()) return false;
  // Equal constants are one object to Python.
  if (value.identity() != nullptr && !value.is_string())
    return value.identity() == bound[0].identity();
  return equal(value, bound[0], budget);
}

template <bool upper>
bool has_case(const Value& value, const Arguments& arguments, Budget& budget) {
  no_more(arguments);
  const Value text = make_str(to_str(value, budget), budget);
  return truthy(call_method(text, upper ? "isupper" : "islower", {}, budget));
}

bool names_filter(const Value& value, const Arguments& arguments, Budget&) {
  no_more(arguments);
  return value.is_string() && find_filter(value.text()) != nullptr;
}

bool names_test(const Value& value, const Arguments& arguments, Budget&) {
  no_more(arguments);
  return value.is_string() && find_test(value.text()) != nullptr;
}

constexpr std::array<std::pair<std::string_view, Test>, 39> kTests = {{
    {"defined", simple<is_defined>},
    {"undefined", simple<is_undefined>},
    {"none", simple<is_none>},
    {"boolean", simple<is_boolean>},
    {"true", simple<is_true>},
    {"false", simple<is_false>},
    {"integer", simple<is_integer>},
    {"float", simple<is_float>},
    {"number", simple<is_number>},
    {"string", simple<is_string>},
    {"mapping", simple<is_mapping>},
    {"sequence", simple<is_sequence>},
    {"iterable", simple<is_iterable>},
    {"callable", simple<is_callable>},
    {"escaped", simple<is_escaped>},
    {"in", is_in},
    {"odd", is_odd},
    {"even", is_even},
    {"divisibleby", is_divisible},
    {"sameas", is_same},
    {"lower", has_case<false>},
    {"upper", has_case<true>},
    {"filter", names_filter},
    {"test", names_test},
    {"==", compares<Op::kEqual>},
    {"eq", compares<Op::kEqual>},
    {"equalto", compares<Op::kEqual>},
    {"!=", compares<Op::kNotEqual>},
    {"ne", compares<Op::kNotEqual>},
    {">", compares<Op::kGreater>},
    {"gt", compares<Op::kGreater>},
    {"greaterthan", compares<Op::kGreater>},
    {">=", compares<Op::kGreaterEqual>},
    {"ge", compares<Op::kGreaterEqual>},
    {"<", compares<Op::kLess>},
    {"lt", compares<Op::kLess>},
    {"lessthan", compares<Op::kLess>},
    {"<=", compares<Op::kLessEqual>},
    {"le", compares<Op::kLessEqual>},
}};

}  // namespace

Test find_test(std::string_view name) {
  for (const auto& [known, test] : kTests) {
    if (known == name) return test;
  }
  return nullptr;
}

bool is_test(std::string_view name) { return find_test(name) != nullptr; }

}  // namespace hadal::jinja
