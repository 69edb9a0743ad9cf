// The tokenizer.ggml.* keys as a VocabData. Where a key is absent, the defaults are llama.cpp's, as
// files in the wild were made against it.
#include "hadal/base/limits.h"
#include "hadal/format/field_error.h"
#include "hadal/format/gguf.h"
#include "hadal/format/vocab_common.h"

namespace hadal {
namespace {

constexpr std::string_view kModel = "tokenizer.ggml.model";
constexpr std::string_view kPre = "tokenizer.ggml.pre";

// An array key of one kind; an empty array of any kind is an empty one of each.
template <class T>
Result<std::vector<T>> array(const GgufMeta& meta, std::string_view key, bool required,
                             std::string_view expected) {
  const auto found = meta.values.find(key);
  if (found == meta.values.end()) {
    if (!required) return std::vector<T>{};
    return field_error(Code::kCorrupt, meta.path, key, "no such key", expected);
  }
  if (const auto* values = std::get_if<std::vector<T>>(&found->second)) return *values;
  return field_error(Code::kCorrupt, meta.path, key, "a value of another kind", expected);
}

Result<std::optional<TokenId>> token_id(const GgufMeta& meta, std::string_view key, size_t size,
                                        std::optional<TokenId> fallback) {
  if (!meta.has(key)) return fallback;
  HADAL_TRY(const int64_t id, meta.integer(key, std::nullopt, 0, static_cast<int64_t>(size) - 1));
  return std::optional<TokenId>(static_cast<TokenId>(id));
}

Result<std::vector<TokenType>> token_types(const GgufMeta& meta, size_t size) {
  constexpr std::string_view kKey = "tokenizer.ggml.token_type";
  HADAL_TRY(const auto numbers, array<int64_t>(meta, kKey, false, "an array of integers"));
  if (!meta.has(kKey)) return std::vector<TokenType>(size, TokenType::kNormal);
  std::vector<TokenType> types;
  types.reserve(numbers.size());
  for (const int64_t number : numbers) {
    if (number < 0 || number > 6) {
      return field_error(Code::kCorrupt, meta.path, kKey, std::to_string(number),
                         "types from 0 to 6");
    }
    types.push_back(number == 0 ? TokenType::kNormal
                                : static_cast<TokenType>(number));  // 0: undefined
  }
  return types;
}

// What depends on the family: pieces with scores, or merges with a pre-tokenizer.
Status fill_sentencepiece(const GgufMeta& meta, VocabData& vocab) {
  vocab.kind = TokenizerKind::kSentencePiece;
  HADAL_TRY(const auto scores,
            array<double>(meta, "tokenizer.ggml.scores", true, "an array of numbers, one a token"));
  vocab.scores.assign(scores.begin(), scores.end());
  HADAL_TRY(vocab.add_bos, meta.boolean("tokenizer.ggml.add_bos_token", true));
  HADAL_TRY(vocab.add_space_prefix, meta.boolean("tokenizer.ggml.add_space_prefix", true));
  return {};
}

Status fill_byte_bpe(const GgufMeta& meta, VocabData& vocab) {
  constexpr std::string_view kKnown =
      "deepseek-llm, deepseek-coder, deepseek-v3, deepseek-r1-qwen, qwen2 or llama-bpe";
  vocab.kind = TokenizerKind::kByteBpe;
  if (!meta.has(kPre)) {
    // Guessing would tokenize almost right, which is worse than not at all.
    return field_error(Code::kUnsupported, meta.path, kPre, "no such key", kKnown);
  }
  HADAL_TRY(const std::string name, meta.text(kPre, std::nullopt));
  const auto pre = pre_tokenizer_from_name(name);
  if (!pre) return field_error(Code::kUnsupported, meta.path, kPre, shown(name), kKnown);
  vocab.pre = *pre;
  HADAL_TRY(vocab.merges,
            array<std::string>(meta, "tokenizer.ggml.merges", true, "an array of strings"));
  HADAL_TRY(vocab.add_bos,
            meta.boolean("tokenizer.ggml.add_bos_token", *pre == PreTokenizer::kLlamaBpe));
  vocab.add_space_prefix = false;
  return {};
}

Status fill_special_ids(const GgufMeta& meta, VocabData& vocab) {
  const size_t size = vocab.tokens.size();
  const auto fallback = [&](TokenId id) {
    const bool usual =
        vocab.kind == TokenizerKind::kSentencePiece && static_cast<size_t>(id) < size;
    return usual ? std::optional<TokenId>(id) : std::nullopt;
  };
  HADAL_TRY(vocab.unknown, token_id(meta, "tokenizer.ggml.unknown_token_id", size, fallback(0)));
  HADAL_TRY(vocab.bos, token_id(meta, "tokenizer.ggml.bos_token_id", size, fallback(1)));
  HADAL_TRY(vocab.eos, token_id(meta, "tokenizer.ggml.eos_token_id", size, fallback(2)));
  HADAL_TRY(vocab.padding, token_id(meta, "tokenizer.ggml.padding_token_id", size, std::nullopt));
  HADAL_TRY(const auto eot, token_id(meta, "tokenizer.ggml.eot_token_id", size, std::nullopt));
  HADAL_TRY(const auto eom, token_id(meta, "tokenizer.ggml.eom_token_id", size, std::nullopt));
  for (const auto& end : {vocab.eos, eot, eom}) {
    if (end) add_end_of_generation(vocab, *end);
  }
  add_known_ends(vocab);
  return {};
}

}  // namespace

Result<VocabData> gguf_vocab(const GgufMeta& meta) {
  VocabData vocab;
  HADAL_TRY(const std::string model, meta.text(kModel, std::nullopt));
  if (model != "gpt2" && model != "llama") {
    return field_error(Code::kUnsupported, meta.path, kModel, shown(model),
                       "\"gpt2\" or \"llama\"");
  }
  HADAL_TRY(vocab.tokens,
            array<std::string>(meta, "tokenizer.ggml.tokens", true, "an array of strings"));
  if (vocab.tokens.empty() || vocab.tokens.size() > limits::kVocabularyMax) {
    return field_error(Code::kCorrupt, meta.path, "tokenizer.ggml.tokens",
                       std::to_string(vocab.tokens.size()) + " tokens",
                       "1 to " + std::to_string(limits::kVocabularyMax));
  }
  HADAL_TRY(vocab.types, token_types(meta, vocab.tokens.size()));
  HADAL_TRY_VOID(model == "llama" ? fill_sentencepiece(meta, vocab) : fill_byte_bpe(meta, vocab));
  HADAL_TRY(vocab.add_eos, meta.boolean("tokenizer.ggml.add_eos_token", false));
  HADAL_TRY(vocab.chat_template, meta.text("tokenizer.chat_template", ""));
  if (vocab.types.size() == vocab.tokens.size()) HADAL_TRY_VOID(fill_special_ids(meta, vocab));
  HADAL_TRY_VOID(check_vocab(vocab, meta.path));
  return vocab;
}

}  // namespace hadal
