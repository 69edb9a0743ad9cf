#include "hadal/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "hadal/text/testing/gguf_vocab.h"

namespace hadal {
namespace {

using ::testing::ElementsAre;

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

class SharedVocabulary : public ::testing::TestWithParam<const char*> {};

TEST_P(SharedVocabulary, GivesTheListedTokens) {
  const std::string path = shared("tokenizers/ggml-vocab-" + std::string(GetParam()) + ".gguf");
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not here";
  auto tokenizer = Tokenizer::make(testing::GgufVocabReader(path).read());
  ASSERT_TRUE(tokenizer) << tokenizer.error().what;
  const auto texts = split_at(read_file(path + ".inp"), "\n__ggml_vocab_test__\n");
  const auto lines = split_at(read_file(path + ".out"), "\n");
  ASSERT_GT(texts.size(), 40U);
  ASSERT_GE(lines.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto ids = tokenizer->encode(texts[i], {});
    EXPECT_EQ(ids, ids_of(lines[i])) << "text " << i << ": " << texts[i];
    EXPECT_EQ(tokenizer->decode(ids), texts[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(All, SharedVocabulary,
                         ::testing::Values("deepseek-llm", "deepseek-coder", "llama-spm"));

}  // namespace
}  // namespace hadal
