// Private to api: one JSON object of a request, read field by field. The first thing wrong is kept
// and the rest is skipped, so that a parser reads as a list of fields.
//
// JSON null counts as absent. Of a key given twice the last counts, as in every common JSON library
// and as RFC 8259 allows: this server is the only reader of the body, so nobody can disagree with
// it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/api/error.h"

namespace boost::json {
class array;
class object;
class value;
}  // namespace boost::json

namespace hadal::api {

// A parsed body; owns what Fields point into.
class Document {
 public:
  // The body must be one JSON object: valid UTF-8, at most limits::kJsonDepthMax deep.
  static Parsed<Document> parse(std::string_view body);
  Document(Document&&) noexcept;
  Document& operator=(Document&&) noexcept;
  ~Document();
  const boost::json::object& root() const;

 private:
  Document();
  std::unique_ptr<boost::json::value> value_;
};

// What a field of the protocol is to this server. Parser, /openapi.json and documentation read the
// same tables.
enum class FieldUse : uint8_t {
  kHonoured,  // does what it says
  kIgnored,   // accepted, without effect on the answer (labels, bookkeeping)
  kRefused,   // cannot be honoured, unless its value asks for nothing (null, false, empty, "none")
};

struct FieldTable;

// Which values a field takes. Made by the functions of namespace shape.
struct FieldShape {
  enum class Kind : uint8_t {
    kAny,
    kBoolean,
    kInteger,  // least to most
    kNumber,   // minimum to maximum
    kText,
    kWord,  // one of `words`
    kTexts,
    kTokens,
    kObject,
    kObjects,
    kOther,  // what `schema` says; its parser checks it
  };
  Kind kind = Kind::kAny;
  bool above = false;    // kNumber: the minimum itself is not allowed
  bool or_word = false;  // kObject: or one of `words`
  bool or_text = false;  // kObjects: or a string
  double minimum = 0;
  double maximum = 0;
  int64_t least = 0;
  int64_t most = 0;
  size_t count_min = 0;
  size_t count_max = 0;
  size_t bytes_max = 0;
  std::string_view words = {};        // separated by '|'
  std::string_view schema = {};       // kOther: JSON schema
  std::string_view expected = {};     // kOther: the same in words
  std::string_view fallback = {};     // what counts when the field is absent, as JSON; may be empty
  const FieldTable* inner = nullptr;  // kObject, kObjects: of the object, of each object

  constexpr FieldShape otherwise(std::string_view json) const {
    FieldShape copy = *this;
    copy.fallback = json;
    return copy;
  }
};

namespace shape {
using Kind = FieldShape::Kind;
constexpr FieldShape boolean() { return {.kind = Kind::kBoolean}; }
constexpr FieldShape integer(int64_t least, int64_t most) {
  return {.kind = Kind::kInteger, .least = least, .most = most};
}
constexpr FieldShape number(double minimum, double maximum) {
  return {.kind = Kind::kNumber, .minimum = minimum, .maximum = maximum};
}
constexpr FieldShape above(double minimum, double maximum) {
  return {.kind = Kind::kNumber, .above = true, .minimum = minimum, .maximum = maximum};
}
constexpr FieldShape text(size_t bytes_max) {
  return {.kind = Kind::kText, .bytes_max = bytes_max};
}
constexpr FieldShape word(std::string_view words) { return {.kind = Kind::kWord, .words = words}; }
// A string or an array of them; each one of `words`, if there are any.
constexpr FieldShape texts(size_t count_max, size_t bytes_max, std::string_view words = {}) {
  return {.kind = Kind::kTexts, .count_max = count_max, .bytes_max = bytes_max, .words = words};
}
constexpr FieldShape tokens(size_t count_max) {
  return {.kind = Kind::kTokens, .count_max = count_max};
}
constexpr FieldShape object(const FieldTable& inner) {
  return {.kind = Kind::kObject, .inner = &inner};
}
constexpr FieldShape word_or_object(std::string_view words, const FieldTable& inner) {
  return {.kind = Kind::kObject, .or_word = true, .words = words, .inner = &inner};
}
constexpr FieldShape objects(const FieldTable& inner, size_t count_min, size_t count_max) {
  return {.kind = Kind::kObjects, .count_min = count_min, .count_max = count_max, .inner = &inner};
}
constexpr FieldShape text_or_objects(const FieldTable& inner, size_t count_min, size_t count_max) {
  return {.kind = Kind::kObjects,
          .or_text = true,
          .count_min = count_min,
          .count_max = count_max,
          .inner = &inner};
}
constexpr FieldShape other(std::string_view schema, std::string_view expected) {
  return {.kind = Kind::kOther, .schema = schema, .expected = expected};
}
}  // namespace shape

struct FieldRule {
  std::string_view name;
  FieldUse use;
  std::string_view note;  // why, or what instead
  FieldShape shape = {};
};

// The fields of one kind of object.
struct FieldTable {
  std::string_view name;  // in /openapi.json
  std::span<const FieldRule> rules;
  std::string_view required = {};  // names, separated by '|'
  bool open = false;               // fields that are not here are let pass
};

// What a value of the shape is called in messages: "number 0 to 2", "array of at most 3 objects".
std::string expected_of(const FieldShape& shape);
// "a, b or c" of "a|b|c"
std::string listed(std::string_view words);

// One object, read by its table: only what the table has can be asked for, and in the table's
// bounds.
class Fields {
 public:
  // Refuses at once every field that is not in `table` (with the nearest name there) or refused by
  // it. `where`: prefix of names in messages, "" or "tools[2].".
  Fields(const boost::json::object& object, const FieldTable& table, std::string where = {});

  const boost::json::value* find(std::string_view name) const;  // nullptr: absent or null
  bool has(std::string_view name) const { return find(name) != nullptr; }
  void require(std::string_view name);
  // Whether all is right so far and nothing that the table requires is missing, which is a fault.
  bool complete();

  void boolean(std::string_view name, bool* target);
  void boolean(std::string_view name, std::optional<bool>* target);
  void number(std::string_view name, std::optional<double>* target);
  void integer(std::string_view name, std::optional<int64_t>* target);
  void integer(std::string_view name, int32_t* target);  // the table's range fits
  // Of a word: whether it is one of the table's is left to the caller.
  void text(std::string_view name, std::string* target);
  void word(std::string_view name, std::string* target);
  bool lists(std::string_view name, std::string_view word);  // of the words in the table
  void tokens(std::string_view name, std::vector<int32_t>* target);
  void texts(std::string_view name, std::vector<std::string>* target);
  // Calls read(Fields&) for the object, or for each of the objects, if there.
  template <class Read>
  void object(std::string_view name, const Read& read);
  template <class Read>
  void objects(std::string_view name, const Read& read);

  void fault(std::string_view name, std::string_view problem);
  void fault(ApiError error);
  // "field: found X, expected Y"; `expected` empty: what the table says.
  void wrong(std::string_view name, const boost::json::value& found,
             std::string_view expected = {});
  // "field: what", as something that this server does not do.
  void unsupported(std::string_view name, std::string_view what);
  bool ok() const { return !error_; }
  Parsed<void> status();        // complete(), or what is wrong
  std::string as_json() const;  // the whole object
  std::string path(std::string_view name) const { return where_ + std::string(name); }

 private:
  // The field's rule, which must have one of the kinds.
  const FieldShape& shape_of(std::string_view name, std::initializer_list<FieldShape::Kind> kinds);
  void check_names();
  // The object at `name`; nullptr: absent, or something else, which is then a fault.
  const boost::json::object* object_at(std::string_view name, const FieldShape& shape);
  const boost::json::array* objects_at(std::string_view name, const FieldShape& shape);
  // Element i, which must be an object.
  const boost::json::object* element(const boost::json::array& list, std::string_view name,
                                     size_t i);
  static size_t size(const boost::json::array& list);

  const boost::json::object& object_;
  const FieldTable& table_;
  std::string where_;
  std::optional<ApiError> error_;
};

template <class Read>
void Fields::object(std::string_view name, const Read& read) {
  const FieldShape& shape = shape_of(name, {FieldShape::Kind::kObject});
  const boost::json::object* found = object_at(name, shape);
  if (found == nullptr) return;
  Fields inner(*found, *shape.inner, path(name) + ".");
  if (inner.ok()) read(inner);
  if (auto status = inner.status(); !status) fault(status.error());
}

template <class Read>
void Fields::objects(std::string_view name, const Read& read) {
  const FieldShape& shape = shape_of(name, {FieldShape::Kind::kObjects});
  const boost::json::array* list = objects_at(name, shape);
  if (list == nullptr) return;
  for (size_t i = 0; i < size(*list) && ok(); ++i) {
    const boost::json::object* found = element(*list, name, i);
    if (found == nullptr) return;
    Fields inner(*found, *shape.inner, path(name) + "[" + std::to_string(i) + "].");
    if (inner.ok()) read(inner);
    if (auto status = inner.status(); !status) fault(status.error());
  }
}

// Of the field "metadata": at most 16 pairs of short texts.
void check_metadata(Fields& fields);
// What a message calls a value: "string", "number -1", "an array of 3".
std::string describe(const boost::json::value& value);
// A number without a fraction, written either way (16 or 16.0).
std::optional<int64_t> whole_number(const boost::json::value& value);
// Elements of an array of token ids; an error names the element.
Parsed<std::vector<int32_t>> token_ids(const boost::json::array& array, const std::string& where);

}  // namespace hadal::api
