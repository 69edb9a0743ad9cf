// Text to token ids and back, for byte-level BPE and SentencePiece vocabularies.
//
// Threads: immutable after make(); any number of threads may use one tokenizer at once.
// Bounds: time is O(n log n) in the text for every input, also for one word of megabytes.
//
// Text is taken as it is. Hugging Face's Qwen tokenizers normalise to NFC first; llama.cpp does
// not, and GGUF files do not say, so neither does this.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/text/token_cache.h"
#include "hadal/text/vocab.h"

namespace hadal {

struct EncodeOptions {
  bool add_bos = false;  // put bos first, if the vocabulary has one
  bool parse_special =
      false;  // recognise control and user-defined tokens in the text. Never for text
              // that a user wrote: "<|User|>" typed by a user stays plain characters
};
// Without parse_special a control token is never recognised, nor is a user-defined one in angle or
// square brackets ("<think>", "<|EOT|>"). Other user-defined tokens are recognised in every text:
// DeepSeek-LLM's "ü" is one, and its training saw it as one.

// A stretch of a text that is encoded as a whole.
struct TextPart {
  std::string_view text;
  bool parse_special = false;
};

class Tokenizer {
 public:
  // kInvalidInput/kCorrupt when the data contradicts itself (duplicate tokens, merges of unknown
  // parts, ids out of range, a byte without a token).
  static Result<Tokenizer> make(VocabData data);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Invalid UTF-8 is encoded byte by byte where the vocabulary can (byte-level BPE, byte fallback).
  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options) const;

  // The parts joined and encoded as one text, so that words may reach across borders, as when a
  // template was rendered first; but a special token is recognised only inside one part, by that
  // part's rule.
  // What `cache` holds is not encoded again, and what is new is put into it, both within `scope`;
  // the tokens are the same with a cache and without.
  std::vector<TokenId> encode_parts(std::span<const TextPart> parts, bool add_bos,
                                    TokenCache* cache = nullptr, std::string_view scope = {}) const;

  // The bytes a token stands for; may be part of a character. Control tokens give "" unless
  // `show_special`. `id` must be in [0, vocabulary_size()).
  std::string_view piece(TokenId id, bool show_special = false) const;
  // pieces one after another (SentencePiece: without the leading space that encode added).
  std::string decode(std::span<const TokenId> tokens, bool show_special = false) const;

  int32_t vocabulary_size() const;
  bool is_end_of_generation(TokenId id) const;
  // The id whose whole text is `text`, special or not; nullopt if there is none.
  std::optional<TokenId> find(std::string_view text) const;
  const VocabData& data() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hadal
