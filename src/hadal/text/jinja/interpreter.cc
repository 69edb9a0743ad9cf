#include "hadal/text/jinja/interpreter.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "hadal/base/check.h"

namespace hadal::jinja {
namespace {

using Kind = Value::Kind;

constexpr std::array<std::pair<std::string_view, Global>, 7> kGlobals = {
    {{"range", Global::kRange},
     {"dict", Global::kDict},
     {"namespace", Global::kNamespace},
     {"joiner", Global::kJoiner},
     {"cycler", Global::kCycler},
     {"raise_exception", Global::kRaiseException},
     {"strftime_now", Global::kStrftimeNow}}};

constexpr int64_t kRangeMax = 100'000;  // jinja2.sandbox.MAX_RANGE

}  // namespace

Interpreter::Interpreter(const Program& program, const Dict& variables,
                         const RenderOptions& options)
    : program_(program), options_(options), budget_(options.limits) {
  context_.reserve(program.names.size());
  for (const std::string& name : program.names) {
    Value value;
    if (const Value* given = variables.find(name)) {
      value = *given;
    } else {
      for (const auto& [known, global] : kGlobals) {
        if (known == name) value = Value::object(std::make_shared<Function>(global));
      }
    }
    context_.push_back(std::move(value));
  }
}

// Namespaces can hold one another in a circle: what they hold is let go first.
Interpreter::~Interpreter() {
  for (const auto& space : namespaces_) {
    const Dict held = std::exchange(space->values, {});
  }
  for (const auto& frame : kept_) frame->slots.clear();
}

Str Interpreter::run() {
  kept_.push_back(std::make_unique<Activation>());
  frame_ = kept_.back().get();
  frame_->slots.resize(static_cast<size_t>(program_.slots));
  Str out;
  out_ = &out;
  enter(program_.scope);
  exec(program_.body);
  return out;
}

Value& Interpreter::variable(const Place& place) {
  Activation* at = frame_;
  for (int hops = place.hops; hops > 0; --hops) at = at->closure;
  return at->slots[static_cast<size_t>(place.slot)];
}

void Interpreter::enter(const Scope& scope) {
  for (const ScopeEntry& entry : scope.entries) {
    budget_.work();
    Value value;
    if (entry.from == ScopeEntry::From::kOuter) value = variable(entry.outer);
    if (entry.from == ScopeEntry::From::kContext)
      value = context_[static_cast<size_t>(entry.context)];
    frame_->slots[static_cast<size_t>(entry.slot)] = std::move(value);
  }
}

void Interpreter::leave(const Scope& scope) {
  for (const ScopeEntry& entry : scope.entries) {
    frame_->slots[static_cast<size_t>(entry.slot)] = Value();
  }
}

void Interpreter::output(const Value& value) {
  const size_t before = out_->text.size();
  if (value.is_string()) {
    budget_.made(value.text().size());
    out_->append(value.as_str());
  } else if (!value.is_undefined()) {
    append_repr(value, out_, budget_);
  }
  if (out_->text.size() > options_.limits.output) Budget::over("output");
  budget_.work((out_->text.size() - before) / 16);
}

template <class Run>
Str Interpreter::captured(const Run& run) {
  Str text;
  Str* const outside = std::exchange(out_, &text);
  run();
  out_ = outside;
  return text;
}

Interpreter::Flow Interpreter::exec(const Body& body) {
  const Deeper deeper(this);
  for (const auto& stmt : body) {
    const Flow flow = exec(*stmt);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::exec(const Stmt& stmt) {
  budget_.work();
  line_ = stmt.line;
  switch (stmt.kind) {
    case StmtKind::kText:
      budget_.made(stmt.text.size());
      out_->append(stmt.text);
      if (out_->text.size() > options_.limits.output) Budget::over("output");
      break;
    case StmtKind::kOutput:
      for (const ExprPtr& expr : stmt.exprs) output(eval(*expr));
      break;
    case StmtKind::kFor:
      return exec_for(stmt);
    case StmtKind::kIf:
      return exec_if(stmt);
    case StmtKind::kSet:
      assign(*stmt.target, eval(*stmt.value));
      break;
    case StmtKind::kMacro:
      variable(stmt.place) = make_macro(stmt);
      break;
    case StmtKind::kCallBlock:
      exec_call_block(stmt);
      break;
    case StmtKind::kSetBlock:
    case StmtKind::kFilterBlock:
    case StmtKind::kWith:
    case StmtKind::kBlock:
      return exec_scoped(stmt);
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::exec_if(const Stmt& stmt) {
  for (size_t i = 0; i < stmt.exprs.size(); ++i) {
    if (truthy(eval(*stmt.exprs[i]))) return exec(stmt.bodies[i]);
  }
  return exec(stmt.otherwise);
}

bool Interpreter::pull_filtered(const Stmt& stmt, Iterator* walk, Value* out) {
  while (walk->next(out)) {
    if (stmt.test == nullptr) return true;
    assign(*stmt.test_target, *out);
    if (truthy(eval(*stmt.test))) return true;
  }
  return false;
}

Interpreter::Flow Interpreter::exec_for(const Stmt& stmt) {
  const Value iterable = eval(*stmt.value);
  Iterator walk(iterable, budget_);
  enter(stmt.test_scope);
  Activation* const frame = frame_;
  const auto loop = std::make_shared<Loop>();
  if (stmt.loop_slot >= 0) {
    if (stmt.test == nullptr) loop->length = length(iterable);
    // Also asked from a macro that got the loop: the test runs where the loop stands.
    loop->pull = [this, &stmt, &walk, frame](Value* out) {
      Activation* const here = std::exchange(frame_, frame);
      const bool found = pull_filtered(stmt, &walk, out);
      frame_ = here;
      return found;
    };
    budget_.items(8);
  }
  // However the walk ends, the loop lets go of it and of its items.
  struct Closer {
    Loop* loop;
    ~Closer() {
      loop->pull = [](Value*) { return false; };
      loop->before = loop->current = loop->after = Value();
      loop->last_changed.reset();
      loop->has_after = false;
    }
  } const closer{loop.get()};

  bool walked = false;
  for (Value item;;) {
    if (stmt.loop_slot < 0) {
      if (!pull_filtered(stmt, &walk, &item)) break;
    } else {
      if (loop->has_after) {
        item = std::exchange(loop->after, Value());
        loop->has_after = false;
      } else if (!loop->pull(&item)) {
        break;
      }
      ++loop->index0;
      loop->before = std::exchange(loop->current, item);
    }
    walked = true;
    enter(stmt.scope);
    if (stmt.loop_slot >= 0)
      frame_->slots[static_cast<size_t>(stmt.loop_slot)] = Value::object(loop);
    assign(*stmt.target, std::move(item));
    if (exec(stmt.bodies[0]) == Flow::kBreak) break;
  }
  leave(stmt.scope);
  if (stmt.loop_slot >= 0) frame_->slots[static_cast<size_t>(stmt.loop_slot)] = Value();
  if (walked || stmt.otherwise.empty()) return Flow::kNext;
  enter(stmt.else_scope);
  return exec(stmt.otherwise);
}

Interpreter::Flow Interpreter::exec_scoped(const Stmt& stmt) {
  const Deeper deeper(this);
  std::vector<Value> values;
  if (stmt.kind == StmtKind::kWith) values = eval_all(stmt.exprs);
  enter(stmt.scope);
  for (size_t i = 0; i < values.size(); ++i) assign(*stmt.targets[i], std::move(values[i]));
  Flow flow = Flow::kNext;
  if (stmt.kind == StmtKind::kWith || stmt.kind == StmtKind::kBlock) {
    flow = exec(stmt.bodies[0]);
    leave(stmt.scope);
    return flow;
  }
  Str text = captured([&] { flow = exec(stmt.bodies[0]); });
  if (flow != Flow::kNext) return flow;
  Value value = make_str(std::move(text), budget_);
  line_ = stmt.line;
  if (stmt.value != nullptr) {
    const Value* const outside = std::exchange(piped_, &value);
    Value filtered = eval(*stmt.value);
    piped_ = outside;
    value = std::move(filtered);
  }
  leave(stmt.scope);
  if (stmt.kind == StmtKind::kFilterBlock) {
    output(value);
  } else {
    assign(*stmt.target, std::move(value));
  }
  return flow;
}

void Interpreter::exec_call_block(const Stmt& stmt) {
  const Value caller = make_macro(stmt);
  if (stmt.value == nullptr) return output(call(caller, {}));
  output(eval_call(*stmt.value, &caller));
}

void Interpreter::assign(const Expr& target, Value value) {
  if (target.kind == ExprKind::kName) {
    variable(target.place) = std::move(value);
    return;
  }
  if (target.kind == ExprKind::kNamespaceRef) return assign_attribute(target, std::move(value));
  const size_t wanted = target.operands.size();
  if (!is_iterable(value))
    raise(fmt::format("cannot unpack non-iterable {} object", type_name(value)));
  Iterator walk(std::move(value), budget_);
  std::vector<Value> items;
  for (Value item; walk.next(&item);) {
    if (items.size() == wanted)
      raise(fmt::format("too many values to unpack (expected {})", wanted));
    items.push_back(std::move(item));
  }
  if (items.size() < wanted) {
    raise(fmt::format("not enough values to unpack (expected {}, got {})", wanted, items.size()));
  }
  for (size_t i = 0; i < wanted; ++i) assign(*target.operands[i], std::move(items[i]));
}

void Interpreter::assign_attribute(const Expr& target, Value value) {
  const Value space = variable(target.place);
  if (space.kind() != Kind::kObject || space.as_object().kind != Object::Kind::kNamespace) {
    raise("cannot assign attribute on non-namespace object");
  }
  budget_.work();
  static_cast<Namespace&>(space.as_object()).values.set(target.attribute, std::move(value));
}

Value Interpreter::make_macro(const Stmt& definition) {
  auto macro = std::make_shared<Macro>();
  macro->definition = &definition;
  macro->closure = frame_;
  return make_object(std::move(macro), budget_);
}

Value Interpreter::call(const Value& callee, Arguments arguments) {
  if (callee.is_undefined()) raise(callee.undefined_message());
  if (callee.kind() != Kind::kObject)
    raise(fmt::format("'{}' object is not callable", type_name(callee)));
  Object& object = callee.as_object();
  switch (object.kind) {
    case Object::Kind::kMacro:
      return call_macro(static_cast<const Macro&>(object), std::move(arguments));
    case Object::Kind::kMethod: {
      const auto& method = static_cast<const Method&>(object);
      return call_method(method.self, method.name, arguments, budget_);
    }
    case Object::Kind::kFunction:
      return call_global(static_cast<const Function&>(object).global, arguments);
    case Object::Kind::kJoiner: {
      auto& joiner = static_cast<Joiner&>(object);
      return std::exchange(joiner.used, true) ? joiner.separator : make_text("", budget_);
    }
    case Object::Kind::kLoop:
      raise("The loop must have the 'recursive' marker to be called recursively.");
    default:
      raise(fmt::format("'{}' object is not callable", type_name(callee)));
  }
}

void Interpreter::bind(const Stmt& definition, Arguments arguments, Activation* frame) {
  const auto& parameters = definition.parameters;
  const std::string& name = definition.text;
  const size_t given = std::min(arguments.positional.size(), parameters.size());
  const auto slot = [frame](int index) -> Value& {
    return frame->slots[static_cast<size_t>(index)];
  };
  const auto take = [&arguments](std::string_view wanted) {
    const auto at =
        std::ranges::find(arguments.named, wanted, &std::pair<std::string, Value>::first);
    Value out;
    if (at != arguments.named.end()) {
      out = std::move(at->second);
      arguments.named.erase(at);
    }
    return out;
  };
  for (size_t i = 0; i < parameters.size(); ++i) {
    slot(parameters[i].slot) = i < given ? arguments.positional[i] : take(parameters[i].name);
  }
  if (definition.caller_slot >= 0) {
    Value caller = take("caller");
    const bool none = caller.is_missing() || caller.is_none();
    slot(definition.caller_slot) = none ? Value::undefined("No caller defined") : std::move(caller);
  }
  if (definition.kwargs_slot >= 0) {
    Dict rest;
    for (auto& [key, value] : arguments.named) rest.set(key, std::move(value));
    slot(definition.kwargs_slot) = make_dict(std::move(rest), budget_);
  } else if (!arguments.named.empty()) {
    raise(fmt::format("macro '{}' takes no keyword argument '{}'", name, arguments.named[0].first));
  }
  if (definition.varargs_slot >= 0) {
    slot(definition.varargs_slot) =
        make_tuple({arguments.positional.begin() + static_cast<std::ptrdiff_t>(given),
                    arguments.positional.end()},
                   budget_);
  } else if (arguments.positional.size() > parameters.size()) {
    raise(fmt::format("macro '{}' takes not more than {} argument(s)", name, parameters.size()));
  }
}

Value Interpreter::call_macro(const Macro& macro, Arguments arguments) {
  const Deeper deeper(this);
  const Stmt& definition = *macro.definition;
  const int line = line_;
  auto owned = std::make_unique<Activation>();
  Activation* const frame = owned.get();
  frame->closure = macro.closure;
  frame->slots.resize(static_cast<size_t>(definition.slots));
  budget_.items(frame->slots.size() + 4);
  // Macros defined inside may outlive this call.
  if (definition.has_inner) kept_.push_back(std::move(owned));

  bind(definition, std::move(arguments), frame);
  Activation* const outside = std::exchange(frame_, frame);
  Str text = captured([&] {
    enter(definition.scope);
    for (const Parameter& parameter : definition.parameters) {
      Value& value = frame->slots[static_cast<size_t>(parameter.slot)];
      if (!value.is_missing()) continue;
      Value fallback =
          parameter.fallback != nullptr
              ? eval(*parameter.fallback)
              : Value::undefined(fmt::format("parameter '{}' was not provided", parameter.name));
      frame->slots[static_cast<size_t>(parameter.slot)] = std::move(fallback);
    }
    exec(definition.bodies[0]);
  });
  frame_ = outside;
  line_ = line;
  return make_str(std::move(text), budget_);
}

Value Interpreter::call_global(Global global, const Arguments& arguments) {
  switch (global) {
    case Global::kRange:
      return make_range(arguments);
    case Global::kNamespace:
      return make_namespace(arguments);
    case Global::kDict: {
      const Value space = make_namespace(arguments);
      return make_dict(static_cast<Namespace&>(space.as_object()).values, budget_);
    }
    case Global::kJoiner: {
      const Bound bound("joiner", arguments, {"sep"});
      return make_object(std::make_shared<Joiner>(bound.or_else(0, Value::string(", "))), budget_);
    }
    case Global::kCycler:
      if (arguments.positional.empty()) raise("at least one item has to be provided");
      return make_object(std::make_shared<Cycler>(arguments.positional), budget_);
    case Global::kRaiseException: {
      const Bound bound("raise_exception", arguments, {"message"}, 1);
      raise(to_str(bound[0], budget_).text);
    }
    case Global::kStrftimeNow:
      return formatted_now(arguments);
  }
  return Value::none();
}

Value Interpreter::make_range(const Arguments& arguments) {
  const auto& given = arguments.positional;
  if (!arguments.named.empty()) raise("range() takes no keyword arguments");
  if (given.empty() || given.size() > 3) {
    raise(fmt::format("range expected 1 to 3 arguments, got {}", given.size()));
  }
  const int64_t start = given.size() > 1 ? to_index(given[0]) : 0;
  const int64_t stop = to_index(given[given.size() > 1 ? 1 : 0]);
  const int64_t step = given.size() > 2 ? to_index(given[2]) : 1;
  if (step == 0) raise("range() arg 3 must not be zero");
  auto range = std::make_shared<Range>(start, stop, step);
  if (range->size() > kRangeMax) {
    raise(fmt::format("Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).",
                      kRangeMax));
  }
  return make_object(std::move(range), budget_);
}

// Also dict(): a mapping or pairs, then names.
Value Interpreter::make_namespace(const Arguments& arguments) {
  auto space = std::make_shared<Namespace>();
  if (arguments.positional.size() > 1) raise("expected at most 1 argument");
  if (!arguments.positional.empty()) {
    const Value& from = arguments.positional[0];
    if (from.is_dict()) {
      space->values = from.as_dict();
    } else {
      Iterator walk(from, budget_);
      for (Value pair; walk.next(&pair);) {
        std::vector<Value> both = to_list(pair, budget_);
        if (both.size() != 2) raise("dictionary update sequence element needs length 2");
        set_item(&space->values, std::move(both[0]), std::move(both[1]), budget_);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) space->values.set(name, value);
  budget_.items(3 * space->values.size() + 8);
  namespaces_.push_back(space);
  return make_object(std::move(space), budget_);
}

Value Interpreter::formatted_now(const Arguments& arguments) {
  const Bound bound("strftime_now", arguments, {"format"}, 1);
  const Str& format = bound.str(0);
  constexpr size_t kFormatMax = 1000;
  if (format.text.size() > kFormatMax || format.text.find('\0') != std::string::npos) {
    raise("strftime_now() was given no usable format");
  }
  const std::time_t seconds = options_.local_seconds;
  std::tm parts = {};
  if (gmtime_r(&seconds, &parts) == nullptr) raise("the time is out of range");
  parts.tm_zone = "";  // Python's naive times have neither zone nor offset
  std::string pattern;
  for (size_t i = 0; i < format.text.size(); ++i) {
    pattern.push_back(format.text[i]);
    if (format.text[i] != '%' || i + 1 == format.text.size()) continue;
    const char letter = format.text[++i];
    if (letter == 'z' || letter == 'Z') {
      pattern.pop_back();
    } else if (letter == 'f') {
      pattern.back() = '0';
      pattern += "00000";
    } else {
      pattern.push_back(letter);
    }
  }
  pattern.push_back(' ');  // so that an empty result is told from a full buffer
  std::vector<char> buffer(kFormatMax * 64);
  const size_t length = std::strftime(buffer.data(), buffer.size(), pattern.c_str(), &parts);
  if (length == 0) raise("strftime_now() was given no usable format");
  return derived(std::string(buffer.data(), length - 1), format, budget_);
}

}  // namespace hadal::jinja
