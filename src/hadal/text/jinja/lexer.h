// Template text to tokens, as jinja2/lexer.py of Jinja 3.1 cuts it with trim_blocks and
// lstrip_blocks on. Internal to the interpreter.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hadal::jinja {

enum class TokenKind : uint8_t {
  kData,           // text outside tags
  kVariableBegin,  // {{
  kVariableEnd,
  kBlockBegin,  // {%
  kBlockEnd,
  kName,
  kString,  // decoded
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text = {};  // data, name, string, operator, digits without underscores
  int64_t integer = 0;
  double number = 0;
  int line = 1;
};

// Throws Failure (object.h) with its line in `*line`. `source` must be UTF-8.
std::vector<Token> tokenize(std::string_view source, int* line);

}  // namespace hadal::jinja
