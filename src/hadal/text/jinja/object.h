// What a running template can hold that JSON cannot. Internal to the interpreter.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "hadal/text/jinja/value.h"

namespace hadal::jinja {

struct Stmt;
struct Activation;

// A failure of the template or of what it was given. Inside this folder it is thrown: an expression
// evaluator of Results would be twice as long. Template (template.h) lets none out.
struct Failure {
  std::string what;
  bool is_limit = false;  // over a bound of the interpreter, which no other template engine has
};

struct Object {
  enum class Kind : uint8_t {
    kGenerator,
    kView,
    kRange,
    kNamespace,
    kMacro,
    kMethod,
    kFunction,
    kLoop,
    kJoiner,
    kCycler,
    kGroup,
  };
  explicit Object(Kind k) : kind(k) {}
  virtual ~Object() = default;
  Kind kind;
  int depth = 1;
};

// map, select, items, reversed, ...: can be walked once.
struct Generator final : Object {
  explicit Generator(std::vector<Value> values)
      : Object(Kind::kGenerator), items(std::move(values)) {
    for (const Value& item : items) depth = std::max(depth, item.depth() + 1);
  }
  std::vector<Value> items;
  size_t next = 0;
};

// dict.items(), .keys(), .values().
struct View final : Object {
  View(const char* type, std::vector<Value> values)
      : Object(Kind::kView), type_name(type), items(std::move(values)) {
    for (const Value& item : items) depth = std::max(depth, item.depth() + 1);
  }
  const char* type_name;
  std::vector<Value> items;
};

struct Range final : Object {
  Range(int64_t first, int64_t last, int64_t by)
      : Object(Kind::kRange), start(first), stop(last), step(by) {}
  int64_t start, stop, step;
  int64_t size() const {
    const auto u = [](int64_t v) { return static_cast<uint64_t>(v); };
    if (step > 0 ? stop <= start : start <= stop) return 0;
    const uint64_t count = step > 0 ? (u(stop) - u(start) - 1) / u(step) + 1
                                    : (u(start) - u(stop) - 1) / (0 - u(step)) + 1;
    return count > INT64_MAX ? INT64_MAX : static_cast<int64_t>(count);
  }
};

struct Namespace final : Object {
  Namespace() : Object(Kind::kNamespace) { depth = 0; }  // taken apart by its renderer
  Dict values;
};

struct Macro final : Object {
  Macro() : Object(Kind::kMacro) { depth = 0; }
  const Stmt* definition = nullptr;
  Activation* closure = nullptr;
};

// A method of a value: "abc".upper, {}.items.
struct Method final : Object {
  Method(Value receiver, std::string method)
      : Object(Kind::kMethod), self(std::move(receiver)), name(std::move(method)) {
    depth = self.depth() + 1;
  }
  Value self;
  std::string name;
};

enum class Global : uint8_t {
  kRange,
  kDict,
  kNamespace,
  kJoiner,
  kCycler,
  kRaiseException,
  kStrftimeNow
};

struct Function final : Object {
  explicit Function(Global which) : Object(Kind::kFunction), global(which) { depth = 0; }
  Global global;
};

// The variable `loop`.
struct Loop final : Object {
  Loop() : Object(Kind::kLoop) { depth = 0; }
  std::function<bool(Value*)> pull;  // the next item
  std::optional<int64_t> length;     // known before the walk
  int64_t index0 = -1;
  int depth0 = 0;
  Value before, current, after;
  bool has_after = false;
  std::optional<Value> last_changed;
};

struct Joiner final : Object {
  explicit Joiner(Value sep) : Object(Kind::kJoiner), separator(std::move(sep)) {
    depth = separator.depth() + 1;
  }
  Value separator;
  bool used = false;
};

struct Cycler final : Object {
  explicit Cycler(std::vector<Value> values) : Object(Kind::kCycler), items(std::move(values)) {
    for (const Value& item : items) depth = std::max(depth, item.depth() + 1);
  }
  std::vector<Value> items;
  size_t next = 0;
};

// One of |groupby: a tuple of two with names.
struct Group final : Object {
  Group(Value key, Value members)
      : Object(Kind::kGroup), pair({std::move(key), std::move(members)}) {
    for (const Value& item : pair) depth = std::max(depth, item.depth() + 1);
  }
  std::vector<Value> pair;
};

}  // namespace hadal::jinja
