#include "hadal/format/vocab_common.h"

#include <algorithm>
#include <array>

#include "hadal/base/limits.h"
#include "hadal/format/field_error.h"

namespace hadal {
namespace {

struct PreName {
  std::string_view name;
  PreTokenizer pre;
};

constexpr std::array<PreName, 8> kPreNames = {{
    {"deepseek-llm", PreTokenizer::kDeepseekLlm},
    {"deepseek-coder", PreTokenizer::kDeepseekCoder},
    {"deepseek-v3", PreTokenizer::kDeepseekV3},
    {"qwen2", PreTokenizer::kQwen2},
    {"deepseek-r1-qwen", PreTokenizer::kQwen2},
    {"llama-bpe", PreTokenizer::kLlamaBpe},
    {"llama3", PreTokenizer::kLlamaBpe},
    {"llama-v3", PreTokenizer::kLlamaBpe},
}};

// Files often name one end token where the model's templates use several.
constexpr std::array<std::string_view, 7> kEndTexts = {
    "<|eot_id|>",    "<|im_end|>", "<|end_of_text|>",
    "<|endoftext|>", "<|eom_id|>", "<\uFF5Cend\u2581of\u2581sentence\uFF5C>",
    "<|EOT|>",
};

Status check_id(std::string_view file, std::string_view field, std::optional<TokenId> id,
                size_t size) {
  if (!id || (*id >= 0 && static_cast<size_t>(*id) < size)) return {};
  return field_error(Code::kCorrupt, file, field, "token " + std::to_string(*id),
                     "one of the " + std::to_string(size) + " tokens");
}

}  // namespace

std::optional<PreTokenizer> pre_tokenizer_from_name(std::string_view name) {
  for (const PreName& row : kPreNames) {
    if (row.name == name) return row.pre;
  }
  return std::nullopt;
}

void add_end_of_generation(VocabData& vocab, TokenId token) {
  auto& ends = vocab.end_of_generation;
  if (std::find(ends.begin(), ends.end(), token) == ends.end()) ends.push_back(token);
}

void add_known_ends(VocabData& vocab) {
  for (size_t i = 0; i < vocab.tokens.size(); ++i) {
    if (vocab.types[i] != TokenType::kControl) continue;
    if (std::find(kEndTexts.begin(), kEndTexts.end(), vocab.tokens[i]) != kEndTexts.end()) {
      add_end_of_generation(vocab, static_cast<TokenId>(i));
    }
  }
}

Status check_vocab(const VocabData& vocab, std::string_view file) {
  const size_t size = vocab.tokens.size();
  const auto same_length = [&](std::string_view field, size_t length) -> Status {
    if (length == size) return {};
    return field_error(Code::kCorrupt, file, field, std::to_string(length) + " elements",
                       std::to_string(size) + ", one a token");
  };
  if (size == 0 || size > limits::kVocabularyMax) {
    return field_error(Code::kCorrupt, file, "vocabulary", std::to_string(size) + " tokens",
                       "1 to " + std::to_string(limits::kVocabularyMax));
  }
  HADAL_TRY_VOID(same_length("token types", vocab.types.size()));
  if (vocab.kind == TokenizerKind::kSentencePiece) {
    HADAL_TRY_VOID(same_length("token scores", vocab.scores.size()));
  }
  HADAL_TRY_VOID(check_id(file, "bos token", vocab.bos, size));
  HADAL_TRY_VOID(check_id(file, "eos token", vocab.eos, size));
  HADAL_TRY_VOID(check_id(file, "unknown token", vocab.unknown, size));
  HADAL_TRY_VOID(check_id(file, "padding token", vocab.padding, size));
  for (const TokenId id : vocab.end_of_generation) {
    HADAL_TRY_VOID(check_id(file, "end-of-generation token", id, size));
  }
  for (size_t i = 0; i < vocab.merges.size(); ++i) {
    const std::string& merge = vocab.merges[i];
    const size_t space = merge.find(' ', 1);
    if (merge.empty() || space == std::string::npos || space + 1 == merge.size()) {
      return field_error(Code::kCorrupt, file, "merge " + std::to_string(i), shown(merge),
                         "two parts with a space between");
    }
  }
  return {};
}

}  // namespace hadal
