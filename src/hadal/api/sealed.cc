#include "hadal/api/sealed.h"

#include <cstdint>

namespace hadal::api {
namespace {

constexpr std::string_view kMark = "hadal1.";
// RFC 4648, section 4
constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string seal(std::string_view text) {
  std::string out(kMark);
  for (size_t at = 0; at < text.size(); at += 3) {
    const std::string_view bytes = text.substr(at, 3);
    uint32_t bits = 0;
    for (size_t i = 0; i < 3; ++i) {
      bits = bits << 8 | (i < bytes.size() ? static_cast<uint8_t>(bytes[i]) : 0);
    }
    for (size_t i = 0; i < 4; ++i) {
      out += i <= bytes.size() ? kDigits[bits >> (18 - 6 * i) & 63] : '=';
    }
  }
  return out;
}

std::optional<std::string> unseal(std::string_view sealed) {
  if (!sealed.starts_with(kMark)) return std::nullopt;
  sealed.remove_prefix(kMark.size());
  if (sealed.size() % 4 != 0) return std::nullopt;
  for (int i = 0; i < 2 && sealed.ends_with('='); ++i) sealed.remove_suffix(1);
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : sealed) {
    const size_t digit = kDigits.find(c);
    if (digit == kDigits.npos) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xff);
  }
  return out;
}

}  // namespace hadal::api
