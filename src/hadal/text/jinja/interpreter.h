// Runs a resolved template. Internal to the interpreter.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "hadal/text/jinja/ast.h"
#include "hadal/text/jinja/filters.h"

namespace hadal::jinja {

// The variables of one call of a macro, or of the template.
struct Activation {
  Activation* closure = nullptr;
  std::vector<Value> slots;
};

class Interpreter {
 public:
  Interpreter(const Program& program, const Dict& variables, const RenderOptions& options);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  // Throws Failure; line() is then where.
  Str run();
  int line() const { return line_; }

 private:
  enum class Flow : uint8_t { kNext, kBreak, kContinue };

  // Bounds how far expressions, blocks and macros go into one another.
  class Deeper {
   public:
    explicit Deeper(Interpreter* of) : of_(of) {
      if (of_->depth_ == of_->options_.limits.depth) {
        Budget::over("nesting of expressions and macro calls");
      }
      ++of_->depth_;
    }
    ~Deeper() { --of_->depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;

   private:
    Interpreter* of_;
  };

  // Statements.
  Flow exec(const Body& body);
  Flow exec(const Stmt& stmt);
  Flow exec_if(const Stmt& stmt);
  Flow exec_for(const Stmt& stmt);
  Flow exec_scoped(const Stmt& stmt);
  void exec_call_block(const Stmt& stmt);
  void output(const Value& value);
  void enter(const Scope& scope);
  void leave(const Scope& scope);
  bool pull_filtered(const Stmt& stmt, Iterator* walk, Value* out);
  // What `run` prints, instead of to the output.
  template <class Run>
  Str captured(const Run& run);

  // Expressions.
  Value eval(const Expr& expr);
  Value eval_name(const Expr& expr);
  Value eval_binary(const Expr& expr);
  Value eval_compare(const Expr& expr);
  Value eval_concat(const Expr& expr);
  Value eval_dict(const Expr& expr);
  Value eval_item(const Expr& expr);
  Value eval_filter(const Expr& expr);
  Value eval_test(const Expr& expr);
  Value eval_call(const Expr& expr, const Value* caller);
  std::vector<Value> eval_all(const std::vector<ExprPtr>& exprs, size_t from = 0);
  Arguments arguments(const Expr& expr);
  Value call(const Value& callee, Arguments arguments);
  Value call_macro(const Macro& macro, Arguments arguments);
  void bind(const Stmt& definition, Arguments arguments, Activation* frame);
  Value call_global(Global global, const Arguments& arguments);
  Value make_range(const Arguments& arguments);
  Value make_namespace(const Arguments& arguments);
  Value make_macro(const Stmt& definition);
  Value formatted_now(const Arguments& arguments);

  void assign(const Expr& target, Value value);
  void assign_attribute(const Expr& target, Value value);
  Value& variable(const Place& place);

  const Program& program_;
  const RenderOptions options_;
  Budget budget_;
  std::vector<Value> context_;  // by Program::names
  std::vector<std::unique_ptr<Activation>> kept_;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
  Activation* frame_ = nullptr;
  Str* out_ = nullptr;
  const Value* piped_ = nullptr;  // what a filter block or a set with filters captured
  int depth_ = 0;
  int line_ = 1;
};

}  // namespace hadal::jinja
