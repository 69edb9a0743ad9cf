#include "hadal/api/utf8.h"

#include <cstdint>

namespace hadal::api {
namespace {

struct Lead {
  int more;           // continuation bytes
  uint8_t first_min;  // of the first continuation byte: excludes overlong forms and surrogates
  uint8_t first_max;
};

// more < 0: not a leading byte.
Lead lead_of(uint8_t byte) {
  if (byte < 0x80) return {0, 0, 0};
  if (byte >= 0xc2 && byte <= 0xdf) return {1, 0x80, 0xbf};
  if (byte == 0xe0) return {2, 0xa0, 0xbf};
  if (byte == 0xed) return {2, 0x80, 0x9f};
  if (byte >= 0xe1 && byte <= 0xef) return {2, 0x80, 0xbf};
  if (byte == 0xf0) return {3, 0x90, 0xbf};
  if (byte >= 0xf1 && byte <= 0xf3) return {3, 0x80, 0xbf};
  if (byte == 0xf4) return {3, 0x80, 0x8f};
  return {-1, 0, 0};
}

}  // namespace

std::string valid_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (size_t i = 0; i < bytes.size();) {
    const Lead lead = lead_of(static_cast<uint8_t>(bytes[i]));
    size_t end = i + 1;
    int more = lead.more;
    uint8_t low = lead.first_min;
    uint8_t high = lead.first_max;
    while (more > 0 && end < bytes.size()) {
      const auto byte = static_cast<uint8_t>(bytes[end]);
      if (byte < low || byte > high) break;
      low = 0x80;
      high = 0xbf;
      ++end;
      --more;
    }
    if (more == 0) {
      text.append(bytes.substr(i, end - i));
    } else {
      text += "\xef\xbf\xbd";
    }
    i = end;
  }
  return text;
}

size_t characters(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<uint8_t>(c) & 0xc0) != 0x80;
  return count;
}

}  // namespace hadal::api
