// The expressions of the grammar. Internal to the interpreter.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "hadal/text/jinja/ast.h"
#include "hadal/text/jinja/lexer.h"

namespace hadal::jinja {

class ExpressionParser {
 protected:
  ExpressionParser(std::vector<Token> tokens, int* line)
      : tokens_(std::move(tokens)), line_(line) {}

  // Tokens.
  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  bool at_end() const { return current().kind == TokenKind::kEnd; }
  Token next();
  static bool is(const Token& token, TokenKind kind, std::string_view text) {
    return token.kind == kind && token.text == text;
  }
  bool at_name(std::string_view name) const { return is(current(), TokenKind::kName, name); }
  bool at_op(std::string_view op) const { return is(current(), TokenKind::kOperator, op); }
  bool skip_name(std::string_view name);
  bool skip_op(std::string_view op);
  void expect_op(std::string_view op);
  void expect_name(std::string_view name);
  std::string expect_any_name();
  void expect_kind(TokenKind kind);
  [[noreturn]] void fail(std::string what) const;
  [[noreturn]] void fail_unexpected() const;

  ExprPtr parse_expression() { return parse_condition(); }
  // One expression, or a tuple without parentheses. `names`: the target of a set or for, so only
  // primaries; `conditional`: "a if b" may stand in it.
  struct TupleRules {
    bool names = false;
    bool conditional = true;
    bool may_be_empty = false;
    std::string_view end_name = {};
  };
  ExprPtr parse_tuple(const TupleRules& rules);
  // From "|" on; `inline_start`: from the name on, as in {% filter upper %}.
  ExprPtr parse_filters(ExprPtr operand, bool inline_start);
  ExprPtr name_target();
  // Turns an expression into one that is assigned to.
  void make_target(Expr* expr) const;

  ExprPtr node(ExprKind kind, int line) const;
  // Puts operands in, with what follows from them.
  ExprPtr with(ExprPtr node, std::vector<ExprPtr> operands) const;
  void measure(Expr* expr) const;

  // Bounds recursion: one per construct that may contain itself.
  class Nest {
   public:
    explicit Nest(ExpressionParser* parser);
    ~Nest() { --parser_->nest_; }
    Nest(const Nest&) = delete;
    Nest& operator=(const Nest&) = delete;

   private:
    ExpressionParser* parser_;
  };

 private:
  ExprPtr parse_condition();
  ExprPtr parse_or();
  ExprPtr parse_and();
  ExprPtr parse_not();
  ExprPtr parse_compare();
  ExprPtr parse_sum();
  ExprPtr parse_concat();
  ExprPtr parse_product();
  ExprPtr parse_power();
  ExprPtr parse_unary(bool with_filter);
  ExprPtr parse_primary();
  ExprPtr parse_list();
  ExprPtr parse_dict();
  ExprPtr parse_postfix(ExprPtr expr);
  ExprPtr parse_filter_expr(ExprPtr expr);
  ExprPtr parse_subscript(ExprPtr expr);
  ExprPtr parse_index();
  ExprPtr parse_call(ExprPtr callee);
  void parse_arguments(Expr* call);
  ExprPtr parse_test(ExprPtr operand);
  bool at_tuple_end(std::string_view end_name) const;

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int* line_;
  int nest_ = 0;
};

}  // namespace hadal::jinja
