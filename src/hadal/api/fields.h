// Private to api: one JSON object of a request, read field by field. The first thing wrong is kept
// and the rest is skipped, so that a parser reads as a list of fields.
//
// JSON null counts as absent. Of a key given twice the last counts, as in every common JSON library
// and as RFC 8259 allows: this server is the only reader of the body, so nobody can disagree with
// it.
#pragma once

#include <cstdint>
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

// What a field of the protocol is to this server. Documentation and parser read the same table.
enum class FieldUse : uint8_t {
  kHonoured,  // does what it says
  kIgnored,   // accepted, without effect on the answer (labels, bookkeeping)
  kRefused,   // cannot be honoured, unless its value asks for nothing (null, false, empty, "none")
};
struct FieldRule {
  std::string_view name;
  FieldUse use;
  std::string_view note;  // why, or what instead
};

// The table of docs/api.md: one line a field.
std::string field_table(std::span<const FieldRule> rules);

class Fields {
 public:
  // `where`: prefix of field names in messages, "" or "messages[2].".
  Fields(const boost::json::object& object, std::string where = {});

  // Refuses every field that is not in `rules` (with the nearest name there) or refused by them.
  void allow(std::span<const FieldRule> rules);

  const boost::json::value* find(std::string_view name) const;  // nullptr: absent or null
  bool has(std::string_view name) const { return find(name) != nullptr; }
  void require(std::string_view name, std::string_view what);

  void boolean(std::string_view name, bool* target);
  void boolean(std::string_view name, std::optional<bool>* target);
  // `above`: the minimum itself is not allowed.
  void number(std::string_view name, double minimum, double maximum, std::optional<double>* target,
              bool above = false);
  void integer(std::string_view name, int64_t minimum, int64_t maximum,
               std::optional<int64_t>* target);
  void integer(std::string_view name, int32_t minimum, int32_t maximum, int32_t* target);
  void text(std::string_view name, size_t bytes_max, std::string* target);
  void integers(std::string_view name, size_t count_max, std::vector<int32_t>* target);
  // A string or an array of strings.
  void texts(std::string_view name, size_t count_max, size_t bytes_max,
             std::vector<std::string>* target);

  void fault(std::string_view name, std::string_view problem);
  void fault(ApiError error);
  // "field: found X, expected Y".
  void wrong(std::string_view name, const boost::json::value& found, std::string_view expected);
  bool ok() const { return !error_; }
  Parsed<void> status() const;
  std::string path(std::string_view name) const { return where_ + std::string(name); }

 private:
  const boost::json::object& object_;
  std::string where_;
  std::optional<ApiError> error_;
};

// What a message calls a value: "string", "number -1", "an array of 3".
std::string describe(const boost::json::value& value);
// A number without a fraction, written either way (16 or 16.0).
std::optional<int64_t> whole_number(const boost::json::value& value);
// Elements of an array of token ids; an error names the element.
Parsed<std::vector<int32_t>> token_ids(const boost::json::array& array, const std::string& where);

}  // namespace hadal::api
