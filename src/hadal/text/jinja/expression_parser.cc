#include "hadal/text/jinja/expression_parser.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <optional>

#include "hadal/text/jinja/object.h"

namespace hadal::jinja {
namespace {

// Trees are torn down by recursion, so their height is bounded whatever the text.
constexpr int kHeightMax = 2000;
constexpr int kNestMax = 150;

using Operation = std::pair<std::string_view, Op>;
constexpr std::array<Operation, 6> kCompares = {{{"==", Op::kEqual},
                                                 {"!=", Op::kNotEqual},
                                                 {"<=", Op::kLessEqual},
                                                 {">=", Op::kGreaterEqual},
                                                 {"<", Op::kLess},
                                                 {">", Op::kGreater}}};
constexpr std::array<Operation, 2> kSums = {{{"+", Op::kAdd}, {"-", Op::kSubtract}}};
constexpr std::array<Operation, 4> kProducts = {
    {{"*", Op::kMultiply}, {"/", Op::kDivide}, {"//", Op::kFloorDivide}, {"%", Op::kModulo}}};

std::optional<Op> operation(const Token& token, std::span<const Operation> table) {
  if (token.kind != TokenKind::kOperator) return std::nullopt;
  for (const auto& [text, op] : table) {
    if (token.text == text) return op;
  }
  return std::nullopt;
}

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kEnd:
      return "end of template";
    case TokenKind::kBlockEnd:
      return "end of statement block";
    case TokenKind::kVariableEnd:
      return "end of print statement";
    case TokenKind::kString:
      return "string";
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return "number";
    default:
      return token.text.size() > 40 ? token.text.substr(0, 40) + "..." : token.text;
  }
}

std::vector<ExprPtr> list_of(ExprPtr a, ExprPtr b = nullptr, ExprPtr c = nullptr) {
  std::vector<ExprPtr> out;
  out.push_back(std::move(a));
  if (b != nullptr) out.push_back(std::move(b));
  if (c != nullptr) out.push_back(std::move(c));
  return out;
}

}  // namespace

ExpressionParser::Nest::Nest(ExpressionParser* parser) : parser_(parser) {
  if (++parser_->nest_ > kNestMax) {
    throw Failure{fmt::format("more than {} expressions or blocks within one another", kNestMax),
                  true};
  }
}

Token ExpressionParser::next() {
  *line_ = current().line;
  return at_ + 1 < tokens_.size() ? std::move(tokens_[at_++]) : tokens_[at_];
}

bool ExpressionParser::skip_name(std::string_view name) {
  if (!at_name(name)) return false;
  next();
  return true;
}

bool ExpressionParser::skip_op(std::string_view op) {
  if (!at_op(op)) return false;
  next();
  return true;
}

void ExpressionParser::expect_op(std::string_view op) {
  if (!skip_op(op)) fail(fmt::format("expected token '{}', got '{}'", op, describe(current())));
}

void ExpressionParser::expect_name(std::string_view name) {
  if (!skip_name(name))
    fail(fmt::format("expected token '{}', got '{}'", name, describe(current())));
}

std::string ExpressionParser::expect_any_name() {
  if (current().kind != TokenKind::kName) {
    fail(fmt::format("expected token 'name', got '{}'", describe(current())));
  }
  return next().text;
}

void ExpressionParser::expect_kind(TokenKind kind) {
  if (current().kind != kind) {
    fail(fmt::format("expected token '{}', got '{}'", describe({.kind = kind}),
                     describe(current())));
  }
  next();
}

void ExpressionParser::fail(std::string what) const {
  *line_ = current().line;
  throw Failure{std::move(what)};
}

void ExpressionParser::fail_unexpected() const {
  fail(fmt::format("unexpected '{}'", describe(current())));
}

ExprPtr ExpressionParser::node(ExprKind kind, int line) const {
  auto out = std::make_unique<Expr>();
  out->kind = kind;
  out->line = line;
  return out;
}

void ExpressionParser::measure(Expr* expr) const {
  int below = 0;
  const auto look = [&below](const ExprPtr& child) {
    if (child != nullptr) below = std::max(below, child->height);
  };
  for (const ExprPtr& operand : expr->operands) look(operand);
  for (const auto& [name, value] : expr->named) look(value);
  look(expr->star);
  look(expr->star_star);
  expr->height = below + 1;
  if (expr->height > kHeightMax) {
    throw Failure{fmt::format("an expression of more than {} operations in a row", kHeightMax),
                  true};
  }
}

ExprPtr ExpressionParser::with(ExprPtr node, std::vector<ExprPtr> operands) const {
  node->operands = std::move(operands);
  measure(node.get());
  return node;
}

ExprPtr ExpressionParser::parse_condition() {
  const Nest nest(this);
  int line = current().line;
  ExprPtr value = parse_or();
  while (skip_name("if")) {
    ExprPtr test = parse_or();
    ExprPtr otherwise = skip_name("else") ? parse_condition() : nullptr;
    value = with(node(ExprKind::kCond, line),
                 list_of(std::move(test), std::move(value), std::move(otherwise)));
    line = current().line;
  }
  return value;
}

ExprPtr ExpressionParser::parse_or() {
  int line = current().line;
  ExprPtr left = parse_and();
  while (skip_name("or")) {
    left = with(node(ExprKind::kOr, line), list_of(std::move(left), parse_and()));
    line = current().line;
  }
  return left;
}

ExprPtr ExpressionParser::parse_and() {
  int line = current().line;
  ExprPtr left = parse_not();
  while (skip_name("and")) {
    left = with(node(ExprKind::kAnd, line), list_of(std::move(left), parse_not()));
    line = current().line;
  }
  return left;
}

ExprPtr ExpressionParser::parse_not() {
  if (!at_name("not")) return parse_compare();
  const Nest nest(this);
  const int line = next().line;
  return with(node(ExprKind::kNot, line), list_of(parse_not()));
}

ExprPtr ExpressionParser::parse_compare() {
  const int line = current().line;
  std::vector<ExprPtr> operands = list_of(parse_sum());
  std::vector<Op> compares;
  while (true) {
    if (const auto op = operation(current(), kCompares)) {
      next();
      compares.push_back(*op);
    } else if (skip_name("in")) {
      compares.push_back(Op::kIn);
    } else if (at_name("not") && is(ahead(), TokenKind::kName, "in")) {
      next();
      next();
      compares.push_back(Op::kNotIn);
    } else {
      break;
    }
    operands.push_back(parse_sum());
  }
  if (compares.empty()) return std::move(operands[0]);
  ExprPtr out = with(node(ExprKind::kCompare, line), std::move(operands));
  out->compares = std::move(compares);
  return out;
}

ExprPtr ExpressionParser::parse_sum() {
  ExprPtr left = parse_concat();
  while (const auto op = operation(current(), kSums)) {
    const int line = next().line;
    left = with(node(ExprKind::kBinary, line), list_of(std::move(left), parse_concat()));
    left->op = *op;
  }
  return left;
}

ExprPtr ExpressionParser::parse_concat() {
  const int line = current().line;
  std::vector<ExprPtr> parts = list_of(parse_product());
  while (skip_op("~")) parts.push_back(parse_product());
  if (parts.size() == 1) return std::move(parts[0]);
  return with(node(ExprKind::kConcat, line), std::move(parts));
}

ExprPtr ExpressionParser::parse_product() {
  ExprPtr left = parse_power();
  while (const auto op = operation(current(), kProducts)) {
    const int line = next().line;
    left = with(node(ExprKind::kBinary, line), list_of(std::move(left), parse_power()));
    left->op = *op;
  }
  return left;
}

ExprPtr ExpressionParser::parse_power() {
  ExprPtr left = parse_unary(true);
  while (at_op("**")) {
    const int line = next().line;
    left = with(node(ExprKind::kBinary, line), list_of(std::move(left), parse_unary(true)));
    left->op = Op::kPower;
  }
  return left;
}

ExprPtr ExpressionParser::parse_unary(bool with_filter) {
  ExprPtr out;
  if (at_op("-") || at_op("+")) {
    const Nest nest(this);
    const Token sign = next();
    const ExprKind kind = sign.text == "-" ? ExprKind::kNegative : ExprKind::kPositive;
    out = with(node(kind, sign.line), list_of(parse_unary(false)));
  } else {
    out = parse_primary();
  }
  out = parse_postfix(std::move(out));
  return with_filter ? parse_filter_expr(std::move(out)) : std::move(out);
}

ExprPtr ExpressionParser::parse_primary() {
  const Token& token = current();
  const int line = token.line;
  ExprPtr out = node(ExprKind::kConst, line);
  if (token.kind == TokenKind::kName) {
    const std::string name = next().text;
    if (name == "true" || name == "True" || name == "false" || name == "False") {
      out->constant = Value::boolean(name == "true" || name == "True");
    } else if (name == "none" || name == "None") {
      out->constant = Value::none();
    } else {
      out->kind = ExprKind::kName;
      out->name = name;
    }
  } else if (token.kind == TokenKind::kString) {
    std::string text;
    while (current().kind == TokenKind::kString) text += next().text;
    out->constant = Value::string(std::move(text));
  } else if (token.kind == TokenKind::kInteger) {
    out->constant = Value::integer(next().integer);
  } else if (token.kind == TokenKind::kFloat) {
    out->constant = Value::number(next().number);
  } else if (skip_op("(")) {
    out = parse_tuple({.may_be_empty = true});
    expect_op(")");
  } else if (at_op("[")) {
    out = parse_list();
  } else if (at_op("{")) {
    out = parse_dict();
  } else {
    fail_unexpected();
  }
  return out;
}

bool ExpressionParser::at_tuple_end(std::string_view end_name) const {
  return current().kind == TokenKind::kVariableEnd || current().kind == TokenKind::kBlockEnd ||
         at_op(")") || (!end_name.empty() && at_name(end_name));
}

ExprPtr ExpressionParser::parse_tuple(const TupleRules& rules) {
  const Nest nest(this);
  const int line = current().line;
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) expect_op(",");
    if (at_tuple_end(rules.end_name)) break;
    items.push_back(rules.names         ? parse_primary()
                    : rules.conditional ? parse_condition()
                                        : parse_or());
    if (!at_op(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return std::move(items[0]);
  if (!is_tuple && !rules.may_be_empty) {
    fail(fmt::format("Expected an expression, got '{}'", describe(current())));
  }
  return with(node(ExprKind::kTuple, line), std::move(items));
}

ExprPtr ExpressionParser::parse_list() {
  const int line = next().line;
  std::vector<ExprPtr> items;
  while (!at_op("]")) {
    if (!items.empty()) expect_op(",");
    if (at_op("]")) break;
    items.push_back(parse_expression());
  }
  expect_op("]");
  return with(node(ExprKind::kList, line), std::move(items));
}

ExprPtr ExpressionParser::parse_dict() {
  const int line = next().line;
  std::vector<ExprPtr> items;
  while (!at_op("}")) {
    if (!items.empty()) expect_op(",");
    if (at_op("}")) break;
    items.push_back(parse_expression());
    expect_op(":");
    items.push_back(parse_expression());
  }
  expect_op("}");
  return with(node(ExprKind::kDict, line), std::move(items));
}

ExprPtr ExpressionParser::parse_postfix(ExprPtr expr) {
  while (true) {
    if (at_op(".") || at_op("[")) {
      expr = parse_subscript(std::move(expr));
    } else if (at_op("(")) {
      expr = parse_call(std::move(expr));
    } else {
      return expr;
    }
  }
}

ExprPtr ExpressionParser::parse_filter_expr(ExprPtr expr) {
  while (true) {
    if (at_op("|")) {
      expr = parse_filters(std::move(expr), false);
    } else if (at_name("is")) {
      expr = parse_test(std::move(expr));
    } else if (at_op("(")) {
      expr = parse_call(std::move(expr));
    } else {
      return expr;
    }
  }
}

ExprPtr ExpressionParser::parse_subscript(ExprPtr expr) {
  const Token mark = next();
  if (mark.text == ".") {
    const Token attribute = next();
    if (attribute.kind == TokenKind::kName) {
      ExprPtr out = with(node(ExprKind::kAttribute, mark.line), list_of(std::move(expr)));
      out->name = attribute.text;
      return out;
    }
    if (attribute.kind != TokenKind::kInteger) fail("expected name or number");
    ExprPtr index = node(ExprKind::kConst, attribute.line);
    index->constant = Value::integer(attribute.integer);
    return with(node(ExprKind::kItem, mark.line), list_of(std::move(expr), std::move(index)));
  }
  std::vector<ExprPtr> indices;
  while (!at_op("]")) {
    if (!indices.empty()) expect_op(",");
    indices.push_back(parse_index());
  }
  expect_op("]");
  ExprPtr index = indices.size() == 1 ? std::move(indices[0])
                                      : with(node(ExprKind::kTuple, mark.line), std::move(indices));
  return with(node(ExprKind::kItem, mark.line), list_of(std::move(expr), std::move(index)));
}

// a, a:b, a:b:c with any part left out.
ExprPtr ExpressionParser::parse_index() {
  const int line = current().line;
  std::vector<ExprPtr> parts(3);
  const auto at_border = [this] { return at_op(":") || at_op("]") || at_op(","); };
  if (!at_op(":")) {
    parts[0] = parse_expression();
    if (!at_op(":")) return std::move(parts[0]);
  }
  next();
  if (!at_border()) parts[1] = parse_expression();
  if (skip_op(":") && !at_border()) parts[2] = parse_expression();
  return with(node(ExprKind::kSlice, line), std::move(parts));
}

ExprPtr ExpressionParser::parse_call(ExprPtr callee) {
  ExprPtr out = node(ExprKind::kCall, current().line);
  out->operands.push_back(std::move(callee));
  parse_arguments(out.get());
  return out;
}

void ExpressionParser::parse_arguments(Expr* call) {
  expect_op("(");
  bool first = true;
  while (!at_op(")")) {
    if (!first) {
      expect_op(",");
      if (at_op(")")) break;
    }
    first = false;
    if (at_op("*")) {
      if (call->star != nullptr || call->star_star != nullptr)
        fail("invalid syntax for function call expression");
      next();
      call->star = parse_expression();
    } else if (at_op("**")) {
      if (call->star_star != nullptr) fail("invalid syntax for function call expression");
      next();
      call->star_star = parse_expression();
    } else if (current().kind == TokenKind::kName && is(ahead(), TokenKind::kOperator, "=")) {
      if (call->star_star != nullptr) fail("invalid syntax for function call expression");
      std::string name = next().text;
      next();
      for (const auto& [known, value] : call->named) {
        if (known == name) fail(fmt::format("keyword argument repeated: {}", name));
      }
      call->named.emplace_back(std::move(name), parse_expression());
    } else {
      if (call->star != nullptr || call->star_star != nullptr || !call->named.empty()) {
        fail("invalid syntax for function call expression");
      }
      call->operands.push_back(parse_expression());
    }
  }
  expect_op(")");
  measure(call);
}

ExprPtr ExpressionParser::parse_filters(ExprPtr operand, bool inline_start) {
  while (at_op("|") || inline_start) {
    if (!inline_start) next();
    inline_start = false;
    ExprPtr out = node(ExprKind::kFilter, current().line);
    out->name = expect_any_name();
    while (skip_op(".")) out->name += "." + expect_any_name();
    out->operands.push_back(std::move(operand));
    if (at_op("(")) parse_arguments(out.get());
    measure(out.get());
    operand = std::move(out);
  }
  return operand;
}

ExprPtr ExpressionParser::parse_test(ExprPtr operand) {
  const int line = next().line;
  const bool negated = skip_name("not");
  ExprPtr out = node(ExprKind::kTest, line);
  out->name = expect_any_name();
  while (skip_op(".")) out->name += "." + expect_any_name();
  out->operands.push_back(std::move(operand));
  const TokenKind kind = current().kind;
  const bool begins_value = kind == TokenKind::kName || kind == TokenKind::kString ||
                            kind == TokenKind::kInteger || kind == TokenKind::kFloat ||
                            at_op("[") || at_op("{");
  if (at_op("(")) {
    parse_arguments(out.get());
  } else if (begins_value && !at_name("else") && !at_name("or") && !at_name("and")) {
    if (at_name("is")) fail("You cannot chain multiple tests with is");
    out->operands.push_back(parse_postfix(parse_primary()));
  }
  measure(out.get());
  if (!negated) return out;
  return with(node(ExprKind::kNot, line), list_of(std::move(out)));
}

ExprPtr ExpressionParser::name_target() {
  ExprPtr out = node(ExprKind::kName, current().line);
  out->name = expect_any_name();
  make_target(out.get());
  return out;
}

void ExpressionParser::make_target(Expr* expr) const {
  if (expr->kind == ExprKind::kName) {
    constexpr std::array<std::string_view, 6> kReserved = {"true", "false", "none",
                                                           "True", "False", "None"};
    if (std::ranges::find(kReserved, expr->name) != kReserved.end()) {
      fail(fmt::format("can't assign to '{}'", expr->name));
    }
    expr->stores = true;
    return;
  }
  if (expr->kind != ExprKind::kTuple) fail("can't assign to this expression");
  for (const ExprPtr& item : expr->operands) make_target(item.get());
}

}  // namespace hadal::jinja
