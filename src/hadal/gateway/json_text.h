// The text that a JSON document holds, string by string, in the form that detectors read, with the
// way back to the document's bytes.
//
// Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hadal::gateway {

struct JsonToken {
  enum class Kind : uint8_t { kOpen, kClose, kKey, kString, kNumber, kWord };
  Kind kind = Kind::kWord;
  bool is_object = false;  // of kOpen and kClose
  size_t begin = 0;        // in the document; of keys and strings: inside the quotes
  size_t end = 0;
};

// Walks a document that is JSON (is_json() of text/json_scan.h); of anything else it only ends.
class JsonTokens {
 public:
  explicit JsonTokens(std::string_view text, size_t at = 0) : text_(text), at_(at) {}
  bool next(JsonToken* token);

 private:
  std::string_view text_;
  size_t at_;
};

// One reading of a text. Characters that look alike or mean the same digit are one (full-width
// forms, dashes, spaces, digits of other scripts), invisible ones are gone.
struct FoldedText {
  std::string_view direct;  // where the document's own bytes do, standing at `offset`
  size_t offset = 0;
  std::string own;  // else, and where byte i's character begins and ends in the document
  std::vector<uint32_t> begins, ends;

  std::string_view text() const { return begins.empty() ? direct : own; }  // UTF-8
  size_t begin_of(size_t i) const { return begins.empty() ? offset + i : begins[i]; }
  size_t end_of(size_t i) const { return begins.empty() ? offset + i : ends[i - 1]; }
};

// How often text inside of text is unescaped: a tool's arguments are JSON inside a JSON string.
inline constexpr int kReadingsMax = 3;

// Reads text in all its ways, beginning with the one that a client's JSON library gives: escapes
// that are left are resolved again, and where there are many Han numerals, they are digits once.
// The buffers are kept for the next text.
class TextReader {
 public:
  // `raw`: inside of a JSON string, standing at `offset` of the document.
  // Valid until the next call.
  std::span<const FoldedText> read_json(std::string_view raw, size_t offset);
  // Text that is not JSON. Escapes in it are tried as well.
  std::span<const FoldedText> read_plain(std::string_view text, size_t offset);

 private:
  struct Unit {
    char32_t c;
    uint32_t begin, end;
  };
  static bool unescape(const std::vector<Unit>& from, std::vector<Unit>* to);
  void decode(std::string_view raw, size_t offset);
  void fold(const std::vector<Unit>& units, bool han_digits);
  void fold_all();
  std::span<const FoldedText> read_units();

  std::vector<Unit> units_, next_;
  std::vector<FoldedText> readings_;
  size_t count_ = 0;
};

// What the characters of a JSON string's inside are, unescaped once and not folded.
struct JsonChar {
  char32_t c = 0;
  size_t length = 0;  // bytes in the document, at least 1
};
JsonChar json_char(std::string_view raw, size_t at);

// The character that stands for `c` in a folded text; 0: nothing does.
char32_t folded(char32_t c);

}  // namespace hadal::gateway
