// Vectors of questions without a model: hashed words, letter n-grams and pairs of characters.
// Multilingual as far as letters are; what it does not know about meaning the guard must
// (semantic_guard.h).
//
// Pure, any thread.
#pragma once

#include <cstddef>
#include <vector>

#include "hadal/gateway/semantic_text.h"

namespace hadal::gateway {

inline constexpr size_t kBuiltInDimensions = 256;

// Of length 1, or all zero when nothing in the text says anything. The same bits on every machine.
std::vector<float> embed(const Meaning& meaning);

// Of two vectors of length 1: their cosine.
float similarity(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace hadal::gateway
