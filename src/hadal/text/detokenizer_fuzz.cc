// libFuzzer: any sequence of tokens of a vocabulary whose tokens are any bytes. What comes out
// piece by piece is what the bytes are as one text, always well-formed, and nothing is held back
// for long.
#include <cstddef>
#include <cstdint>

#include "hadal/base/check.h"
#include "hadal/text/detokenizer.h"
#include "hadal/text/testing/small_vocab.h"
#include "hadal/text/tokenizer.h"
#include "hadal/text/unicode.h"

namespace {

using namespace hadal;

// Byte-level, or SentencePiece with byte tokens and pieces of the fuzzer's bytes.
Tokenizer make(bool sentence_piece) {
  VocabData data = hadal::testing::small_vocab({"<s>", "<|im_end|>", "<think>", "</think>"});
  if (sentence_piece) {
    data = {};
    data.kind = TokenizerKind::kSentencePiece;
    data.tokens = {"<unk>", "<s>"};
    data.types = {TokenType::kUnknown, TokenType::kControl};
    constexpr const char* kDigits = "0123456789ABCDEF";
    for (int byte = 0; byte < 256; ++byte) {
      data.tokens.push_back(std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">");
      data.types.push_back(TokenType::kByte);
    }
    for (const char* piece : {"▁", "▁a", "北", "\xe5\x8c", "\x97", "\xf0\x9f", "🦙", "<0x-1>"}) {
      data.tokens.emplace_back(piece);
      data.types.push_back(TokenType::kNormal);
    }
    data.scores.assign(data.tokens.size(), 0);
    data.unknown = 0;
  }
  auto tokenizer = Tokenizer::make(std::move(data));
  HADAL_CHECK(tokenizer.has_value());
  return std::move(*tokenizer);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Tokenizer kBytes = make(false);
  static const Tokenizer kPieces = make(true);
  if (size < 1) return 0;
  const Tokenizer& tokenizer = (data[0] & 1) != 0 ? kPieces : kBytes;
  const bool show = (data[0] & 2) != 0;
  const bool first = (data[0] & 4) != 0;
  std::vector<TokenId> shown;
  if ((data[0] & 8) != 0) shown.push_back(tokenizer.vocabulary_size() - 1);
  Detokenizer stream(tokenizer, show, first, shown);
  std::vector<TokenId> ids;
  std::string bytes, said;
  for (size_t i = 1; i + 1 < size; i += 2) {
    const TokenId id = (data[i] << 8 | data[i + 1]) % tokenizer.vocabulary_size();
    ids.push_back(id);
    bytes += tokenizer.piece(id, show || (!shown.empty() && id == shown[0]));
    const std::string more = stream.push(id);
    HADAL_CHECK(is_valid_utf8(more));
    said += more;
  }
  said += stream.finish();
  std::string expected = replace_ill_formed(bytes);
  const bool drops = first && tokenizer.data().kind == TokenizerKind::kSentencePiece &&
                     tokenizer.data().add_space_prefix;
  if (drops && expected.starts_with(' ')) expected.erase(0, 1);
  HADAL_CHECK(said == expected, said);
  static_cast<void>(tokenizer.decode(ids, show));
  return 0;
}
