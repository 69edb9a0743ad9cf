// JsonConfig: typed access to one JSON object.
#include <boost/json/value.hpp>
#include <cmath>

#include "hadal/base/limits.h"
#include "hadal/format/field_error.h"
#include "hadal/format/hf.h"
#include "hadal/format/json_text.h"

namespace hadal {

namespace json = boost::json;

struct JsonConfig::Impl {
  json::object root;
  std::string name;

  // nullptr when absent, null, or when the way there is not through objects.
  const json::value* find(std::string_view key) const {
    const json::object* object = &root;
    for (;;) {
      const size_t dot = key.find('.');
      const std::string_view head = key.substr(0, dot);
      const json::value* value = object->if_contains(json::string_view(head.data(), head.size()));
      if (value == nullptr || value->is_null()) return nullptr;
      if (dot == std::string_view::npos) return value;
      object = value->if_object();
      if (object == nullptr) return nullptr;
      key.remove_prefix(dot + 1);
    }
  }

  tl::unexpected<Error> wrong(std::string_view key, const json::value* value,
                              std::string_view expected) const {
    return field_error(Code::kCorrupt, name, key,
                       value == nullptr ? "no such key" : describe_json(*value), expected);
  }
};

namespace {

// The whole number that `value` is; configurations write some as 1e6 or 4096.0.
std::optional<int64_t> as_integer(const json::value& value) {
  if (const int64_t* integer = value.if_int64()) return *integer;
  if (const double* real = value.if_double()) {
    if (std::fabs(*real) <= 9007199254740992.0 && *real == std::floor(*real)) {
      return static_cast<int64_t>(*real);
    }
  }
  return std::nullopt;
}

}  // namespace

JsonConfig::JsonConfig(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
JsonConfig::JsonConfig(JsonConfig&&) noexcept = default;
JsonConfig& JsonConfig::operator=(JsonConfig&&) noexcept = default;
JsonConfig::~JsonConfig() = default;

Result<JsonConfig> JsonConfig::load(const std::string& path) {
  HADAL_TRY(const std::string text, read_file(path, limits::kJsonFileMax));
  return parse(text, path);
}

Result<JsonConfig> JsonConfig::parse(std::string_view text, const std::string& name) {
  HADAL_TRY(json::value value, parse_json(text, name));
  if (!value.is_object()) {
    return field_error(Code::kCorrupt, name, "content", describe_json(value), "an object");
  }
  return JsonConfig(std::make_unique<Impl>(Impl{std::move(value.get_object()), name}));
}

bool JsonConfig::has(std::string_view key) const { return impl_->find(key) != nullptr; }

Result<int64_t> JsonConfig::integer(std::string_view key, std::optional<int64_t> fallback,
                                    int64_t minimum, int64_t maximum) const {
  const json::value* value = impl_->find(key);
  if (value == nullptr && fallback) return *fallback;
  const auto number = value == nullptr ? std::nullopt : as_integer(*value);
  if (!number || *number < minimum || *number > maximum) {
    return impl_->wrong(
        key, value,
        "an integer from " + std::to_string(minimum) + " to " + std::to_string(maximum));
  }
  return *number;
}

Result<double> JsonConfig::real(std::string_view key, std::optional<double> fallback) const {
  const json::value* value = impl_->find(key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_number()) return impl_->wrong(key, value, "a number");
  const double number = value->to_number<double>();
  if (!std::isfinite(number)) return impl_->wrong(key, value, "a finite number");
  return number;
}

Result<bool> JsonConfig::boolean(std::string_view key, std::optional<bool> fallback) const {
  const json::value* value = impl_->find(key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_bool()) return impl_->wrong(key, value, "true or false");
  return value->get_bool();
}

Result<std::string> JsonConfig::text(std::string_view key,
                                     std::optional<std::string> fallback) const {
  const json::value* value = impl_->find(key);
  if (value == nullptr && fallback) return *std::move(fallback);
  if (value == nullptr || !value->is_string()) return impl_->wrong(key, value, "a string");
  return std::string(std::string_view(value->get_string()));
}

Result<std::vector<int64_t>> JsonConfig::integers(std::string_view key) const {
  constexpr std::string_view kExpected = "an integer or an array of integers";
  std::vector<int64_t> numbers;
  const json::value* value = impl_->find(key);
  if (value == nullptr) return numbers;
  if (const auto single = as_integer(*value)) return std::vector<int64_t>{*single};
  if (!value->is_array()) return impl_->wrong(key, value, kExpected);
  for (const json::value& element : value->get_array()) {
    const auto number = as_integer(element);
    if (!number) return impl_->wrong(key, &element, kExpected);
    numbers.push_back(*number);
  }
  return numbers;
}

Result<std::vector<std::string>> JsonConfig::texts(std::string_view key) const {
  constexpr std::string_view kExpected = "an array of strings";
  std::vector<std::string> strings;
  const json::value* value = impl_->find(key);
  if (value == nullptr) return strings;
  if (!value->is_array()) return impl_->wrong(key, value, kExpected);
  for (const json::value& element : value->get_array()) {
    if (!element.is_string()) return impl_->wrong(key, &element, kExpected);
    strings.emplace_back(std::string_view(element.get_string()));
  }
  return strings;
}

}  // namespace hadal
