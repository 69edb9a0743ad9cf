// The methods of Python's strings and dictionaries, and its two ways of formatting. Internal to the
// interpreter.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hadal/text/jinja/ops.h"
#include "hadal/text/jinja/python_text.h"

namespace hadal::jinja {

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Sorts arguments into parameters, as Python does; raises for too many or unknown ones.
class Bound {
 public:
  // `callee` for messages; the first `required` parameters must be there.
  Bound(std::string_view callee, const Arguments& arguments,
        std::initializer_list<std::string_view> names, size_t required = 0);
  bool has(size_t i) const { return values_[i] != nullptr; }
  const Value& operator[](size_t i) const { return *values_[i]; }
  Value or_else(size_t i, Value fallback) const {
    return has(i) ? *values_[i] : std::move(fallback);
  }
  int64_t integer(size_t i, int64_t fallback) const;
  bool flag(size_t i, bool fallback = false) const;
  const Str& str(size_t i) const;  // raises unless it is a string

 private:
  std::string_view callee_;
  std::vector<const Value*> values_;
};

bool has_method(const Value& value, std::string_view name);
// What jinja2's sandbox refuses: append, update, pop, ...
bool is_mutating_method(const Value& value, std::string_view name);
Value call_method(const Value& self, const std::string& name, const Arguments& arguments,
                  Budget& budget);

// str.strip(chars) and its halves; `chars` null: white space.
enum class Side : uint8_t { kLeft = 1, kRight = 2, kBoth = 3 };
Value stripped(const Str& text, const Str* chars, Side side, Budget& budget);
Value replaced(const Str& text, const Str& from, const Str& to, int64_t count, Budget& budget);
Value cased(const Str& text, Case wanted, Budget& budget);
Value capitalized(const Str& text, Budget& budget);
Value centered(const Str& text, int64_t width, Budget& budget);
std::vector<Value> split_lines(const Str& text, bool keep_ends, Budget& budget);
// `at` is a byte offset or npos.
std::vector<Value> split_space(const Str& text, int64_t limit, bool from_right, Budget& budget);
std::vector<Value> split_at(const Str& text, const Str& separator, int64_t limit, bool from_right,
                            Budget& budget);
Value joined(const Str& separator, const Value& items, bool convert, Budget& budget);

// &, <, >, ' and " as entities; the result is markup.
Value escaped(const Value& value, Budget& budget);
// format % arguments.
Value percent_format(const Value& format, const Value& arguments, Budget& budget);
// format.format(...).
Value brace_format(const Str& format, const Arguments& arguments, Budget& budget);

}  // namespace hadal::jinja
