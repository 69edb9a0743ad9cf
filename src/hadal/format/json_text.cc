#include "hadal/format/json_text.h"

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <unordered_set>
#include <vector>

#include "hadal/base/limits.h"
#include "hadal/format/field_error.h"

namespace hadal {
namespace {

namespace json = boost::json;

// Looks for a repeated key, which the parser that builds values would drop without a word.
struct KeyCheck {
  static constexpr size_t max_object_size = -1;
  static constexpr size_t max_array_size = -1;
  static constexpr size_t max_key_size = -1;
  static constexpr size_t max_string_size = -1;

  std::vector<std::unordered_set<std::string>> open;  // keys of the objects that enclose this place
  std::string key;
  std::string repeated;
  bool found_repeated = false;

  bool on_object_begin(json::error_code&) {
    open.emplace_back();
    return true;
  }
  bool on_object_end(size_t, json::error_code&) {
    open.pop_back();
    return true;
  }
  bool on_key_part(json::string_view part, size_t, json::error_code&) {
    key.append(part.data(), part.size());
    return true;
  }
  bool on_key(json::string_view part, size_t, json::error_code& error) {
    key.append(part.data(), part.size());
    if (!open.back().insert(key).second) {
      repeated = key;
      found_repeated = true;
      error = json::error::syntax;
      return false;
    }
    key.clear();
    return true;
  }
  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_array_begin(json::error_code&) { return true; }
  bool on_array_end(size_t, json::error_code&) { return true; }
  bool on_string_part(json::string_view, size_t, json::error_code&) { return true; }
  bool on_string(json::string_view, size_t, json::error_code&) { return true; }
  bool on_number_part(json::string_view, json::error_code&) { return true; }
  bool on_int64(int64_t, json::string_view, json::error_code&) { return true; }
  bool on_uint64(uint64_t, json::string_view, json::error_code&) { return true; }
  bool on_double(double, json::string_view, json::error_code&) { return true; }
  bool on_bool(bool, json::error_code&) { return true; }
  bool on_null(json::error_code&) { return true; }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }
};

}  // namespace

Result<json::value> parse_json(std::string_view text, std::string_view file) {
  constexpr std::string_view kExpected = "one JSON value";
  json::parse_options options;
  options.max_depth = limits::kJsonDepthMax;
  try {
    json::basic_parser<KeyCheck> check(options);
    json::error_code error;
    const size_t read = check.write_some(false, text.data(), text.size(), error);
    if (check.handler().found_repeated) {
      return field_error(Code::kCorrupt, file, "key " + shown(check.handler().repeated), "it twice",
                         "it once in an object");
    }
    if (error) {
      return field_error(Code::kCorrupt, file, "byte " + std::to_string(read), error.message(),
                         kExpected);
    }
    if (read < text.size()) {
      return field_error(Code::kCorrupt, file, "byte " + std::to_string(read),
                         "more after the end of the value", kExpected);
    }
    json::value value =
        json::parse(json::string_view(text.data(), text.size()), error, {}, options);
    if (error) return field_error(Code::kCorrupt, file, "content", error.message(), kExpected);
    return value;
  } catch (const std::exception& exception) {
    return field_error(Code::kCorrupt, file, "content", exception.what(), kExpected);
  }
}

std::string describe_json(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return value.get_bool() ? "true" : "false";
    case json::kind::int64:
    case json::kind::uint64:
    case json::kind::double_:
      return "the number " + std::string(json::serialize(value));
    case json::kind::string:
      return "the string " + shown(std::string_view(value.get_string()));
    case json::kind::array:
      return "an array of " + std::to_string(value.get_array().size());
    case json::kind::object:
      return "an object";
  }
  return "a value";
}

}  // namespace hadal
