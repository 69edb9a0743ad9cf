// libFuzzer: the input is a vocabulary of the fuzzer's making and a text. Whatever the vocabulary,
// the text must come back from its tokens byte for byte, however it was cut for the detokeniser.

#include <cstddef>
#include <cstdint>

#include "hadal/base/check.h"
#include "hadal/text/detokenizer.h"
#include "hadal/text/testing/small_vocab.h"
#include "hadal/text/tokenizer.h"
#include "hadal/text/unicode.h"

namespace {

using hadal::PreTokenizer;
using hadal::TokenId;
using hadal::Tokenizer;
using hadal::TokenType;
using hadal::VocabData;

// Takes single bytes from the front of the input; zeros when it is spent.
struct Bytes {
  const uint8_t* data;
  size_t size;
  uint8_t next() {
    if (size == 0) return 0;
    --size;
    return *data++;
  }
};

// Merges of tokens that exist, so that most vocabularies are accepted; special tokens of any bytes.
VocabData vocabulary(Bytes* input) {
  VocabData data = hadal::testing::small_vocab({}, static_cast<PreTokenizer>(input->next() % 5));
  for (int n = input->next() % 32; n > 0; --n) {
    const std::string left = data.tokens[input->next() % data.tokens.size()];
    const std::string right = data.tokens[input->next() % data.tokens.size()];
    data.merges.push_back(left + " " + right);
    if (!hadal::testing::id_of(data, left + right)) {
      data.tokens.push_back(left + right);
      data.types.push_back(TokenType::kNormal);
    }
  }
  for (int n = input->next() % 4; n > 0; --n) {
    std::string token;
    for (int length = input->next() % 8; length > 0; --length) {
      token.push_back(static_cast<char>(input->next()));
    }
    data.tokens.push_back(token);
    data.types.push_back(n % 2 == 0 ? TokenType::kControl : TokenType::kUserDefined);
  }
  return data;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes input{data, size};
  auto tokenizer = Tokenizer::make(vocabulary(&input));
  if (!tokenizer) return 0;
  const std::string text(reinterpret_cast<const char*>(input.data), input.size);
  for (const bool special : {false, true}) {
    const auto ids = tokenizer->encode(text, {.add_bos = false, .parse_special = special});
    HADAL_CHECK(tokenizer->decode(ids, true) == text);
    hadal::Detokenizer stream(*tokenizer, true);
    std::string shown;
    for (const TokenId id : ids) shown += stream.push(id);
    shown += stream.finish();
    HADAL_CHECK(shown == hadal::replace_ill_formed(text));
  }
  return 0;
}
