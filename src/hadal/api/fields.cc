#include "hadal/api/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <limits>

#include "hadal/api/utf8.h"
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

std::string field_table(std::span<const FieldRule> rules) {
  std::string out = "| field | here | |\n|---|---|---|\n";
  for (const FieldRule& rule : rules) {
    const std::string_view use = rule.use == FieldUse::kHonoured  ? "yes"
                                 : rule.use == FieldUse::kIgnored ? "accepted, no effect"
                                                                  : "refused";
    out += fmt::format("| `{}` | {} | {} |\n", rule.name, use, rule.note);
  }
  return out;
}

Fields::Fields(const json::object& object, std::string where)
    : object_(object), where_(std::move(where)) {}

void Fields::allow(std::span<const FieldRule> rules) {
  for (const auto& member : object_) {
    const std::string_view key(member.key().data(), member.key().size());
    const auto rule =
        std::find_if(rules.begin(), rules.end(), [&](const FieldRule& r) { return r.name == key; });
    if (rule == rules.end()) {
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

const json::value* Fields::find(std::string_view name) const {
  const json::value* value = object_.if_contains(json::string_view(name.data(), name.size()));
  return value == nullptr || value->is_null() ? nullptr : value;
}

void Fields::require(std::string_view name, std::string_view what) {
  if (!has(name)) fault(name, fmt::format("is missing, expected {}", what));
}

void Fields::boolean(std::string_view name, std::optional<bool>* target) {
  const json::value* value = find(name);
  if (value == nullptr) return;
  if (!value->is_bool()) return wrong(name, *value, "true or false");
  *target = value->get_bool();
}

void Fields::boolean(std::string_view name, bool* target) {
  std::optional<bool> found;
  boolean(name, &found);
  if (found) *target = *found;
}

void Fields::number(std::string_view name, double minimum, double maximum,
                    std::optional<double>* target, bool above) {
  const json::value* value = find(name);
  if (value == nullptr) return;
  const bool endless = maximum >= std::numeric_limits<float>::max();
  const std::string expected = fmt::format("number {}{}{}", above ? "above " : "", minimum,
                                           endless ? " or more" : fmt::format(" to {}", maximum));
  if (!value->is_number()) return wrong(name, *value, expected);
  const double number = value->to_number<double>();
  const bool inside =
      std::isfinite(number) && (above ? number > minimum : number >= minimum) && number <= maximum;
  if (!inside) return wrong(name, *value, expected);
  *target = number;
}

void Fields::integer(std::string_view name, int64_t minimum, int64_t maximum,
                     std::optional<int64_t>* target) {
  const json::value* value = find(name);
  if (value == nullptr) return;
  const auto number = whole_number(*value);
  if (!number || *number < minimum || *number > maximum) {
    return wrong(name, *value, fmt::format("integer {} to {}", minimum, maximum));
  }
  *target = *number;
}

void Fields::integer(std::string_view name, int32_t minimum, int32_t maximum, int32_t* target) {
  std::optional<int64_t> found;
  integer(name, minimum, maximum, &found);
  if (found) *target = static_cast<int32_t>(*found);
}

void Fields::text(std::string_view name, size_t bytes_max, std::string* target) {
  const json::value* value = find(name);
  if (value == nullptr) return;
  if (!value->is_string()) return wrong(name, *value, "string");
  const auto& found = value->get_string();
  if (found.size() > bytes_max) {
    return fault(name,
                 fmt::format("has {} bytes, at most {} are allowed", found.size(), bytes_max));
  }
  target->assign(found.data(), found.size());
}

void Fields::integers(std::string_view name, size_t count_max, std::vector<int32_t>* target) {
  const json::value* value = find(name);
  if (value == nullptr) return;
  if (!value->is_array()) return wrong(name, *value, "array of token ids");
  if (value->get_array().size() > count_max) {
    return wrong(name, *value, fmt::format("at most {} token ids", count_max));
  }
  auto ids = token_ids(value->get_array(), path(name));
  if (!ids) return fault(ids.error());
  *target = std::move(*ids);
}

void Fields::texts(std::string_view name, size_t count_max, size_t bytes_max,
                   std::vector<std::string>* target) {
  const json::value* value = find(name);
  if (value == nullptr) return;
  const std::string expected = fmt::format("string or array of at most {} strings", count_max);
  json::array single;
  if (value->is_string()) single.push_back(*value);
  if (!value->is_string() && !value->is_array()) return wrong(name, *value, expected);
  const json::array& list = value->is_array() ? value->get_array() : single;
  if (list.size() > count_max) return wrong(name, *value, expected);
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string element = fmt::format("{}[{}]", name, i);
    if (!list[i].is_string()) return wrong(element, list[i], "string");
    const auto& found = list[i].get_string();
    if (found.empty()) return fault(element, "is empty, expected at least one character");
    if (found.size() > bytes_max) {
      return fault(element,
                   fmt::format("has {} bytes, at most {} are allowed", found.size(), bytes_max));
    }
    target->emplace_back(found.data(), found.size());
  }
}

void Fields::fault(ApiError error) {
  if (!error_) error_ = std::move(error);
}

void Fields::fault(std::string_view name, std::string_view problem) {
  const std::string field = path(name);
  fault({Code::kInvalidInput, fmt::format("{}: {}", field, problem), field});
}

void Fields::wrong(std::string_view name, const json::value& found, std::string_view expected) {
  fault(name, fmt::format("found {}, expected {}", describe(found), expected));
}

Parsed<void> Fields::status() const {
  if (error_) return fail(*error_);
  return {};
}

}  // namespace hadal::api
