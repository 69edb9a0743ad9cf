// The interpreter's expressions.
#include <fmt/core.h>

#include <algorithm>

#include "hadal/text/jinja/interpreter.h"

namespace hadal::jinja {

using Kind = Value::Kind;

Value Interpreter::eval(const Expr& expr) {
  budget_.work();
  if (expr.kind == ExprKind::kConst) return expr.constant;
  if (expr.kind == ExprKind::kName) return eval_name(expr);
  const Deeper deeper(this);
  line_ = expr.line;
  const auto& operands = expr.operands;
  switch (expr.kind) {
    case ExprKind::kTuple:
      return make_tuple(eval_all(operands), budget_);
    case ExprKind::kList:
      return make_list(eval_all(operands), budget_);
    case ExprKind::kDict:
      return eval_dict(expr);
    case ExprKind::kCond:
      if (truthy(eval(*operands[0]))) return eval(*operands[1]);
      if (operands.size() > 2) return eval(*operands[2]);
      return Value::undefined(
          fmt::format("the inline if-expression on line {} evaluated to false and no else section "
                      "was defined.",
                      expr.line));
    case ExprKind::kOr:
    case ExprKind::kAnd: {
      Value left = eval(*operands[0]);
      return truthy(left) == (expr.kind == ExprKind::kOr) ? left : eval(*operands[1]);
    }
    case ExprKind::kNot:
      return Value::boolean(!truthy(eval(*operands[0])));
    case ExprKind::kCompare:
      return eval_compare(expr);
    case ExprKind::kBinary:
      return eval_binary(expr);
    case ExprKind::kNegative:
      return negative(eval(*operands[0]));
    case ExprKind::kPositive:
      return positive(eval(*operands[0]));
    case ExprKind::kConcat:
      return eval_concat(expr);
    case ExprKind::kAttribute: {
      const Value of = eval(*operands[0]);
      return get_attribute(of, expr.name, budget_);
    }
    case ExprKind::kItem:
      return eval_item(expr);
    case ExprKind::kCall:
      return eval_call(expr, nullptr);
    case ExprKind::kFilter:
      return eval_filter(expr);
    case ExprKind::kTest:
      return eval_test(expr);
    default:
      raise("a slice stands where a value is needed");
  }
}

Value Interpreter::eval_name(const Expr& expr) {
  const Value& value = variable(expr.place);
  if (!value.is_missing()) return value;
  budget_.made(64 + expr.name.size());
  return Value::undefined(fmt::format("'{}' is undefined", expr.name));
}

// A long sum leans to the left: walked down in a loop, it needs no depth.
Value Interpreter::eval_binary(const Expr& expr) {
  std::vector<const Expr*> spine;
  const Expr* at = &expr;
  for (; at->kind == ExprKind::kBinary; at = at->operands[0].get()) spine.push_back(at);
  Value value = eval(*at);
  for (size_t i = spine.size(); i-- > 0;) {
    Value right = eval(*spine[i]->operands[1]);
    line_ = spine[i]->line;
    value = binary(spine[i]->op, std::move(value), std::move(right), budget_);
  }
  return value;
}

Value Interpreter::eval_compare(const Expr& expr) {
  Value left = eval(*expr.operands[0]);
  for (size_t i = 0; i < expr.compares.size(); ++i) {
    Value right = eval(*expr.operands[i + 1]);
    line_ = expr.line;
    if (!compare(expr.compares[i], left, right, budget_)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Interpreter::eval_concat(const Expr& expr) {
  Str out;
  for (const ExprPtr& operand : expr.operands) {
    const Value part = eval(*operand);
    if (part.is_string()) {
      budget_.made(part.text().size());
      out.append(part.as_str());
    } else {
      out.append(to_str(part, budget_));
    }
  }
  return make_str(std::move(out), budget_);
}

Value Interpreter::eval_dict(const Expr& expr) {
  Dict out;
  for (size_t i = 0; i < expr.operands.size(); i += 2) {
    Value key = eval(*expr.operands[i]);
    set_item(&out, std::move(key), eval(*expr.operands[i + 1]), budget_);
  }
  return make_dict(std::move(out), budget_);
}

Value Interpreter::eval_item(const Expr& expr) {
  const Value of = eval(*expr.operands[0]);
  const Expr& index = *expr.operands[1];
  if (index.kind != ExprKind::kSlice) {
    const Value key = eval(index);
    return get_item(of, key, budget_);
  }
  const auto part = [&](size_t i) {
    return index.operands[i] == nullptr ? Value::none() : eval(*index.operands[i]);
  };
  const Value start = part(0);
  const Value stop = part(1);
  const Value step = part(2);
  return get_slice(of, start, stop, step, budget_);
}

std::vector<Value> Interpreter::eval_all(const std::vector<ExprPtr>& exprs, size_t from) {
  std::vector<Value> out;
  out.reserve(exprs.size() - std::min(from, exprs.size()));
  for (size_t i = from; i < exprs.size(); ++i) out.push_back(eval(*exprs[i]));
  return out;
}

// Operands behind the first, names, *list and **dict.
Arguments Interpreter::arguments(const Expr& expr) {
  Arguments out;
  out.positional = eval_all(expr.operands, 1);
  for (const auto& [name, value] : expr.named) out.named.emplace_back(name, eval(*value));
  if (expr.star != nullptr) {
    for (Value& value : to_list(eval(*expr.star), budget_))
      out.positional.push_back(std::move(value));
  }
  if (expr.star_star != nullptr) {
    const Value rest = eval(*expr.star_star);
    if (!rest.is_dict())
      raise(fmt::format("argument after ** must be a mapping, not {}", type_name(rest)));
    for (const auto& [key, value] : rest.as_dict().items()) {
      if (!key.is_string()) raise("keywords must be strings");
      for (const auto& [name, known] : out.named) {
        if (name == key.text())
          raise(fmt::format("got multiple values for keyword argument '{}'", name));
      }
      out.named.emplace_back(key.text(), value);
      budget_.items(2);
    }
  }
  return out;
}

Value Interpreter::eval_filter(const Expr& expr) {
  // The innermost filter of a block has no operand of its own.
  const Value value = expr.operands[0] == nullptr ? *piped_ : eval(*expr.operands[0]);
  if (expr.is_unknown) raise(fmt::format("No filter named '{}' found.", expr.name));
  const Arguments given = arguments(expr);
  line_ = expr.line;
  return find_filter(expr.name)(value, given, budget_);
}

Value Interpreter::eval_test(const Expr& expr) {
  const Value value = eval(*expr.operands[0]);
  if (expr.is_unknown) raise(fmt::format("No test named '{}' found.", expr.name));
  const Arguments given = arguments(expr);
  line_ = expr.line;
  return Value::boolean(find_test(expr.name)(value, given, budget_));
}

Value Interpreter::eval_call(const Expr& expr, const Value* caller) {
  const Expr& callee = *expr.operands[0];
  // The common x.method(...) without an object for the method.
  if (callee.kind == ExprKind::kAttribute && caller == nullptr) {
    const Value self = eval(*callee.operands[0]);
    if (has_method(self, callee.name)) {
      const Arguments given = arguments(expr);
      line_ = expr.line;
      return call_method(self, callee.name, given, budget_);
    }
    const Value found = get_attribute(self, callee.name, budget_);
    Arguments given = arguments(expr);
    line_ = expr.line;
    return call(found, std::move(given));
  }
  const Value found = eval(callee);
  Arguments given = arguments(expr);
  if (caller != nullptr) given.named.emplace_back("caller", *caller);
  line_ = expr.line;
  return call(found, std::move(given));
}

}  // namespace hadal::jinja
