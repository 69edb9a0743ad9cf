#include "hadal/tools/report_text.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace hadal {

std::string human_count(uint64_t count) {
  const std::array<std::pair<double, const char*>, 4> units = {
      {{1e12, " T"}, {1e9, " B"}, {1e6, " M"}, {1e3, " K"}}};
  for (const auto& [size, unit] : units) {
    if (static_cast<double>(count) >= size) {
      return fmt::format("{:.3g}{}", static_cast<double>(count) / size, unit);
    }
  }
  return std::to_string(count);
}

std::string human_bytes(uint64_t bytes) {
  if (bytes < 1000) return fmt::format("{} bytes", bytes);
  std::string text = human_count(bytes);
  if (text.ends_with(" B")) text.back() = 'G';
  return text + "B";
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace hadal
