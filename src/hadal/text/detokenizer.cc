#include "hadal/text/detokenizer.h"

#include <algorithm>
#include <utility>

#include "hadal/text/unicode.h"

namespace hadal {

Detokenizer::Detokenizer(const Tokenizer& tokenizer, bool show_special, bool first_of_text,
                         std::vector<TokenId> shown)
    : tokenizer_(&tokenizer),
      shown_(std::move(shown)),
      show_special_(show_special),
      drop_space_(first_of_text && tokenizer.data().kind == TokenizerKind::kSentencePiece &&
                  tokenizer.data().add_space_prefix) {}

std::string Detokenizer::push(TokenId id) {
  const bool show = show_special_ || std::find(shown_.begin(), shown_.end(), id) != shown_.end();
  std::string_view piece = tokenizer_->piece(id, show);
  if (drop_space_ && !piece.empty()) {
    if (piece.front() == ' ') piece.remove_prefix(1);
    drop_space_ = false;
  }
  pending_.append(piece);
  return drain(false);
}

std::string Detokenizer::finish() { return drain(true); }

std::string Detokenizer::drain(bool final) {
  std::string out;
  drain_utf8(&pending_, final, &out);
  return out;
}

}  // namespace hadal
