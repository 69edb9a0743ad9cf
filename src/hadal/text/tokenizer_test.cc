#include "hadal/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <sstream>

#include "hadal/text/testing/gguf_vocab.h"
#include "hadal/text/testing/small_vocab.h"

namespace hadal {
namespace {

using ::testing::HasSubstr;

std::string shared(const std::string& path) { return HADAL_SOURCE_DIR "/../shared/" + path; }

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> split_at(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  size_t from = 0;
  for (size_t at; (at = text.find(separator, from)) != std::string::npos;) {
    parts.push_back(text.substr(from, at - from));
    from = at + separator.size();
  }
  parts.push_back(text.substr(from));
  return parts;
}

std::vector<TokenId> ids_of(const std::string& line) {
  std::istringstream stream(line);
  return {std::istream_iterator<TokenId>(stream), {}};
}

Tokenizer make(VocabData data) {
  auto tokenizer = Tokenizer::make(std::move(data));
  EXPECT_TRUE(tokenizer) << tokenizer.error().what;
  return std::move(*tokenizer);
}

std::string shared_vocabulary(const std::string& name) {
  return shared("tokenizers/ggml-vocab-" + name + ".gguf");
}

class SharedVocabulary : public ::testing::TestWithParam<const char*> {};

TEST_P(SharedVocabulary, GivesTheListedTokens) {
  const std::string path = shared_vocabulary(GetParam());
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not here";
  const Tokenizer tokenizer = make(testing::GgufVocabReader(path).read());
  const auto texts = split_at(read_file(path + ".inp"), "\n__ggml_vocab_test__\n");
  const auto lines = split_at(read_file(path + ".out"), "\n");
  ASSERT_GT(texts.size(), 40U);
  ASSERT_GE(lines.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto ids = tokenizer.encode(texts[i], {});
    EXPECT_EQ(ids, ids_of(lines[i])) << "text " << i << ": " << texts[i];
    EXPECT_EQ(tokenizer.decode(ids), texts[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(All, SharedVocabulary,
                         ::testing::Values("deepseek-llm", "deepseek-coder", "llama-spm"));

// testing/cross_checked.json: texts, and the ids that llama.cpp gave for them on a vocabulary of
// shared/tokenizers with another tokenizer.ggml.pre written into it.
TEST(CrossChecked, SameTokensAsLlamaCpp) {
  if (!std::filesystem::exists(shared_vocabulary("deepseek-llm"))) {
    GTEST_SKIP() << shared_vocabulary("deepseek-llm") << " is not here";
  }
  const std::map<std::string, PreTokenizer> pres = {
      {"deepseek-llm", PreTokenizer::kDeepseekLlm},
      {"deepseek-coder", PreTokenizer::kDeepseekCoder},
      {"deepseek-v3", PreTokenizer::kDeepseekV3},
      {"qwen2", PreTokenizer::kQwen2},
      {"llama-bpe", PreTokenizer::kLlamaBpe},
      {"spm", PreTokenizer::kDeepseekV3}};
  const auto root =
      boost::json::parse(read_file(HADAL_SOURCE_DIR "/src/hadal/text/testing/cross_checked.json"));
  const auto& texts = root.at("texts").as_array();
  ASSERT_GE(root.at("ids").as_object().size(), 7U);
  for (const auto& entry : root.at("ids").as_object()) {
    const auto names = split_at(std::string(entry.key()), "/");
    const Tokenizer tokenizer =
        make(testing::GgufVocabReader(shared_vocabulary(names[0])).read(pres.at(names[1])));
    ASSERT_EQ(entry.value().as_array().size(), texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      const std::string text(texts[i].as_string());
      EXPECT_EQ(tokenizer.encode(text, {}),
                ids_of(std::string(entry.value().as_array()[i].as_string())))
          << entry.key() << ": " << text;
    }
  }
}

TEST(Tokenizer, MergesByRankNotByPosition) {
  const Tokenizer tokenizer = make(testing::small_vocab({}));
  const auto pieces = [&](std::string_view text) {
    std::vector<std::string> out;
    for (const TokenId id : tokenizer.encode(text, {})) out.emplace_back(tokenizer.piece(id));
    return out;
  };
  EXPECT_THAT(pieces("hello world"), ::testing::ElementsAre("hello", " world"));
  EXPECT_THAT(pieces("hellllo"), ::testing::ElementsAre("hell", "ll", "o"));
  EXPECT_THAT(pieces("123"), ::testing::ElementsAre("123"));
  EXPECT_THAT(pieces("1123"), ::testing::ElementsAre("1", "12", "3"));
  EXPECT_THAT(pieces(""), ::testing::ElementsAre());
}

// A word of any length goes through the queue; a short one through the scan. Both must merge alike.
TEST(Tokenizer, LongAndShortWordsMergeAlike) {
  const Tokenizer tokenizer = make(testing::small_vocab({}));
  const std::string unit = "hellothinkwxhelheth";
  std::string text;
  for (int i = 0; i < 60000; ++i) text += unit;
  const auto once = tokenizer.encode(unit, {});
  const auto many = tokenizer.encode(text, {});
  ASSERT_EQ(many.size(), once.size() * 60000);
  for (size_t i = 0; i < many.size(); ++i) ASSERT_EQ(many[i], once[i % once.size()]);
}

TEST(Tokenizer, AnyBytesComeBack) {
  std::mt19937 random(6);
  for (const PreTokenizer pre : {PreTokenizer::kDeepseekLlm, PreTokenizer::kDeepseekV3,
                                 PreTokenizer::kQwen2, PreTokenizer::kLlamaBpe}) {
    const Tokenizer tokenizer = make(testing::small_vocab({"<end>"}, pre));
    for (int i = 0; i < 2000; ++i) {
      std::string text;
      for (size_t n = random() % 30; n > 0; --n) {
        text +=
            random() % 2 == 0 ? static_cast<char>(random() % 256) : "hel wo12 <\n"[random() % 11];
      }
      ASSERT_EQ(tokenizer.decode(tokenizer.encode(text, {})), text);
    }
  }
}

TEST(Tokenizer, SpecialTokensOnlyWhenAsked) {
  VocabData data = testing::small_vocab({"<end>", "<end>x", "<think>", "[INST]", "üü"});
  const TokenId umlauts = *testing::id_of(data, "üü");
  data.types[umlauts] = TokenType::kUserDefined;
  data.types[*testing::id_of(data, "[INST]")] = TokenType::kUserDefined;
  data.bos = *testing::id_of(data, "<end>");
  const Tokenizer tokenizer = make(std::move(data));
  const TokenId end = *tokenizer.find("<end>");
  const TokenId longer = *tokenizer.find("<end>x");
  const TokenId think = *tokenizer.find("<think>");
  const EncodeOptions special{.add_bos = false, .parse_special = true};
  EXPECT_THAT(tokenizer.encode("<end><end>x<think>", special),
              ::testing::ElementsAre(end, longer, think));
  for (const char* text : {"<end>", "<end>x", "<think>", "[INST]"}) {
    const auto ids = tokenizer.encode(text, {});
    EXPECT_GT(ids.size(), 1U) << text;
    EXPECT_EQ(tokenizer.decode(ids), text);
  }
  EXPECT_THAT(tokenizer.encode("üü", {}), ::testing::ElementsAre(umlauts));
  EXPECT_EQ(tokenizer.encode("<en", special), tokenizer.encode("<en", {}));
  EXPECT_THAT(tokenizer.encode("", {.add_bos = true}), ::testing::ElementsAre(end));
}

TEST(Tokenizer, PartsJoinButSpecialTokensDoNotReachAcross) {
  const Tokenizer tokenizer = make(testing::small_vocab({"<end>"}));
  const TokenId end = *tokenizer.find("<end>");
  const auto encode = [&](std::vector<TextPart> parts) {
    return tokenizer.encode_parts(parts, false);
  };
  EXPECT_EQ(encode({{"hel", true}, {"lo", false}}), tokenizer.encode("hello", {}));
  EXPECT_THAT(encode({{"<end>", true}}), ::testing::ElementsAre(end));
  EXPECT_EQ(encode({{"<en", true}, {"d>", true}}), tokenizer.encode("<end>", {}));
  EXPECT_EQ(encode({{"<end>", false}}), tokenizer.encode("<end>", {}));
  const auto mixed = encode({{"<end>", false}, {"<end>", true}, {"<end>", false}});
  EXPECT_EQ(std::ranges::count(mixed, end), 1);
  EXPECT_EQ(tokenizer.decode(mixed, true), "<end><end><end>");
  EXPECT_TRUE(encode({}).empty());
}

TEST(Tokenizer, KnowsItsTokens) {
  VocabData data = testing::small_vocab({"<end>", "<|eot_id|>"});
  data.eos = *testing::id_of(data, "<end>");
  data.end_of_generation = {*testing::id_of(data, "<|eot_id|>")};
  const Tokenizer tokenizer = make(std::move(data));
  EXPECT_TRUE(tokenizer.is_end_of_generation(*tokenizer.find("<end>")));
  EXPECT_TRUE(tokenizer.is_end_of_generation(*tokenizer.find("<|eot_id|>")));
  EXPECT_FALSE(tokenizer.is_end_of_generation(0));
  EXPECT_FALSE(tokenizer.is_end_of_generation(-1));
  EXPECT_FALSE(tokenizer.is_end_of_generation(tokenizer.vocabulary_size()));
  EXPECT_EQ(tokenizer.find(" world"), tokenizer.encode(" world", {}).at(0));
  EXPECT_FALSE(tokenizer.find("no such token"));
  EXPECT_EQ(tokenizer.piece(*tokenizer.find("<end>")), "");
  EXPECT_EQ(tokenizer.piece(*tokenizer.find("<end>"), true), "<end>");
}

VocabData small_sentencepiece() {
  VocabData data;
  data.kind = TokenizerKind::kSentencePiece;
  const auto add = [&data](const std::string& token, TokenType type, float score) {
    data.tokens.push_back(token);
    data.types.push_back(type);
    data.scores.push_back(score);
  };
  add("<unk>", TokenType::kUnknown, 0);
  add("<s>", TokenType::kControl, 0);
  for (int byte = 0; byte < 256; ++byte) {
    std::ostringstream name;
    name << "<0x" << std::hex << std::uppercase << byte / 16 << byte % 16 << ">";
    add(name.str(), TokenType::kByte, 0);
  }
  float score = -1;
  for (const char* token : {"▁a", "ab", "▁", "a", "b", "<", "s", ">", "<s", "▁▁"}) {
    add(token, TokenType::kNormal, score);
    score -= 1;
  }
  data.unknown = 0;
  data.bos = 1;
  return data;
}

TEST(SentencePiece, MergesByScoreAndFallsBackToBytes) {
  const Tokenizer tokenizer = make(small_sentencepiece());
  const auto pieces = [&](std::string_view text, const EncodeOptions& options = {}) {
    std::vector<std::string> out;
    for (const TokenId id : tokenizer.encode(text, options)) {
      out.push_back(tokenizer.data().tokens[id]);
    }
    return out;
  };
  EXPECT_THAT(pieces("ab"), ::testing::ElementsAre("▁a", "b"));
  EXPECT_THAT(pieces("bab"), ::testing::ElementsAre("▁", "b", "ab"));
  EXPECT_THAT(pieces("é"), ::testing::ElementsAre("▁", "<0xC3>", "<0xA9>"));
  EXPECT_THAT(pieces("\xFF"), ::testing::ElementsAre("▁", "<0xFF>"));
  EXPECT_THAT(pieces("<s>"), ::testing::ElementsAre("▁", "<s", ">"));
  EXPECT_THAT(pieces("a<s>a", {.parse_special = true}), ::testing::ElementsAre("▁a", "<s>", "▁a"));
  EXPECT_THAT(pieces(""), ::testing::ElementsAre());
  for (const char* text : {"ab", " ab", "  a  b ", "é\xFF", "<s>", ""}) {
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, {})), text);
  }
}

TEST(SentencePiece, LongTextIsNotQuadratic) {
  const Tokenizer tokenizer = make(small_sentencepiece());
  std::string text(1 << 20, 'a');
  text += std::string(1 << 20, ' ');
  const auto ids = tokenizer.encode(text, {});
  EXPECT_EQ(tokenizer.decode(ids), text);
}

struct Broken {
  const char* name;
  void (*spoil)(VocabData*);
  const char* says;
};

class BrokenVocabulary : public ::testing::TestWithParam<Broken> {};

TEST_P(BrokenVocabulary, IsRefusedWithItsReason) {
  VocabData data = testing::small_vocab({"<end>"});
  GetParam().spoil(&data);
  const auto tokenizer = Tokenizer::make(std::move(data));
  ASSERT_FALSE(tokenizer);
  EXPECT_EQ(tokenizer.error().code, Code::kCorrupt);
  EXPECT_THAT(tokenizer.error().what, HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    All, BrokenVocabulary,
    ::testing::Values(
        Broken{"empty", [](VocabData* d) { *d = {}; }, "no tokens"},
        Broken{"types", [](VocabData* d) { d->types.pop_back(); }, "types for"},
        Broken{"duplicate", [](VocabData* d) { d->tokens.back() = "a"; }, "are the same: \"a\""},
        Broken{"byte", [](VocabData* d) { d->tokens[0x41] = "lost"; }, "byte 0x41 has no token"},
        Broken{"bos", [](VocabData* d) { d->bos = 100000; }, "the begin token is 100000"},
        Broken{"eos", [](VocabData* d) { d->eos = -1; }, "the end token is -1"},
        Broken{"end_of_generation", [](VocabData* d) { d->end_of_generation = {-5}; },
               "end-of-generation token is -5"},
        Broken{"merge_part", [](VocabData* d) { d->merges.push_back("zz z"); }, "merge 17"},
        Broken{"merge_result", [](VocabData* d) { d->merges.push_back("z z"); }, "merge 17"},
        Broken{"merge_space", [](VocabData* d) { d->merges[3] = "zz"; }, "merge 3 has no space"},
        Broken{"merge_empty", [](VocabData* d) { d->merges[3] = ""; }, "merge 3 has no space"},
        Broken{"scores", [](VocabData* d) { d->kind = TokenizerKind::kSentencePiece; },
               "0 scores for"}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace hadal
