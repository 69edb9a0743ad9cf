#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hadal/format/gguf.h"

namespace hadal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Strings = std::vector<std::string>;
using Integers = std::vector<int64_t>;

GgufMeta bpe() {
  GgufMeta meta;
  meta.path = "m.gguf";
  meta.values = {
      {"tokenizer.ggml.model", std::string("gpt2")},
      {"tokenizer.ggml.pre", std::string("deepseek-v3")},
      {"tokenizer.ggml.tokens", Strings{"a", "b", "ab", "<s>", "<|im_end|>", "<|eot_id|>"}},
      {"tokenizer.ggml.token_type", Integers{1, 1, 0, 3, 3, 4}},
      {"tokenizer.ggml.merges", Strings{"a b"}},
      {"tokenizer.ggml.bos_token_id", int64_t{3}},
      {"tokenizer.ggml.eos_token_id", int64_t{1}}};
  return meta;
}

GgufMeta pieces() {
  GgufMeta meta;
  meta.path = "m.gguf";
  meta.values = {{"tokenizer.ggml.model", std::string("llama")},
                 {"tokenizer.ggml.tokens", Strings{"<unk>", "<s>", "</s>", "<0x00>"}},
                 {"tokenizer.ggml.token_type", Integers{2, 3, 3, 6}},
                 {"tokenizer.ggml.scores", std::vector<double>{0, 0, 0, -1}}};
  return meta;
}

TEST(GgufVocab, ByteBpe) {
  const auto vocab = gguf_vocab(bpe());
  ASSERT_TRUE(vocab) << vocab.error().what;
  EXPECT_EQ(vocab->kind, TokenizerKind::kByteBpe);
  EXPECT_EQ(vocab->pre, PreTokenizer::kDeepseekV3);
  EXPECT_EQ(vocab->bos, 3);
  EXPECT_EQ(vocab->types[2], TokenType::kNormal);
  // eos, then the control token that is known to end; the user-defined one is text.
  EXPECT_THAT(vocab->end_of_generation, ElementsAre(1, 4));
  EXPECT_FALSE(vocab->add_bos);
  EXPECT_FALSE(vocab->add_space_prefix);
  EXPECT_FALSE(vocab->unknown.has_value());
}

TEST(GgufVocab, PreTokenizerNames) {
  const std::pair<const char*, PreTokenizer> names[] = {
      {"deepseek-llm", PreTokenizer::kDeepseekLlm},
      {"deepseek-coder", PreTokenizer::kDeepseekCoder},
      {"deepseek-v3", PreTokenizer::kDeepseekV3},
      {"qwen2", PreTokenizer::kQwen2},
      {"deepseek-r1-qwen", PreTokenizer::kQwen2},
      {"llama-bpe", PreTokenizer::kLlamaBpe},
      {"llama3", PreTokenizer::kLlamaBpe},
      {"llama-v3", PreTokenizer::kLlamaBpe}};
  for (const auto& [name, pre] : names) {
    GgufMeta meta = bpe();
    meta.values["tokenizer.ggml.pre"] = std::string(name);
    const auto vocab = gguf_vocab(meta);
    ASSERT_TRUE(vocab) << name;
    EXPECT_EQ(vocab->pre, pre) << name;
    EXPECT_EQ(vocab->add_bos, pre == PreTokenizer::kLlamaBpe) << name;
  }
}

TEST(GgufVocab, EveryEndTokenIsCollectedOnce) {
  GgufMeta meta = bpe();
  meta.values["tokenizer.ggml.eot_token_id"] = int64_t{4};
  meta.values["tokenizer.ggml.eom_token_id"] = int64_t{5};
  const auto vocab = gguf_vocab(meta);
  ASSERT_TRUE(vocab) << vocab.error().what;
  EXPECT_THAT(vocab->end_of_generation, ElementsAre(1, 4, 5));
}

TEST(GgufVocab, SentencePieceDefaults) {
  const auto vocab = gguf_vocab(pieces());
  ASSERT_TRUE(vocab) << vocab.error().what;
  EXPECT_EQ(vocab->kind, TokenizerKind::kSentencePiece);
  EXPECT_EQ(vocab->unknown, 0);
  EXPECT_EQ(vocab->bos, 1);
  EXPECT_EQ(vocab->eos, 2);
  EXPECT_TRUE(vocab->add_bos);
  EXPECT_TRUE(vocab->add_space_prefix);
  EXPECT_FALSE(vocab->add_eos);
  EXPECT_THAT(vocab->scores, ElementsAre(0, 0, 0, -1));
  GgufMeta meta = pieces();
  meta.values["tokenizer.ggml.add_space_prefix"] = false;
  meta.values["tokenizer.ggml.add_bos_token"] = false;
  EXPECT_FALSE(gguf_vocab(meta)->add_space_prefix);
  EXPECT_FALSE(gguf_vocab(meta)->add_bos);
}

TEST(GgufVocab, Refusals) {
  const struct {
    const char* key;
    std::optional<GgufValue> value;  // nullopt: key removed
    Code code;
    const char* says;
  } cases[] = {
      {"tokenizer.ggml.model", std::nullopt, Code::kCorrupt, "found no such key"},
      {"tokenizer.ggml.model", std::string("t5"), Code::kUnsupported, "found \"t5\""},
      {"tokenizer.ggml.pre", std::nullopt, Code::kUnsupported,
       "tokenizer.ggml.pre: found no such key"},
      {"tokenizer.ggml.pre", std::string("default"), Code::kUnsupported, "found \"default\""},
      {"tokenizer.ggml.pre", int64_t{3}, Code::kCorrupt, "the integer 3"},
      {"tokenizer.ggml.tokens", std::nullopt, Code::kCorrupt, "tokenizer.ggml.tokens"},
      {"tokenizer.ggml.tokens", Strings{}, Code::kCorrupt, "0 tokens"},
      {"tokenizer.ggml.tokens", Integers{1}, Code::kCorrupt, "another kind"},
      {"tokenizer.ggml.token_type", Integers{1}, Code::kCorrupt, "token types: found 1 elements"},
      {"tokenizer.ggml.token_type", Integers{1, 1, 7, 1, 1, 1}, Code::kCorrupt, "found 7"},
      {"tokenizer.ggml.merges", std::nullopt, Code::kCorrupt, "tokenizer.ggml.merges"},
      {"tokenizer.ggml.merges", Strings{"ab"}, Code::kCorrupt, "merge 0: found \"ab\""},
      {"tokenizer.ggml.merges", Strings{"a "}, Code::kCorrupt, "merge 0"},
      {"tokenizer.ggml.merges", Strings{" b"}, Code::kCorrupt, "merge 0"},
      {"tokenizer.ggml.merges", Strings{""}, Code::kCorrupt, "merge 0"},
      {"tokenizer.ggml.bos_token_id", int64_t{6}, Code::kCorrupt,
       "found 6, expected an integer from 0 to 5"},
      {"tokenizer.ggml.eos_token_id", int64_t{-1}, Code::kCorrupt, "found -1"},
      {"tokenizer.ggml.eot_token_id", int64_t{99}, Code::kCorrupt, "eot_token_id: found 99"},
      {"tokenizer.ggml.add_bos_token", int64_t{1}, Code::kCorrupt, "expected true or false"},
      {"tokenizer.chat_template", int64_t{1}, Code::kCorrupt, "expected a string"},
  };
  for (const auto& c : cases) {
    GgufMeta meta = bpe();
    meta.values.erase(c.key);
    if (c.value) meta.values[c.key] = *c.value;
    const auto vocab = gguf_vocab(meta);
    ASSERT_FALSE(vocab) << c.key;
    EXPECT_EQ(vocab.error().code, c.code) << vocab.error().what;
    EXPECT_THAT(vocab.error().what, HasSubstr(c.says));
  }
  GgufMeta meta = pieces();
  meta.values.erase("tokenizer.ggml.scores");
  EXPECT_THAT(gguf_vocab(meta).error().what, HasSubstr("tokenizer.ggml.scores"));
}

TEST(GgufVocab, RealVocabularies) {
  const std::string folder = HADAL_SOURCE_DIR "/../shared/tokenizers/ggml-vocab-";
  const struct {
    const char* name;
    size_t tokens;
    TokenId bos, eos;
  } cases[] = {{"deepseek-llm", 102'400, 100'000, 100'001},
               {"deepseek-coder", 32'256, 32'013, 32'014},
               {"llama-spm", 32'000, 1, 2}};
  for (const auto& c : cases) {
    const auto model = open_gguf(folder + c.name + ".gguf");
    if (!model && model.error().code == Code::kNotFound) GTEST_SKIP() << model.error().what;
    ASSERT_TRUE(model) << model.error().what;
    EXPECT_TRUE(model->tensors.tensors().empty());
    const auto vocab = gguf_vocab(model->meta);
    ASSERT_TRUE(vocab) << vocab.error().what;
    EXPECT_EQ(vocab->tokens.size(), c.tokens);
    EXPECT_EQ(vocab->bos, c.bos);
    EXPECT_EQ(vocab->eos, c.eos);
    EXPECT_TRUE(vocab->add_bos);
    EXPECT_THAT(vocab->end_of_generation, ElementsAre(c.eos));
  }
}

}  // namespace
}  // namespace hadal
