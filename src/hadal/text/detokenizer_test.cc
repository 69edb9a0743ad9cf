#include "hadal/text/detokenizer.h"

#include <gtest/gtest.h>

#include <random>

#include "hadal/text/testing/small_vocab.h"
#include "hadal/text/unicode.h"

namespace hadal {
namespace {

// The decoder of the WHATWG Encoding Standard, section 8.1.1, step by step as it is written there.
std::string whatwg_decode(std::string_view input) {
  uint32_t code_point = 0;
  int seen = 0;
  int needed = 0;
  uint8_t lower = 0x80;
  uint8_t upper = 0xBF;
  std::string out;
  const auto reset = [&] {
    code_point = 0;
    needed = seen = 0;
    lower = 0x80;
    upper = 0xBF;
  };
  for (size_t i = 0; i < input.size();) {
    const auto byte = static_cast<uint8_t>(input[i]);
    if (needed == 0) {
      ++i;
      if (byte <= 0x7F) {
        append_utf8(byte, &out);
      } else if (byte >= 0xC2 && byte <= 0xDF) {
        needed = 1;
        code_point = byte & 0x1FU;
      } else if (byte >= 0xE0 && byte <= 0xEF) {
        if (byte == 0xE0) lower = 0xA0;
        if (byte == 0xED) upper = 0x9F;
        needed = 2;
        code_point = byte & 0xFU;
      } else if (byte >= 0xF0 && byte <= 0xF4) {
        if (byte == 0xF0) lower = 0x90;
        if (byte == 0xF4) upper = 0x8F;
        needed = 3;
        code_point = byte & 0x7U;
      } else {
        append_utf8(0xFFFD, &out);
      }
      continue;
    }
    if (byte < lower || byte > upper) {
      reset();
      append_utf8(0xFFFD, &out);
      continue;  // the byte is looked at again
    }
    ++i;
    lower = 0x80;
    upper = 0xBF;
    code_point = code_point << 6 | (byte & 0x3FU);
    if (++seen == needed) {
      append_utf8(code_point, &out);
      reset();
    }
  }
  if (needed != 0) append_utf8(0xFFFD, &out);
  return out;
}

Tokenizer small_tokenizer() {
  auto tokenizer = Tokenizer::make(testing::small_vocab({"<end>", "<think>"}));
  EXPECT_TRUE(tokenizer) << tokenizer.error().what;
  return std::move(*tokenizer);
}

TEST(Detokenizer, GivesTheWhatwgDecodingOfAllBytes) {
  const Tokenizer tokenizer = small_tokenizer();
  std::mt19937 random(4);
  for (int i = 0; i < 4000; ++i) {
    Detokenizer stream(tokenizer);
    std::string bytes;
    std::string shown;
    for (size_t n = random() % 16; n > 0; --n) {
      // Mostly lead and continuation bytes, so that characters form and break.
      const TokenId id = static_cast<TokenId>(
          random() % 4 == 0
              ? random() % static_cast<uint32_t>(tokenizer.vocabulary_size())
              : *testing::id_of(tokenizer.data(),
                                testing::byte_name(0x80 + static_cast<int>(random() % 0x78))));
      bytes += tokenizer.piece(id);
      const std::string text = stream.push(id);
      ASSERT_TRUE(is_valid_utf8(text));
      shown += text;
    }
    shown += stream.finish();
    ASSERT_EQ(shown, whatwg_decode(bytes));
  }
}

TEST(Detokenizer, HoldsACharacterBackUntilItIsWhole) {
  const Tokenizer tokenizer = small_tokenizer();
  Detokenizer stream(tokenizer);
  const auto ids = tokenizer.encode("🦙", {});
  ASSERT_EQ(ids.size(), 4U);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(stream.push(ids[i]), "");
  EXPECT_EQ(stream.push(ids[3]), "🦙");
  stream.push(ids[0]);
  EXPECT_EQ(stream.finish(), "\uFFFD");
  EXPECT_EQ(stream.finish(), "");
}

TEST(Detokenizer, ShowsControlTokensOnRequestOnly) {
  const Tokenizer tokenizer = small_tokenizer();
  const TokenId end = *tokenizer.find("<end>");
  EXPECT_EQ(Detokenizer(tokenizer).push(end), "");
  EXPECT_EQ(Detokenizer(tokenizer, true).push(end), "<end>");
  EXPECT_EQ(Detokenizer(tokenizer, false, false, {end}).push(end), "<end>");
  EXPECT_EQ(Detokenizer(tokenizer, false, false, {end + 1}).push(end), "");
  EXPECT_EQ(Detokenizer(tokenizer).push(*tokenizer.find("<think>")), "<think>");
}

}  // namespace
}  // namespace hadal
