// A parsed template. Internal to the interpreter.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "hadal/text/jinja/value.h"

namespace hadal::jinja {

struct Expr;
struct Stmt;
using ExprPtr = std::unique_ptr<Expr>;
using Body = std::vector<std::unique_ptr<Stmt>>;

// Where a variable lives: `hops` activations outwards, at `slot`.
struct Place {
  int hops = 0;
  int slot = -1;
};

enum class ExprKind : uint8_t {
  kConst,
  kName,          // name, place
  kNamespaceRef,  // name.attribute as the target of a set; `name`, `attribute`, place
  kTuple,
  kList,
  kDict,  // operands: key, value, key, value, ...
  kCond,  // condition, then, [else]
  kOr,
  kAnd,
  kNot,
  kCompare,  // operands: first, and one for each of `compares`
  kBinary,   // op
  kNegative,
  kPositive,
  kConcat,
  kAttribute,  // operand, `name`
  kItem,       // operand, index
  kSlice,      // start, stop, step, each may be null; only as an index
  kCall,       // callee, then positional arguments
  kFilter,     // operand (null in a filter block), then positional arguments; `name`
  kTest,
};

enum class Op : uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

struct Expr {
  ExprKind kind = ExprKind::kConst;
  Op op = Op::kAdd;
  bool stores = false;      // kName: a target
  bool is_unknown = false;  // kFilter, kTest: no such name, an error when it is reached
  int line = 0;
  int height = 1;  // of the tree below
  std::string name;
  std::string attribute;
  Value constant;
  Place place;
  std::vector<ExprPtr> operands;
  std::vector<Op> compares;
  // kCall, kFilter, kTest: name=value, *star, **star_star
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star;
  ExprPtr star_star;
};

// What happens to a scope's variables when it is entered.
struct ScopeEntry {
  enum class From : uint8_t { kNothing, kOuter, kContext };
  int slot = -1;
  From from = From::kNothing;
  Place outer = {};
  int context = -1;  // index into Program::names
};
struct Scope {
  std::vector<ScopeEntry> entries;
};

enum class StmtKind : uint8_t {
  kText,
  kOutput,
  kFor,
  kIf,
  kSet,
  kSetBlock,
  kMacro,
  kCallBlock,
  kFilterBlock,
  kWith,
  kBlock,  // {% block %}, {% autoescape %}: a scope of its own
  kBreak,
  kContinue,
};

struct Parameter {
  std::string name;
  ExprPtr fallback = {};  // null: none
  int slot = -1;
};

struct Stmt {
  StmtKind kind = StmtKind::kText;
  int line = 0;
  std::string text;              // kText; kMacro, kBlock: its name
  std::vector<ExprPtr> exprs;    // kOutput: values; kIf: one condition a branch; kWith: values
  ExprPtr target;                // kFor, kSet, kSetBlock
  std::vector<ExprPtr> targets;  // kWith
  ExprPtr value;  // kFor: the iterable; kSet; kSetBlock: the filter or null; kFilterBlock: the
                  // filter; kCallBlock: the call, null for {% generation %}
  ExprPtr test;   // kFor: the filter or null
  ExprPtr test_target;       // kFor: the target again, in the test's scope
  std::vector<Body> bodies;  // kIf: one a branch; else the only one
  Body otherwise;            // kFor, kIf
  Scope scope;               // of the body
  Scope test_scope;          // kFor
  Scope else_scope;          // kFor
  int loop_slot = -1;        // kFor: of `loop`, -1 when the body does not name it
  int slot = -1;             // kMacro: of its name
  Place place;               // kMacro
  // kMacro, kCallBlock
  std::vector<Parameter> parameters;
  int slots = 0;  // of its activation
  int caller_slot = -1;
  int kwargs_slot = -1;
  int varargs_slot = -1;
  bool explicit_caller = false;
  bool has_inner = false;  // defines macros, which may outlive a call
};

// A whole template, resolved.
struct Program {
  Body body;
  Scope scope;
  int slots = 0;
  std::vector<std::string> names;  // that are looked up in the context
};

}  // namespace hadal::jinja
