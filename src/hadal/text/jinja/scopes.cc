#include "hadal/text/jinja/scopes.h"

#include <fmt/core.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <unordered_map>

#include "hadal/text/jinja/object.h"
#include "hadal/text/jinja/parser.h"

namespace hadal::jinja {
namespace {

// Frames are copied at each condition, so a block of more would make a template slow to read.
constexpr size_t kVariablesMax = 500;

// What has its own activation: the template, a macro, the body of a call block.
struct Owner {
  const Owner* parent = nullptr;
  int slots = 0;
  bool has_inner = false;
};

struct Load {
  ScopeEntry::From from;
  bool is_parameter = false;
  const struct Frame* outer = nullptr;  // whose variable of this name is copied in
};

struct Variable {
  const Owner* owner;
  int slot;
};

// The variables of one block. A name gets its slot when the block first reads or writes it.
struct Frame {
  Frame(const Frame* outer, Owner* in) : parent(outer), owner(in) {}

  const Frame* parent;
  Owner* owner;
  std::unordered_map<std::string, int> slots;  // of every name that any branch had
  std::set<std::string> refs;
  std::map<std::string, Load> loads;
  std::set<std::string> stores;

  const Frame* frame_of(const std::string& name) const {
    for (const Frame* at = this; at != nullptr; at = at->parent) {
      if (at->refs.contains(name)) return at;
    }
    return nullptr;
  }
  void define(const std::string& name, Load load) {
    if (slots.emplace(name, owner->slots).second) ++owner->slots;
    if (slots.size() > kVariablesMax) throw Failure{"too many variables in one block", true};
    refs.insert(name);
    loads[name] = load;
  }
  void declare_parameter(const std::string& name) {
    stores.insert(name);
    define(name, {ScopeEntry::From::kNothing, true, nullptr});
  }
  void load(const std::string& name) {
    if (frame_of(name) == nullptr) define(name, {ScopeEntry::From::kContext, false, nullptr});
  }
  void store(const std::string& name) {
    stores.insert(name);
    if (refs.contains(name)) return;
    const Frame* outer = parent == nullptr ? nullptr : parent->frame_of(name);
    define(name, outer == nullptr ? Load{ScopeEntry::From::kNothing, false, nullptr}
                                  : Load{ScopeEntry::From::kOuter, false, outer});
  }
};

void each_child(const Expr& expr, const std::function<void(const Expr&)>& visit) {
  for (const ExprPtr& operand : expr.operands) {
    if (operand != nullptr) visit(*operand);
  }
  for (const auto& [name, value] : expr.named) visit(*value);
  if (expr.star != nullptr) visit(*expr.star);
  if (expr.star_star != nullptr) visit(*expr.star_star);
}

// First pass over one block: which names it reads and writes, in order, not into blocks of their
// own.
class Tracker {
 public:
  explicit Tracker(Frame* frame) : frame_(frame) {}

  void expr(const Expr& e, bool as_parameter = false) {
    if (e.kind == ExprKind::kName) {
      if (as_parameter) {
        frame_->declare_parameter(e.name);
      } else if (e.stores) {
        frame_->store(e.name);
      } else {
        frame_->load(e.name);
      }
    } else if (e.kind == ExprKind::kNamespaceRef) {
      frame_->load(e.name);
    }
    each_child(e, [this, as_parameter](const Expr& child) { expr(child, as_parameter); });
  }
  void maybe(const ExprPtr& e) {
    if (e != nullptr) expr(*e);
  }
  void body(const Body& statements) {
    for (const auto& s : statements) statement(*s);
  }

 private:
  void statement(const Stmt& s) {
    switch (s.kind) {
      case StmtKind::kOutput:
        for (const ExprPtr& e : s.exprs) expr(*e);
        return;
      case StmtKind::kFor:
      case StmtKind::kCallBlock:
      case StmtKind::kFilterBlock:
        return maybe(s.value);
      case StmtKind::kIf:
        return branches(s, 0);
      case StmtKind::kSet:
        expr(*s.value);
        return expr(*s.target);
      case StmtKind::kSetBlock:
        return expr(*s.target);
      case StmtKind::kMacro:
        return frame_->store(s.text);
      case StmtKind::kWith:
        for (const ExprPtr& e : s.exprs) expr(*e);
        return;
      default:
        return;
    }
  }

  // A name that only some branches write keeps, in the others, what it was outside.
  void branches(const Stmt& s, size_t first) {
    expr(*s.exprs[first]);
    Frame before = *frame_;
    std::vector<Frame> after;
    const auto branch = [&](const std::function<void()>& walk) {
      restore(before);
      walk();
      after.push_back(*frame_);
    };
    branch([&] { body(s.bodies[first]); });
    branch([&] {  // jinja2 nests all elifs in one branch, one after another
      for (size_t i = 1; i < s.bodies.size(); ++i) elif (s, i);
    });
    branch([&] { body(s.otherwise); });
    restore(before);
    merge(before, after);
  }

  // An elif alone: its condition, its body against two empty branches.
  void elif (const Stmt& s, size_t i) {
    expr(*s.exprs[i]);
    Frame before = *frame_;
    body(s.bodies[i]);
    std::vector<Frame> after = {*frame_};
    restore(before);
    after.push_back(*frame_);
    after.push_back(*frame_);
    merge(before, after);
  }

  // Back to `before`, but slots once given stay given.
  void restore(const Frame& before) {
    frame_->refs = before.refs;
    frame_->loads = before.loads;
    frame_->stores = before.stores;
  }

  void merge(const Frame& before, const std::vector<Frame>& after) {
    std::map<std::string, size_t> stored;
    for (const Frame& branch : after) {
      for (const std::string& name : branch.stores) {
        if (!before.stores.contains(name)) ++stored[name];
      }
    }
    for (const Frame& branch : after) {
      frame_->refs.insert(branch.refs.begin(), branch.refs.end());
      for (const auto& [name, load] : branch.loads) frame_->loads[name] = load;
      frame_->stores.insert(branch.stores.begin(), branch.stores.end());
    }
    for (const auto& [name, count] : stored) {
      if (count == after.size()) continue;
      const Frame* outer = frame_->parent == nullptr ? nullptr : frame_->parent->frame_of(name);
      frame_->loads[name] = outer == nullptr ? Load{ScopeEntry::From::kContext, false, nullptr}
                                             : Load{ScopeEntry::From::kOuter, false, outer};
    }
  }

  Frame* frame_;
};

// Whether `name` is read somewhere in `body` before something there writes it.
class UndeclaredSearch {
 public:
  explicit UndeclaredSearch(std::string_view name) : name_(name) {}
  bool in(const Body& statements) {
    for (const auto& s : statements) statement(*s);
    return found_;
  }

 private:
  void expr(const Expr& e) {
    if (found_ || declared_) return;
    if (e.kind == ExprKind::kName && e.name == name_) {
      (e.stores ? declared_ : found_) = true;
      return;
    }
    each_child(e, [this](const Expr& child) { expr(child); });
  }
  void maybe(const ExprPtr& e) {
    if (e != nullptr) expr(*e);
  }
  // In the order of jinja2's node fields.
  void statement(const Stmt& s) {
    if (found_ || declared_ || s.kind == StmtKind::kBlock) return;
    if (s.kind == StmtKind::kCallBlock) maybe(s.value);
    maybe(s.target);
    for (const ExprPtr& e : s.targets) expr(*e);
    if (s.kind == StmtKind::kFor || s.kind == StmtKind::kSet) maybe(s.value);
    for (const Parameter& p : s.parameters) {
      if (p.name == name_) declared_ = true;
    }
    for (const Parameter& p : s.parameters) maybe(p.fallback);
    if (s.kind != StmtKind::kIf) {
      for (const ExprPtr& e : s.exprs) expr(*e);
    }
    for (size_t i = 0; i < s.bodies.size(); ++i) {
      if (s.kind == StmtKind::kIf) expr(*s.exprs[i]);
      in(s.bodies[i]);
    }
    in(s.otherwise);
    maybe(s.test);
    if (s.kind == StmtKind::kSetBlock || s.kind == StmtKind::kFilterBlock) maybe(s.value);
  }

  std::string_view name_;
  bool found_ = false;
  bool declared_ = false;
};

// Second pass: the tree gets its places.
class Resolver {
 public:
  explicit Resolver(int* line) : line_(line) {}

  Program run(Body body) {
    Program program;
    program.body = std::move(body);
    Owner owner;
    Frame frame(nullptr, &owner);
    Tracker(&frame).body(program.body);
    walk(program.body, frame, false);
    program.scope = entries(frame);
    program.slots = owner.slots;
    program.names = std::move(names_);
    return program;
  }

 private:
  [[noreturn]] void fail(int line, std::string what) {
    *line_ = line;
    throw Failure{std::move(what)};
  }

  static Place place(const Frame& frame, const std::string& name) {
    const Frame* found = frame.frame_of(name);
    Place out;
    if (found == nullptr) return out;
    for (const Owner* at = frame.owner; at != found->owner; at = at->parent) ++out.hops;
    out.slot = found->slots.at(name);
    return out;
  }

  int context_name(const std::string& name) {
    const auto [at, is_new] = name_index_.emplace(name, static_cast<int>(names_.size()));
    if (is_new) names_.push_back(name);
    return at->second;
  }

  Scope entries(const Frame& frame) {
    Scope out;
    for (const auto& [name, load] : frame.loads) {
      if (load.is_parameter) continue;
      ScopeEntry entry{.slot = frame.slots.at(name), .from = load.from};
      if (load.from == ScopeEntry::From::kContext) entry.context = context_name(name);
      if (load.from == ScopeEntry::From::kOuter) {
        for (const Owner* at = frame.owner; at != load.outer->owner; at = at->parent) {
          ++entry.outer.hops;
        }
        entry.outer.slot = load.outer->slots.at(name);
      }
      out.entries.push_back(entry);
    }
    return out;
  }

  // `soft`: inside a condition an unknown filter is an error only when it is reached.
  void expr(Expr* e, const Frame& frame, bool soft) {
    if (e == nullptr) return;
    if (e->kind == ExprKind::kName || e->kind == ExprKind::kNamespaceRef) {
      e->place = place(frame, e->name);
    }
    if (e->kind == ExprKind::kCond) soft = true;
    if ((e->kind == ExprKind::kFilter && !is_filter(e->name)) ||
        (e->kind == ExprKind::kTest && !is_test(e->name))) {
      if (!soft) {
        fail(e->line, fmt::format("No {} named '{}'.",
                                  e->kind == ExprKind::kTest ? "test" : "filter", e->name));
      }
      e->is_unknown = true;
    }
    each_child(*e, [&](const Expr& child) { expr(const_cast<Expr*>(&child), frame, soft); });
  }

  void walk(Body& statements, const Frame& frame, bool soft) {
    for (const auto& s : statements) statement(s.get(), frame, soft);
  }

  void statement(Stmt* s, const Frame& frame, bool soft) {
    switch (s->kind) {
      case StmtKind::kOutput:
        for (const ExprPtr& e : s->exprs) expr(e.get(), frame, soft);
        return;
      case StmtKind::kIf:
        for (const ExprPtr& e : s->exprs) expr(e.get(), frame, true);
        for (Body& body : s->bodies) walk(body, frame, true);
        return walk(s->otherwise, frame, true);
      case StmtKind::kSet:
        expr(s->value.get(), frame, soft);
        return expr(s->target.get(), frame, soft);
      case StmtKind::kFor:
        return loop(s, frame, soft);
      case StmtKind::kMacro:
        s->place = place(frame, s->text);
        return function(s, frame);
      case StmtKind::kCallBlock:
        expr(s->value.get(), frame, soft);
        return function(s, frame);
      case StmtKind::kSetBlock:
      case StmtKind::kFilterBlock:
      case StmtKind::kBlock:
        return block(s, frame, soft);
      case StmtKind::kWith:
        return with(s, frame, soft);
      default:
        return;
    }
  }

  void check_loop_target(const Expr& target) {
    if (target.kind == ExprKind::kName && target.name == "loop") {
      fail(target.line, "Can't assign to special loop variable in for-loop target");
    }
    each_child(target, [this](const Expr& child) { check_loop_target(child); });
  }

  void check_loop_writes(const Body& body) {
    for (const auto& s : body) {
      if (s->target != nullptr) check_loop_target(*s->target);
      for (const ExprPtr& target : s->targets) check_loop_target(*target);
      for (const Body& inner : s->bodies) check_loop_writes(inner);
      check_loop_writes(s->otherwise);
    }
  }

  static ExprPtr target_copy(const Expr& target) {
    auto out = std::make_unique<Expr>();
    out->kind = target.kind;
    out->line = target.line;
    out->name = target.name;
    out->stores = target.stores;
    for (const ExprPtr& item : target.operands) out->operands.push_back(target_copy(*item));
    return out;
  }

  void loop(Stmt* s, const Frame& frame, bool soft) {
    check_loop_target(*s->target);
    check_loop_writes(s->bodies[0]);
    expr(s->value.get(), frame, soft);
    Frame inner(&frame, frame.owner);
    if (UndeclaredSearch("loop").in(s->bodies[0])) inner.declare_parameter("loop");
    Tracker tracker(&inner);
    tracker.expr(*s->target, true);
    tracker.body(s->bodies[0]);
    if (s->test != nullptr) {
      Frame test(&frame, frame.owner);
      Tracker test_tracker(&test);
      test_tracker.expr(*s->target, true);
      test_tracker.expr(*s->test);
      // jinja2 makes the test a function beside the loop, with the item under its own names.
      s->test_target = target_copy(*s->target);
      expr(s->test_target.get(), test, false);
      expr(s->test.get(), test, false);
      s->test_scope = entries(test);
    }
    expr(s->target.get(), inner, soft);
    walk(s->bodies[0], inner, false);
    s->scope = entries(inner);
    if (inner.loads.contains("loop") && inner.loads.at("loop").is_parameter) {
      s->loop_slot = inner.slots.at("loop");
    }
    Frame otherwise(&frame, frame.owner);
    Tracker(&otherwise).body(s->otherwise);
    walk(s->otherwise, otherwise, false);
    s->else_scope = entries(otherwise);
  }

  void function(Stmt* s, const Frame& frame) {
    frame.owner->has_inner = true;
    Owner owner{.parent = frame.owner};
    Frame inner(&frame, &owner);
    for (const Parameter& p : s->parameters) inner.declare_parameter(p.name);
    const auto names = [s](std::string_view name) {
      for (const Parameter& p : s->parameters) {
        if (p.name == name) return true;
      }
      return false;
    };
    const auto special = [&](const char* name, bool is_named, int* slot) {
      if (!UndeclaredSearch(name).in(s->bodies[0])) return;
      if (is_named) return;
      inner.declare_parameter(name);
      *slot = inner.slots.at(name);
    };
    s->explicit_caller = names("caller");
    if (s->explicit_caller && UndeclaredSearch("caller").in(s->bodies[0])) {
      for (const Parameter& p : s->parameters) {
        if (p.name == "caller" && p.fallback == nullptr) {
          fail(
              s->line,
              "When defining macros or call blocks the special \"caller\" argument must be omitted "
              "or be given a default.");
        }
      }
    }
    special("caller", s->explicit_caller, &s->caller_slot);
    special("kwargs", names("kwargs"), &s->kwargs_slot);
    special("varargs", names("varargs"), &s->varargs_slot);
    Tracker tracker(&inner);
    for (const Parameter& p : s->parameters) tracker.maybe(p.fallback);
    tracker.body(s->bodies[0]);
    for (Parameter& p : s->parameters) {
      p.slot = inner.slots.at(p.name);
      expr(p.fallback.get(), inner, false);
    }
    walk(s->bodies[0], inner, false);
    s->scope = entries(inner);
    s->slots = owner.slots;
    s->has_inner = owner.has_inner;
  }

  void block(Stmt* s, const Frame& frame, bool soft) {
    if (s->target != nullptr) expr(s->target.get(), frame, soft);
    Frame inner(&frame, frame.owner);
    Tracker tracker(&inner);
    tracker.body(s->bodies[0]);
    // The filter of a block runs inside it.
    if (s->kind != StmtKind::kBlock) tracker.maybe(s->value);
    expr(s->value.get(), inner, false);
    walk(s->bodies[0], inner, false);
    s->scope = entries(inner);
  }

  void with(Stmt* s, const Frame& frame, bool soft) {
    for (const ExprPtr& e : s->exprs) expr(e.get(), frame, soft);
    Frame inner(&frame, frame.owner);
    Tracker tracker(&inner);
    for (const ExprPtr& e : s->targets) tracker.expr(*e, true);
    tracker.body(s->bodies[0]);
    for (const ExprPtr& e : s->targets) expr(e.get(), inner, soft);
    walk(s->bodies[0], inner, false);
    s->scope = entries(inner);
  }

  int* line_;
  std::vector<std::string> names_;
  std::map<std::string, int> name_index_;
};

}  // namespace

Program resolve(Body body, int* line) { return Resolver(line).run(std::move(body)); }

}  // namespace hadal::jinja
