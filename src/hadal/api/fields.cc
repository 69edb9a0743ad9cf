#include "hadal/api/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <limits>
#include <utility>

#include "hadal/api/utf8.h"
#include "hadal/base/check.h"
#include "hadal/base/limits.h"

namespace hadal::api {
namespace {

namespace json = boost::json;

ApiError bad_json(std::string text) {
  return {Code::kInvalidInput, "the request body " + std::move(text), {}, "invalid_json"};
}

bool starts_literal(std::string_view body, size_t at, std::string_view literal) {
  // The parser stops at or just behind the first letter.
  for (size_t begin = at > 2 ? at - 2 : 0; begin <= at && begin < body.size(); ++begin) {
    if (body.substr(begin, literal.size()) == literal) return true;
  }
  return false;
}

ApiError explain(std::string_view body, size_t at, const json::error_code& ec) {
  if (body.empty()) return bad_json("is empty, expected a JSON object");
  if (ec == json::error::too_deep) {
    return bad_json(fmt::format("is nested deeper than {} levels", limits::kJsonDepthMax));
  }
  for (const std::string_view literal : {"NaN", "Infinity"}) {
    if (starts_literal(body, at, literal)) {
      return bad_json(fmt::format(
          "has {} at byte {}, which is not a JSON number; send a finite number", literal, at));
    }
  }
  if (valid_utf8(body) != body) {
    return bad_json(fmt::format("is not valid UTF-8 at byte {}", at));
  }
  return bad_json(fmt::format("is not valid JSON at byte {}: {}", at, ec.message()));
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t corner = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, corner + (a[i - 1] != b[j - 1])});
      corner = above;
    }
  }
  return row[b.size()];
}

// Values that ask for nothing: a client's defaults, written out.
bool asks_for_nothing(const json::value& value) {
  if (value.is_null()) return true;
  if (value.is_bool()) return !value.get_bool();
  if (value.is_array()) return value.get_array().empty();
  if (value.is_object()) return value.get_object().empty();
  if (value.is_string()) return value.get_string() == "none" || value.get_string().empty();
  return false;
}

std::string cut(std::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) return std::string(text);
  while (bytes_max > 0 && (static_cast<uint8_t>(text[bytes_max]) & 0xc0) == 0x80) --bytes_max;
  return std::string(text.substr(0, bytes_max)) + "...";
}

}  // namespace

Document::Document() : value_(std::make_unique<json::value>()) {}
Document::Document(Document&&) noexcept = default;
Document& Document::operator=(Document&&) noexcept = default;
Document::~Document() = default;
const json::object& Document::root() const { return value_->get_object(); }

Parsed<Document> Document::parse(std::string_view body) {
  json::parse_options options;
  options.max_depth = limits::kJsonDepthMax;
  json::stream_parser parser(json::storage_ptr(), options);
  json::error_code ec;
  const size_t used = parser.write_some(body.data(), body.size(), ec);
  if (!ec && used < body.size()) {
    return fail(bad_json(fmt::format("goes on at byte {} after the JSON value ended", used)));
  }
  if (!ec) parser.finish(ec);
  if (ec) return fail(explain(body, used, ec));
  Document document;
  *document.value_ = parser.release();
  if (!document.value_->is_object()) {
    return fail(bad_json("is " + describe(*document.value_) + ", expected an object"));
  }
  return document;
}

std::string describe(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return value.get_bool() ? "true" : "false";
    case json::kind::int64:
    case json::kind::uint64:
    case json::kind::double_:
      return json::serialize(value);
    case json::kind::string:
      return "string";
    case json::kind::array:
      return fmt::format("array of {}", value.get_array().size());
    case json::kind::object:
      return "object";
  }
  return "nothing";
}

std::optional<int64_t> whole_number(const json::value& value) {
  if (value.is_int64()) return value.get_int64();
  if (value.is_double()) {
    const double number = value.get_double();
    if (std::trunc(number) == number && std::fabs(number) <= 9007199254740992.0) {
      return static_cast<int64_t>(number);
    }
  }
  return std::nullopt;
}

Parsed<std::vector<int32_t>> token_ids(const json::array& array, const std::string& where) {
  std::vector<int32_t> ids;
  ids.reserve(array.size());
  for (size_t i = 0; i < array.size(); ++i) {
    const auto id = whole_number(array[i]);
    if (!id || *id < 0 || *id > std::numeric_limits<int32_t>::max()) {
      const std::string name = fmt::format("{}[{}]", where, i);
      return fail(ApiError(Code::kInvalidInput,
                           fmt::format("{}: found {}, expected a token id (integer from 0)", name,
                                       describe(array[i])),
                           name));
    }
    ids.push_back(static_cast<int32_t>(*id));
  }
  return ids;
}

std::string listed(std::string_view words) {
  std::string out;
  for (size_t at = 0; at <= words.size();) {
    const size_t end = std::min(words.find('|', at), words.size());
    if (!out.empty()) out += end == words.size() ? " or " : ", ";
    out += words.substr(at, end - at);
    at = end + 1;
  }
  return out;
}

namespace {

bool is_listed(std::string_view words, std::string_view word) {
  return !word.empty() && word.find('|') == word.npos &&
         ("|" + std::string(words) + "|").find("|" + std::string(word) + "|") != words.npos;
}

}  // namespace

std::string expected_of(const FieldShape& shape) {
  using Kind = FieldShape::Kind;
  const auto count = [&](std::string_view what) {
    return shape.count_min > 0
               ? fmt::format("array of {} to {} {}", shape.count_min, shape.count_max, what)
               : fmt::format("array of at most {} {}", shape.count_max, what);
  };
  switch (shape.kind) {
    case Kind::kBoolean:
      return "true or false";
    case Kind::kInteger:
      if (shape.least == std::numeric_limits<int64_t>::min()) return "integer of 64 bits";
      return fmt::format("integer {} to {}", shape.least, shape.most);
    case Kind::kNumber:
      return fmt::format("number {}{} to {}", shape.above ? "above " : "", shape.minimum,
                         shape.maximum);
    case Kind::kText:
      return "string";
    case Kind::kWord:
      return listed(shape.words);
    case Kind::kTexts:
      return "string or " + count("strings");
    case Kind::kTokens:
      return count("token ids");
    case Kind::kObject:
      return shape.or_word ? fmt::format("{}, or an object", listed(shape.words)) : "object";
    case Kind::kObjects:
      return (shape.or_text ? "string or " : "") + count("objects");
    case Kind::kOther:
      return std::string(shape.expected);
    case Kind::kAny:
      break;
  }
  return "a value";
}

Fields::Fields(const json::object& object, const FieldTable& table, std::string where)
    : object_(object), table_(table), where_(std::move(where)) {
  check_names();
}

bool Fields::complete() {
  for (size_t at = 0; at < table_.required.size() && ok();) {
    const size_t end = std::min(table_.required.find('|', at), table_.required.size());
    require(table_.required.substr(at, end - at));
    at = end + 1;
  }
  return ok();
}

void Fields::check_names() {
  const std::span<const FieldRule> rules = table_.rules;
  for (const auto& member : object_) {
    const std::string_view key(member.key().data(), member.key().size());
    const auto rule =
        std::find_if(rules.begin(), rules.end(), [&](const FieldRule& r) { return r.name == key; });
    if (rule == rules.end()) {
      if (table_.open) continue;
      std::string text = fmt::format("unknown field '{}'", cut(path(key), 64));
      const auto nearest =
          std::min_element(rules.begin(), rules.end(), [&](const FieldRule& a, const FieldRule& b) {
            return edit_distance(a.name, cut(key, 64)) < edit_distance(b.name, cut(key, 64));
          });
      if (nearest != rules.end() && edit_distance(nearest->name, cut(key, 64)) <= 3) {
        text += fmt::format("; did you mean '{}'?", nearest->name);
      } else {
        text += "; remove it";
      }
      fault({Code::kInvalidInput, text, cut(path(key), 64), "unknown_field"});
    } else if (rule->use == FieldUse::kRefused && !asks_for_nothing(member.value())) {
      fault({Code::kUnsupported, fmt::format("'{}' is not supported: {}", path(key), rule->note),
             path(key)});
    }
    if (!ok()) return;
  }
}

const FieldShape& Fields::shape_of(std::string_view name,
                                   std::initializer_list<FieldShape::Kind> kinds) {
  const auto rule = std::find_if(table_.rules.begin(), table_.rules.end(),
                                 [&](const FieldRule& r) { return r.name == name; });
  HADAL_CHECK(rule != table_.rules.end() && rule->use != FieldUse::kRefused,
              std::string(table_.name) + "." + std::string(name));
  HADAL_CHECK(std::find(kinds.begin(), kinds.end(), rule->shape.kind) != kinds.end(),
              std::string(table_.name) + "." + std::string(name));
  return rule->shape;
}

const json::value* Fields::find(std::string_view name) const {
  const json::value* value = object_.if_contains(json::string_view(name.data(), name.size()));
  return value == nullptr || value->is_null() ? nullptr : value;
}

void Fields::require(std::string_view name) {
  if (has(name)) return;
  const auto rule = std::find_if(table_.rules.begin(), table_.rules.end(),
                                 [&](const FieldRule& r) { return r.name == name; });
  HADAL_CHECK(rule != table_.rules.end(), std::string(name));
  fault(name, fmt::format("is missing, expected {}", expected_of(rule->shape)));
}

void Fields::boolean(std::string_view name, std::optional<bool>* target) {
  shape_of(name, {FieldShape::Kind::kBoolean});
  const json::value* value = find(name);
  if (value == nullptr) return;
  if (!value->is_bool()) return wrong(name, *value);
  *target = value->get_bool();
}

void Fields::boolean(std::string_view name, bool* target) {
  std::optional<bool> found;
  boolean(name, &found);
  if (found) *target = *found;
}

void Fields::number(std::string_view name, std::optional<double>* target) {
  const FieldShape& shape = shape_of(name, {FieldShape::Kind::kNumber});
  const json::value* value = find(name);
  if (value == nullptr) return;
  if (!value->is_number()) return wrong(name, *value);
  const double number = value->to_number<double>();
  const bool inside = std::isfinite(number) &&
                      (shape.above ? number > shape.minimum : number >= shape.minimum) &&
                      number <= shape.maximum;
  if (!inside) return wrong(name, *value);
  *target = number;
}

void Fields::integer(std::string_view name, std::optional<int64_t>* target) {
  const FieldShape& shape = shape_of(name, {FieldShape::Kind::kInteger});
  const json::value* value = find(name);
  if (value == nullptr) return;
  const auto number = whole_number(*value);
  if (!number || *number < shape.least || *number > shape.most) return wrong(name, *value);
  *target = *number;
}

void Fields::integer(std::string_view name, int32_t* target) {
  std::optional<int64_t> found;
  integer(name, &found);
  if (!found) return;
  HADAL_CHECK(std::in_range<int32_t>(*found), std::string(name));
  *target = static_cast<int32_t>(*found);
}

void Fields::text(std::string_view name, std::string* target) {
  using Kind = FieldShape::Kind;
  const FieldShape& shape =
      shape_of(name, {Kind::kText, Kind::kWord, Kind::kObjects, Kind::kOther});
  const json::value* value = find(name);
  if (value == nullptr) return;
  if (!value->is_string()) return wrong(name, *value);
  const auto& found = value->get_string();
  const size_t bytes_max = shape.kind == Kind::kText   ? shape.bytes_max
                           : shape.kind == Kind::kWord ? 256
                                                       : limits::kBodyBytesMax;
  if (found.size() > bytes_max) {
    return fault(name,
                 fmt::format("has {} bytes, at most {} are allowed", found.size(), bytes_max));
  }
  target->assign(found.data(), found.size());
}

void Fields::word(std::string_view name, std::string* target) {
  using Kind = FieldShape::Kind;
  const FieldShape& shape = shape_of(name, {Kind::kWord, Kind::kObject});
  const json::value* value = find(name);
  if (value == nullptr) return;
  if (!value->is_string()) return wrong(name, *value);
  const std::string_view found(value->get_string().data(), value->get_string().size());
  if (!is_listed(shape.words, found)) {
    return fault(name, fmt::format("found '{}', expected {}", cut(found, 32), expected_of(shape)));
  }
  target->assign(found);
}

bool Fields::lists(std::string_view name, std::string_view word) {
  return is_listed(shape_of(name, {FieldShape::Kind::kWord}).words, word);
}

void Fields::tokens(std::string_view name, std::vector<int32_t>* target) {
  const FieldShape& shape = shape_of(name, {FieldShape::Kind::kTokens});
  const json::value* value = find(name);
  if (value == nullptr) return;
  if (!value->is_array() || value->get_array().size() > shape.count_max) return wrong(name, *value);
  auto ids = token_ids(value->get_array(), path(name));
  if (!ids) return fault(ids.error());
  *target = std::move(*ids);
}

void Fields::texts(std::string_view name, std::vector<std::string>* target) {
  const FieldShape& shape = shape_of(name, {FieldShape::Kind::kTexts});
  const json::value* value = find(name);
  if (value == nullptr) return;
  json::array single;
  if (value->is_string()) single.push_back(*value);
  if (!value->is_string() && !value->is_array()) return wrong(name, *value);
  const json::array& list = value->is_array() ? value->get_array() : single;
  if (list.size() > shape.count_max) return wrong(name, *value);
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string element = fmt::format("{}[{}]", name, i);
    if (!list[i].is_string()) return wrong(element, list[i], "string");
    const auto& found = list[i].get_string();
    if (found.empty()) return fault(element, "is empty, expected at least one character");
    if (found.size() > shape.bytes_max) {
      return fault(element, fmt::format("has {} bytes, at most {} are allowed", found.size(),
                                        shape.bytes_max));
    }
    if (!shape.words.empty() && !is_listed(shape.words, std::string_view(found))) {
      return fault(element, fmt::format("found '{}', expected {}", cut(std::string_view(found), 64),
                                        listed(shape.words)));
    }
    target->emplace_back(found.data(), found.size());
  }
}

const json::object* Fields::object_at(std::string_view name, const FieldShape&) {
  const json::value* value = find(name);
  if (value == nullptr) return nullptr;
  if (value->is_object()) return &value->get_object();
  wrong(name, *value);
  return nullptr;
}

const json::array* Fields::objects_at(std::string_view name, const FieldShape& shape) {
  const json::value* value = find(name);
  if (value == nullptr) return nullptr;
  if (value->is_array() && value->get_array().size() >= shape.count_min &&
      value->get_array().size() <= shape.count_max) {
    return &value->get_array();
  }
  wrong(name, *value);
  return nullptr;
}

const json::object* Fields::element(const json::array& list, std::string_view name, size_t i) {
  if (list[i].is_object()) return &list[i].get_object();
  wrong(fmt::format("{}[{}]", name, i), list[i], "object");
  return nullptr;
}

std::string Fields::as_json() const { return json::serialize(object_); }

size_t Fields::size(const json::array& list) { return list.size(); }

void Fields::fault(ApiError error) {
  if (!error_) error_ = std::move(error);
}

void Fields::fault(std::string_view name, std::string_view problem) {
  const std::string field = path(name);
  fault({Code::kInvalidInput, fmt::format("{}: {}", field, problem), field});
}

void Fields::wrong(std::string_view name, const json::value& found, std::string_view expected) {
  std::string shape(expected);
  for (const FieldRule& rule : table_.rules) {
    if (expected.empty() && rule.name == name) shape = expected_of(rule.shape);
  }
  fault(name, fmt::format("found {}, expected {}", describe(found), shape));
}

void Fields::unsupported(std::string_view name, std::string_view what) {
  fault({Code::kUnsupported, fmt::format("{}: {}", path(name), what), path(name)});
}

Parsed<void> Fields::status() {
  if (complete()) return {};
  return fail(*error_);
}

void check_metadata(Fields& fields) {
  const json::value* value = fields.find("metadata");
  if (value == nullptr) return;
  if (!value->is_object() || value->get_object().size() > 16) {
    return fields.wrong("metadata", *value);
  }
  for (const auto& member : value->get_object()) {
    if (!member.value().is_string() || member.key().size() > 64 ||
        member.value().get_string().size() > 512) {
      return fields.fault("metadata",
                          "expected keys of at most 64 bytes and strings of at most 512");
    }
  }
}

}  // namespace hadal::api
