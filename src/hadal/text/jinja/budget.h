// What one rendering may still cost. Internal to the interpreter.
#pragma once

#include <cstdint>

#include "hadal/text/jinja/object.h"
#include "hadal/text/jinja/template.h"

namespace hadal::jinja {

class Budget {
 public:
  explicit Budget(const Limits& limits) : limits_(limits) {}

  // `count` units of work: an expression evaluated, sixteen or so bytes or one item looked at.
  void work(uint64_t count = 1) {
    if ((steps_ += count) > limits_.steps) over("steps");
  }
  // A value of this size was made. Counted for good, not given back: the sum bounds the peak.
  void made(uint64_t bytes) {
    if ((bytes_ += bytes) > limits_.bytes) over("memory");
    work(bytes / 16);
  }
  void items(uint64_t count) { made(count * sizeof(Value)); }
  void nest(const Value& value) const {
    if (value.depth() > limits_.value_depth) over("nesting of lists and dictionaries");
  }
  const Limits& limits() const { return limits_; }
  [[noreturn]] static void over(const char* what) {
    throw Failure{std::string("the template needs more than the limit of ") + what, true};
  }

 private:
  const Limits limits_;
  uint64_t steps_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace hadal::jinja
