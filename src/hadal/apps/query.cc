#include "hadal/apps/query.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "hadal/base/ascii.h"

namespace hadal::apps {
namespace {

// A broken escape stays as it is.
std::string decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool whole = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
                       hex_digit(text[i + 2]) >= 0;
    if (whole) {
      out.push_back(static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])));
      i += 2;
    } else {
      out.push_back(text[i] == '+' ? ' ' : text[i]);
    }
  }
  return out;
}

}  // namespace

std::optional<std::string> query_text(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    const size_t equals = std::min(pair.find('='), pair.size());
    if (decoded(pair.substr(0, equals)) == name) {
      return decoded(pair.substr(std::min(equals + 1, pair.size())));
    }
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return {};
}

api::Parsed<int64_t> query_number(std::string_view query, std::string_view name, int64_t least,
                                  int64_t most, int64_t otherwise) {
  const auto text = query_text(query, name);
  if (!text) return otherwise;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error == std::errc() && end == text->data() + text->size() && value >= least &&
      value <= most) {
    return value;
  }
  return fail(api::ApiError(Code::kInvalidInput,
                            fmt::format("{}: found '{}', expected a whole number {} to {}", name,
                                        text->substr(0, 32), least, most),
                            std::string(name)));
}

}  // namespace hadal::apps
