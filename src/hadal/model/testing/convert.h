// For tests: a Hugging Face deepseek folder rewritten as each generation of deepseek2 GGUF.
#pragma once

#include <string>

#include "hadal/base/result.h"
#include "hadal/format/model_files.h"

namespace hadal {

enum class GgufGeneration {
  kJoined,  // before April 2025: attn_kv_b alone, key_length of one head
  kSplit,   // since: attn_k_b and attn_v_b, head_count_kv 1, *_mla lengths
  kBoth,    // ik_llama.cpp's: the first with the second's tensors added
};

// FP8 weights become F32 (GGUF has no block-scaled FP8), BF16 stays.
Status convert_to_gguf(const ModelFiles& folder, GgufGeneration generation,
                       const std::string& path);

}  // namespace hadal
