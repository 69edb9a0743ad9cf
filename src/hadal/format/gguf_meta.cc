// Typed access to a GGUF's keys.
#include <cmath>

#include "hadal/format/field_error.h"
#include "hadal/format/gguf.h"

namespace hadal {
namespace {

std::string describe(const GgufValue& value) {
  struct Visitor {
    std::string operator()(int64_t v) const { return "the integer " + std::to_string(v); }
    std::string operator()(double v) const { return "the number " + std::to_string(v); }
    std::string operator()(bool v) const { return v ? "true" : "false"; }
    std::string operator()(const std::string& v) const { return shown(v); }
    std::string operator()(const std::vector<int64_t>& v) const {
      return array(v.size(), "integers");
    }
    std::string operator()(const std::vector<double>& v) const {
      return array(v.size(), "numbers");
    }
    std::string operator()(const std::vector<std::string>& v) const {
      return array(v.size(), "strings");
    }
    static std::string array(size_t size, const char* of) {
      return "an array of " + std::to_string(size) + " " + of;
    }
  };
  return std::visit(Visitor{}, value);
}

// The value as T, `fallback` when absent, an error that names both kinds otherwise.
template <class T>
Result<T> typed(const GgufMeta& meta, std::string_view key, std::optional<T> fallback,
                std::string_view expected) {
  const auto found = meta.values.find(key);
  if (found == meta.values.end()) {
    if (fallback) return *std::move(fallback);
    return field_error(Code::kCorrupt, meta.path, key, "no such key", expected);
  }
  if (const T* value = std::get_if<T>(&found->second)) return *value;
  return field_error(Code::kCorrupt, meta.path, key, describe(found->second), expected);
}

}  // namespace

bool GgufMeta::has(std::string_view key) const { return values.find(key) != values.end(); }

Result<int64_t> GgufMeta::integer(std::string_view key, std::optional<int64_t> fallback,
                                  int64_t minimum, int64_t maximum) const {
  const std::string expected =
      "an integer from " + std::to_string(minimum) + " to " + std::to_string(maximum);
  HADAL_TRY(const int64_t value, typed(*this, key, fallback, expected));
  if (has(key) && (value < minimum || value > maximum)) {
    return field_error(Code::kCorrupt, path, key, std::to_string(value), expected);
  }
  return value;
}

Result<double> GgufMeta::real(std::string_view key, std::optional<double> fallback) const {
  constexpr std::string_view kExpected = "a finite number";
  const auto found = values.find(key);
  if (found != values.end()) {
    // Writers differ in whether a whole number such as a frequency base is an integer.
    if (const auto* whole = std::get_if<int64_t>(&found->second))
      return static_cast<double>(*whole);
  }
  HADAL_TRY(const double value, typed(*this, key, fallback, kExpected));
  if (!std::isfinite(value)) {
    return field_error(Code::kCorrupt, path, key, std::to_string(value), kExpected);
  }
  return value;
}

Result<bool> GgufMeta::boolean(std::string_view key, std::optional<bool> fallback) const {
  return typed(*this, key, fallback, "true or false");
}

Result<std::string> GgufMeta::text(std::string_view key,
                                   std::optional<std::string> fallback) const {
  return typed(*this, key, std::move(fallback), "a string");
}

const std::vector<int64_t>* GgufMeta::integers(std::string_view key) const {
  const auto found = values.find(key);
  return found == values.end() ? nullptr : std::get_if<std::vector<int64_t>>(&found->second);
}

}  // namespace hadal
