#include "hadal/text/unicode.h"

#include <cstring>

#include "hadal/base/check.h"

namespace hadal {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

uint8_t byte_at(std::string_view text, size_t i) { return static_cast<uint8_t>(text[i]); }

size_t ascii_prefix(std::string_view text) {
  size_t i = 0;
  for (uint64_t word; i + sizeof word <= text.size(); i += sizeof word) {
    std::memcpy(&word, text.data() + i, sizeof word);
    if ((word & 0x8080808080808080U) != 0) break;
  }
  while (i < text.size() && byte_at(text, i) < 0x80) ++i;
  return i;
}

}  // namespace

Utf8Step utf8_step(std::string_view text) {
  const uint8_t lead = byte_at(text, 0);
  if (lead < 0x80) return {.length = 1, .valid = true};
  if (lead < 0xC2 || lead > 0xF4) return {.length = 1};
  // The second byte's range excludes over-long forms, surrogates and values past U+10FFFF.
  uint8_t low = 0x80;
  uint8_t high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  const uint8_t want = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  for (uint8_t i = 1; i < want; ++i) {
    if (i == text.size()) return {.length = i, .incomplete = true};
    const uint8_t byte = byte_at(text, i);
    if (byte < low || byte > high) return {.length = i};
    low = 0x80;
    high = 0xBF;
  }
  return {.length = want, .valid = true};
}

size_t valid_utf8_prefix(std::string_view text) {
  size_t i = 0;
  while (true) {
    i += ascii_prefix(text.substr(i));
    if (i == text.size()) return i;
    const Utf8Step step = utf8_step(text.substr(i));
    if (!step.valid) return i;
    i += step.length;
  }
}

bool is_valid_utf8(std::string_view text) { return valid_utf8_prefix(text) == text.size(); }

void drain_utf8(std::string* pending, bool final, std::string* out) {
  std::string_view rest = *pending;
  while (!rest.empty()) {
    const size_t good = valid_utf8_prefix(rest);
    out->append(rest.substr(0, good));
    rest.remove_prefix(good);
    if (rest.empty()) break;
    const Utf8Step step = utf8_step(rest);
    if (step.incomplete && !final) break;
    out->append(kReplacement);
    rest.remove_prefix(step.length);
  }
  pending->erase(0, pending->size() - rest.size());
}

std::string replace_ill_formed(std::string_view text) {
  std::string pending(text);
  std::string out;
  drain_utf8(&pending, true, &out);
  return out;
}

void append_utf8(uint32_t c, std::string* out) {
  HADAL_CHECK(c < 0xD800 || (c >= 0xE000 && c <= 0x10FFFF));
  const auto put = [out](uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

}  // namespace hadal
