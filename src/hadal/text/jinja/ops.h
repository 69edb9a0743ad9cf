// Python's operators on values. All throw Failure where Python raises. Internal to the interpreter.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/text/jinja/ast.h"
#include "hadal/text/jinja/budget.h"
#include "hadal/text/jinja/object.h"
#include "hadal/text/jinja/value.h"

namespace hadal::jinja {

[[noreturn]] void raise(std::string what);

std::string_view type_name(const Value& value);  // as type(x).__name__
bool truthy(const Value& value);
bool equal(const Value& a, const Value& b, Budget& budget);
// a < b for sorting and comparisons; `sign` is what a message calls it.
bool less(const Value& a, const Value& b, std::string_view sign, Budget& budget);
bool compare(Op op, const Value& a, const Value& b, Budget& budget);
bool contains(const Value& container, const Value& item, Budget& budget);
Value binary(Op op, Value a, Value b, Budget& budget);
Value negative(const Value& value);
Value positive(const Value& value);

// str(value): what {{ value }} prints.
Str to_str(const Value& value, Budget& budget);
void append_repr(const Value& value, Str* out, Budget& budget, int depth = 0);

// value.name and value[key], as the sandbox of jinja2 looks them up; undefined when there is none.
Value get_attribute(const Value& value, const std::string& name, Budget& budget);
Value get_item(const Value& value, const Value& key, Budget& budget);
// value[start:stop:step]; undefined parts are given as None.
Value get_slice(const Value& value, const Value& start, const Value& stop, const Value& step,
                Budget& budget);

// len(value), nullopt when it has none.
std::optional<int64_t> length(const Value& value);
bool is_iterable(const Value& value);

// iter(value). Raises at construction when it cannot be walked.
class Iterator {
 public:
  Iterator(Value value, Budget& budget);
  bool next(Value* out);

 private:
  Value value_;
  Budget& budget_;
  const std::vector<Value>* items_ = nullptr;
  size_t at_ = 0;
};
std::vector<Value> to_list(const Value& value, Budget& budget);

// New values, paid for.
Value make_str(Str text, Budget& budget);
Value make_text(std::string text, Budget& budget);
// `text` computed from `from`: foreign as a whole if any of that was.
Value derived(std::string text, const Str& from, Budget& budget);
Value make_list(std::vector<Value> items, Budget& budget);
Value make_tuple(std::vector<Value> items, Budget& budget);
Value make_dict(Dict items, Budget& budget);
Value make_generator(std::vector<Value> items, Budget& budget);
Value make_object(std::shared_ptr<Object> object, Budget& budget);
// A dict entry; raises for keys that Python cannot hash.
void set_item(Dict* dict, Value key, Value value, Budget& budget);

// An integer where Python takes one (an index, a width); raises otherwise.
int64_t to_index(const Value& value);

}  // namespace hadal::jinja
