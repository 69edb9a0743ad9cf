#include "hadal/text/sentencepiece.h"

#include <fmt/core.h>

#include <algorithm>
#include <queue>

#include "hadal/base/ascii.h"
#include "hadal/text/unicode.h"

namespace hadal {
namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  out.reserve(text.size());
  while (true) {
    const size_t at = text.find(from);
    out.append(text.substr(0, at));
    if (at == std::string_view::npos) return out;
    out.append(to);
    text.remove_prefix(at + from.size());
  }
}

// A stretch of the text that is one token so far; `length` 0 once it has joined its left neighbour.
struct Symbol {
  size_t begin;
  size_t length;
  size_t previous;
  size_t next;
};

struct Candidate {
  float score;
  size_t left;
  size_t right;
  size_t length;
  bool operator<(const Candidate& other) const {
    return score != other.score ? score < other.score : left > other.left;
  }
};

std::vector<Symbol> characters(std::string_view text) {
  std::vector<Symbol> symbols;
  symbols.reserve(text.size());
  for (size_t at = 0; at < text.size(); at += symbols.back().length) {
    const size_t index = symbols.size();
    symbols.push_back({at, utf8_step(text.substr(at)).length, index - 1, index + 1});
  }
  return symbols;
}

}  // namespace

std::string unescape_spaces(std::string_view text) { return replace_all(text, kSpace, " "); }
std::string escape_spaces(std::string_view text) { return replace_all(text, " ", kSpace); }

int byte_of_name(std::string_view name) {
  if (name.size() != 6 || name.substr(0, 3) != "<0x" || name[5] != '>') return -1;
  const int high = hex_digit(name[3]);
  const int low = hex_digit(name[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

Result<SentencePieceEncoder> SentencePieceEncoder::make(const VocabData& data) {
  SentencePieceEncoder encoder;
  if (data.scores.size() != data.tokens.size()) {
    return fail(Code::kCorrupt, fmt::format("tokenizer: {} scores for {} tokens",
                                            data.scores.size(), data.tokens.size()));
  }
  encoder.byte_tokens_.fill(-1);
  encoder.unknown_ = data.unknown.value_or(-1);
  encoder.tokens_.reserve(data.tokens.size());
  for (size_t i = 0; i < data.tokens.size(); ++i) {
    const std::string_view token = data.tokens[i];
    const auto id = static_cast<TokenId>(i);
    if (data.types[i] == TokenType::kNormal) {
      encoder.tokens_.emplace(token, Ranked{id, data.scores[i]});
      encoder.longest_ = std::max(encoder.longest_, token.size());
    } else if (data.types[i] == TokenType::kByte) {
      const int byte = byte_of_name(token);
      if (byte < 0) {
        return fail(Code::kCorrupt, fmt::format("tokenizer: byte token {} is not <0xHH>", i));
      }
      encoder.byte_tokens_[byte] = id;
    }
  }
  const auto missing = std::ranges::find(encoder.byte_tokens_, -1);
  if (missing != encoder.byte_tokens_.end() && encoder.unknown_ < 0) {
    return fail(Code::kCorrupt,
                fmt::format("tokenizer: byte 0x{:02X} has no token, and there is no unknown token",
                            missing - encoder.byte_tokens_.begin()));
  }
  return encoder;
}

void SentencePieceEncoder::put_bytes(std::string_view bytes, std::vector<TokenId>* out) const {
  for (const char c : bytes) {
    const TokenId id = byte_tokens_[static_cast<uint8_t>(c)];
    if (id < 0) {
      out->push_back(
          unknown_);  // one for the whole character, as SentencePiece without byte fallback
      return;
    }
    out->push_back(id);
  }
}

void SentencePieceEncoder::encode(std::string_view text, std::vector<TokenId>* out) const {
  std::vector<Symbol> symbols = characters(text);
  const size_t end = symbols.size();
  std::priority_queue<Candidate> queue;
  const auto offer = [&](size_t left, size_t right) {
    const size_t length = symbols[left].length + symbols[right].length;
    if (length > longest_) return;
    const auto found = tokens_.find(text.substr(symbols[left].begin, length));
    if (found != tokens_.end()) queue.push({found->second.score, left, right, length});
  };
  for (size_t i = 1; i < end; ++i) offer(i - 1, i);
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbols[top.left];
    Symbol& right = symbols[top.right];
    if (left.length == 0 || right.length == 0 || left.length + right.length != top.length) continue;
    left.length = top.length;
    right.length = 0;
    left.next = right.next;
    if (left.next < end) symbols[left.next].previous = top.left;
    if (top.left > 0) offer(left.previous, top.left);
    if (left.next < end) offer(top.left, left.next);
  }
  for (size_t i = 0; i < end; i = symbols[i].next) {
    const std::string_view piece = text.substr(symbols[i].begin, symbols[i].length);
    const auto found = tokens_.find(piece);
    if (found != tokens_.end()) {
      out->push_back(found->second.id);
    } else {
      put_bytes(piece, out);
    }
  }
}

}  // namespace hadal
