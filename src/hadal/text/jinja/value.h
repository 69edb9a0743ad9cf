// What a chat template computes with: Python's plain values, as JSON has them, and a few more that
// only a running template can make.
//
// A string knows which of its bytes came from outside the template (a message, a tool's
// description), so that a rendered conversation can be tokenised without a user's "<|User|>"
// turning into a special token.
//
// Threads: values are immutable once they are shared; any number of threads may read one at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hadal::jinja {

// Bytes [begin, end) of a string.
struct Span {
  size_t begin = 0;
  size_t end = 0;
  bool operator==(const Span&) const = default;
};

struct Str {
  std::string text;           // well-formed UTF-8
  std::vector<Span> foreign;  // what is not the template's own; ascending, disjoint, not empty
  bool markup = false;        // made by |safe or |escape: adding to it escapes the other side

  bool is_foreign() const { return !foreign.empty(); }
  // The bytes [begin, end), with their origin.
  Str slice(size_t begin, size_t end) const;
  void append(std::string_view own);  // of the template
  void append(const Str& other);
  void append(const Str& other, size_t begin, size_t end);
};

class Dict;
struct List;
struct Object;
struct UndefinedInfo;

class Value {
 public:
  enum class Kind : uint8_t {
    kUndefined,  // also what a variable is that was never set
    kNone,
    kBool,
    kInt,  // 64 bits: Python's larger integers are an error
    kFloat,
    kString,
    kList,
    kTuple,
    kDict,
    kObject,  // what only a running template has: ranges, namespaces, macros, ...
  };

  Value() = default;  // undefined, without a name
  static Value none();
  static Value boolean(bool value);
  static Value integer(int64_t value);
  static Value number(double value);
  // The template's own or as harmless: roles, special tokens. Ill-formed UTF-8 becomes U+FFFD.
  static Value string(std::string text);
  // From outside, all of it.
  static Value foreign(std::string text);
  static Value str(Str text);  // `text` must be well-formed
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value dict(Dict items);
  static Value object(std::shared_ptr<Object> object);
  static Value undefined(std::string message);  // what an error says that it causes

  Kind kind() const { return kind_; }
  bool is_undefined() const { return kind_ == Kind::kUndefined; }
  bool is_missing() const { return kind_ == Kind::kUndefined && heap_ == nullptr; }
  bool is_none() const { return kind_ == Kind::kNone; }
  bool is_string() const { return kind_ == Kind::kString; }
  bool is_sequence() const { return kind_ == Kind::kList || kind_ == Kind::kTuple; }
  bool is_dict() const { return kind_ == Kind::kDict; }
  // bool, int or float; bool is a number to Python.
  bool is_number() const {
    return kind_ == Kind::kBool || kind_ == Kind::kInt || kind_ == Kind::kFloat;
  }
  bool is_integral() const { return kind_ == Kind::kBool || kind_ == Kind::kInt; }

  // Each only for its kind.
  int64_t as_int() const { return int_; }  // kBool too
  double as_double() const;                // any number
  const Str& as_str() const { return *static_cast<const Str*>(heap_.get()); }
  const std::string& text() const { return as_str().text; }
  const std::vector<Value>& items() const;  // kList, kTuple
  const Dict& as_dict() const;
  Object& as_object() const;
  std::shared_ptr<Object> shared_object() const;
  const std::string& undefined_message() const;

  // The string to change in place when nobody else holds it, else null.
  Str* unique_str();
  const void* identity() const { return heap_.get(); }
  // How deep containers nest: 0 for what holds nothing.
  int depth() const;

 private:
  Kind kind_ = Kind::kUndefined;
  union {
    int64_t int_ = 0;
    double float_;
  };
  std::shared_ptr<void> heap_;
};

struct List {
  std::vector<Value> items;
  int depth = 1;
};

// Ordered by insertion. Keys are strings, numbers, None or flat tuples of these.
class Dict {
 public:
  using Item = std::pair<Value, Value>;
  // A later value of a key replaces the earlier one, in its place.
  void set(Value key, Value value);
  void set(std::string_view key, Value value) { set(Value::string(std::string(key)), value); }
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  const std::vector<Item>& items() const { return items_; }
  size_t size() const { return items_.size(); }
  int depth() const { return depth_; }

 private:
  size_t position(const Value& key) const;  // size() when absent
  std::vector<Item> items_;
  std::unordered_multimap<size_t, uint32_t> index_;  // by hash, once there are many
  int depth_ = 1;
};

// True when `value` may be a key of a Dict.
bool is_key(const Value& value);
// Equality of keys, as Python's: 1 == 1.0 == True.
bool same_key(const Value& a, const Value& b);

}  // namespace hadal::jinja
