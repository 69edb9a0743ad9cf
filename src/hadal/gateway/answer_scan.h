// What an answer says, found in its bytes as they pass by: its text, where a piece of it begins,
// whether it refuses. Of the forms of OpenAI, DeepSeek and Anthropic, whole or streamed. Nothing is
// kept but the text's beginning, so an answer of any length costs the same memory.
//
// Pure; one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hadal::gateway {

class AnswerScan {
 public:
  // `text_max`: bytes of the answer's text that are kept.
  explicit AnswerScan(size_t text_max = 512) : text_max_(text_max) {}

  // The next piece of the body, however it is cut.
  void push(std::string_view bytes);

  // Strings of text so far that are not empty, the thoughts and a tool's arguments included: of a
  // stream about one a token.
  int64_t pieces() const { return pieces_; }
  // Unicode characters in them.
  int64_t characters() const { return characters_; }
  // How the answer begins, without its thoughts, decoded.
  const std::string& text() const { return text_; }
  // It says that it was filtered or refused.
  bool refused() const { return refused_; }
  // It carries an error instead of its end.
  bool failed() const { return failed_; }

 private:
  enum class Kind : uint8_t { kNone, kText, kThought };

  void outside(char c);
  void inside(char c);
  void in_string(char c);
  void begin_string();
  void end_string();
  void take_unit(uint32_t code);
  void take_byte(char c);
  Kind kind_of_key() const;
  void end_line();

  const size_t text_max_;
  std::string line_;   // outside of JSON: how a line begins
  std::string event_;  // the event's name, if it says one
  int depth_ = 0;      // of JSON's brackets
  bool in_string_ = false;
  bool is_value_ = false;  // the string is one; else a key
  bool after_colon_ = false;
  bool escaped_ = false;
  int hex_left_ = 0;
  uint32_t hex_ = 0;
  uint32_t high_surrogate_ = 0;
  std::string key_;    // the last one, as far as it matters
  std::string small_;  // the string's beginning
  Kind kind_ = Kind::kNone;
  bool is_empty_ = true;  // the string, so far
  std::string text_;
  int64_t pieces_ = 0, characters_ = 0;
  bool refused_ = false, failed_ = false;
};

// Whether an answer that begins so refuses. Letters count without case, apostrophes and spaces
// however they are written.
bool opens_with(std::string_view text, const std::vector<std::string>& openings);
// In English and Chinese, for those who say none.
const std::vector<std::string>& usual_refusals();

}  // namespace hadal::gateway
