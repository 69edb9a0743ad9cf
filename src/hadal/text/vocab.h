// A tokenizer as data, before it is compiled: what a GGUF's tokenizer.ggml.* keys or a Hugging Face
// tokenizer.json say. format fills it; text/tokenizer.h makes it run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hadal {

using TokenId = int32_t;

enum class TokenizerKind : uint8_t { kByteBpe, kSentencePiece };

// How text is cut before byte-level BPE merges. Named as in tokenizer.ggml.pre.
enum class PreTokenizer : uint8_t { kDeepseekLlm, kDeepseekCoder, kDeepseekV3, kQwen2, kLlamaBpe };

enum class TokenType : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,      // never shown: begin/end of sentence, role markers
  kUserDefined = 4,  // matched as a whole in templates, shown as text: <think>
  kUnused = 5,
  kByte = 6,  // SentencePiece <0xHH>
};

struct VocabData {
  TokenizerKind kind = TokenizerKind::kByteBpe;
  PreTokenizer pre = PreTokenizer::kDeepseekV3;
  // Token i's text. Byte-level BPE: in GPT-2's byte-to-unicode alphabet for kNormal, plain UTF-8
  // for kControl and kUserDefined. SentencePiece: with U+2581 for a space.
  std::vector<std::string> tokens;
  std::vector<TokenType> types;     // same length
  std::vector<float> scores;        // SentencePiece: same length; else empty
  std::vector<std::string> merges;  // byte-level BPE: "left right", best first
  std::optional<TokenId> bos, eos, unknown, padding;
  std::vector<TokenId>
      end_of_generation;  // eos and what else ends an answer (<|eot_id|>, <|im_end|>)
  bool add_bos = false;   // a plain prompt begins with bos
  bool add_eos = false;
  bool add_space_prefix = true;  // SentencePiece: a space before the first word
  std::string chat_template;     // the model's own Jinja source, empty when it has none
};

}  // namespace hadal
