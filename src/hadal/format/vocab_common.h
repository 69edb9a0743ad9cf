// Private to format: what a vocabulary needs whichever file it comes from.
#pragma once

#include <optional>
#include <string_view>

#include "hadal/base/result.h"
#include "hadal/text/vocab.h"

namespace hadal {

// The pre-tokenizer of a tokenizer.ggml.pre name; nullopt when unknown.
std::optional<PreTokenizer> pre_tokenizer_from_name(std::string_view name);

// Appends `token` unless it is there.
void add_end_of_generation(VocabData& vocab, TokenId token);

// Appends every control token whose text is one that models end an answer with (<|im_end|>, ...).
void add_known_ends(VocabData& vocab);

// Lengths agree, ids are in range, merges have two sides.
Status check_vocab(const VocabData& vocab, std::string_view file);

}  // namespace hadal
