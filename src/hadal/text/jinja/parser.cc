#include "hadal/text/jinja/parser.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "hadal/text/jinja/expression_parser.h"
#include "hadal/text/jinja/object.h"
#include "hadal/text/unicode.h"

namespace hadal::jinja {
namespace {

class Parser final : public ExpressionParser {
 public:
  Parser(std::vector<Token> tokens, int* line) : ExpressionParser(std::move(tokens), line) {}

  Body parse() { return parse_body({}); }

 private:
  using Ends = std::initializer_list<std::string_view>;

  std::unique_ptr<Stmt> statement(StmtKind kind, int line) const {
    auto out = std::make_unique<Stmt>();
    out->kind = kind;
    out->line = line;
    return out;
  }

  // Up to a tag that begins with one of `ends`, which becomes the current token.
  Body parse_body(Ends ends) {
    const Nest nest(this);
    Body body;
    while (!at_end()) {
      const Token token = next();
      if (token.kind == TokenKind::kData) {
        body.push_back(statement(StmtKind::kText, token.line));
        body.back()->text = token.text;
      } else if (token.kind == TokenKind::kVariableBegin) {
        body.push_back(statement(StmtKind::kOutput, token.line));
        body.back()->exprs.push_back(parse_tuple({}));
        expect_kind(TokenKind::kVariableEnd);
      } else {
        if (std::ranges::any_of(ends, [this](std::string_view end) { return at_name(end); })) {
          return body;
        }
        body.push_back(parse_statement());
        expect_kind(TokenKind::kBlockEnd);
      }
    }
    if (ends.size() > 0) {
      fail(fmt::format("Unexpected end of template, looking for '{}'", *(ends.end() - 1)));
    }
    return body;
  }

  // The rest of a tag, and what it encloses. With `drop`, the end's name is consumed too.
  Body enclosed(Ends ends, bool drop) {
    skip_op(":");
    expect_kind(TokenKind::kBlockEnd);
    Body body = parse_body(ends);
    if (drop) next();
    return body;
  }

  std::unique_ptr<Stmt> parse_statement() {
    if (current().kind != TokenKind::kName) fail("tag name expected");
    using Parse = std::unique_ptr<Stmt> (Parser::*)(int line);
    static constexpr std::array<std::pair<std::string_view, Parse>, 13> kStatements = {{
        {"for", &Parser::parse_for},
        {"if", &Parser::parse_if},
        {"set", &Parser::parse_set},
        {"macro", &Parser::parse_macro},
        {"call", &Parser::parse_call_block},
        {"filter", &Parser::parse_filter_block},
        {"with", &Parser::parse_with},
        {"print", &Parser::parse_print},
        {"block", &Parser::parse_block},
        {"autoescape", &Parser::parse_autoescape},
        {"generation", &Parser::parse_generation},
        {"break", &Parser::parse_break},
        {"continue", &Parser::parse_continue},
    }};
    for (const auto& [name, parse] : kStatements) {
      if (!at_name(name)) continue;
      const int line = next().line;
      return (this->*parse)(line);
    }
    if (at_name("include") || at_name("import") || at_name("from") || at_name("extends")) {
      fail(fmt::format("a template cannot reach another one: '{}'", current().text));
    }
    fail(fmt::format("Encountered unknown tag '{}'",
                     replace_ill_formed(current().text.substr(0, 40))));
  }

  std::unique_ptr<Stmt> parse_for(int line) {
    auto out = statement(StmtKind::kFor, line);
    out->target = parse_tuple({.names = true, .end_name = "in"});
    make_target(out->target.get());
    expect_name("in");
    out->value = parse_tuple({.conditional = false, .end_name = "recursive"});
    if (skip_name("if")) out->test = parse_expression();
    if (at_name("recursive")) fail("recursive loops are not supported");
    ++loops_;
    out->bodies.push_back(enclosed({"endfor", "else"}, false));
    --loops_;
    if (!skip_name("endfor")) {
      next();
      out->otherwise = enclosed({"endfor"}, true);
    }
    return out;
  }

  std::unique_ptr<Stmt> parse_if(int line) {
    auto out = statement(StmtKind::kIf, line);
    while (true) {
      out->exprs.push_back(parse_tuple({.conditional = false}));
      out->bodies.push_back(enclosed({"elif", "else", "endif"}, false));
      if (skip_name("elif")) continue;
      if (skip_name("else")) {
        out->otherwise = enclosed({"endif"}, true);
      } else {
        next();
      }
      return out;
    }
  }

  std::unique_ptr<Stmt> parse_set(int line) {
    auto out = statement(StmtKind::kSet, line);
    if (is(ahead(), TokenKind::kOperator, ".")) {
      out->target = node(ExprKind::kNamespaceRef, current().line);
      out->target->name = expect_any_name();
      next();
      out->target->attribute = expect_any_name();
    } else {
      out->target = parse_tuple({.names = true});
      make_target(out->target.get());
    }
    if (skip_op("=")) {
      out->value = parse_tuple({});
      return out;
    }
    out->kind = StmtKind::kSetBlock;
    out->value = parse_filters(nullptr, false);
    out->bodies.push_back(enclosed({"endset"}, true));
    return out;
  }

  void parse_signature(Stmt* out) {
    expect_op("(");
    while (!at_op(")")) {
      if (!out->parameters.empty()) expect_op(",");
      const ExprPtr name = name_target();
      Parameter parameter{.name = name->name};
      for (const Parameter& known : out->parameters) {
        if (known.name == parameter.name) fail(fmt::format("duplicate argument '{}'", known.name));
      }
      if (skip_op("=")) {
        parameter.fallback = parse_expression();
      } else if (!out->parameters.empty() && out->parameters.back().fallback != nullptr) {
        fail("non-default argument follows default argument");
      }
      out->parameters.push_back(std::move(parameter));
    }
    expect_op(")");
  }

  // A macro's body is no part of the loop around it.
  Body enclosed_function(Ends ends) {
    const int outside = std::exchange(loops_, 0);
    Body body = enclosed(ends, true);
    loops_ = outside;
    return body;
  }

  std::unique_ptr<Stmt> parse_macro(int line) {
    auto out = statement(StmtKind::kMacro, line);
    out->text = name_target()->name;
    parse_signature(out.get());
    out->bodies.push_back(enclosed_function({"endmacro"}));
    return out;
  }

  std::unique_ptr<Stmt> parse_call_block(int line) {
    auto out = statement(StmtKind::kCallBlock, line);
    if (at_op("(")) parse_signature(out.get());
    out->value = parse_expression();
    if (out->value->kind != ExprKind::kCall) fail("expected call");
    out->bodies.push_back(enclosed_function({"endcall"}));
    return out;
  }

  // Marks what the assistant said; transformers makes it a call block around its own function.
  std::unique_ptr<Stmt> parse_generation(int line) {
    auto out = statement(StmtKind::kCallBlock, line);
    out->bodies.push_back(enclosed_function({"endgeneration"}));
    return out;
  }

  std::unique_ptr<Stmt> parse_filter_block(int line) {
    auto out = statement(StmtKind::kFilterBlock, line);
    out->value = parse_filters(nullptr, true);
    out->bodies.push_back(enclosed({"endfilter"}, true));
    return out;
  }

  std::unique_ptr<Stmt> parse_with(int line) {
    auto out = statement(StmtKind::kWith, line);
    while (current().kind != TokenKind::kBlockEnd) {
      if (!out->targets.empty()) expect_op(",");
      ExprPtr target = parse_tuple({.names = true});
      make_target(target.get());
      out->targets.push_back(std::move(target));
      expect_op("=");
      out->exprs.push_back(parse_expression());
    }
    out->bodies.push_back(enclosed({"endwith"}, true));
    return out;
  }

  std::unique_ptr<Stmt> parse_print(int line) {
    auto out = statement(StmtKind::kOutput, line);
    while (current().kind != TokenKind::kBlockEnd) {
      if (!out->exprs.empty()) expect_op(",");
      out->exprs.push_back(parse_expression());
    }
    return out;
  }

  std::unique_ptr<Stmt> parse_block(int line) {
    auto out = statement(StmtKind::kBlock, line);
    out->text = expect_any_name();
    skip_name("scoped");
    if (at_name("required")) fail("a required block needs another template");
    out->bodies.push_back(enclosed_function({"endblock"}));
    skip_name(out->text);
    return out;
  }

  std::unique_ptr<Stmt> parse_autoescape(int) { fail("autoescape is not supported"); }

  std::unique_ptr<Stmt> parse_break(int line) { return loop_control(StmtKind::kBreak, line); }
  std::unique_ptr<Stmt> parse_continue(int line) { return loop_control(StmtKind::kContinue, line); }
  std::unique_ptr<Stmt> loop_control(StmtKind kind, int line) {
    if (loops_ == 0) fail("break or continue outside of a loop");
    return statement(kind, line);
  }

  int loops_ = 0;
};

}  // namespace

Body parse_template(std::string_view source, int* line) {
  std::vector<Token> tokens = tokenize(source, line);
  *line = 1;
  return Parser(std::move(tokens), line).parse();
}

}  // namespace hadal::jinja
