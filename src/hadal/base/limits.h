// Every bound that input can meet, in one place, so that an operator can read them and a test can
// try them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hadal::limits {

// Model files.
inline constexpr uint64_t kGgufKeysMax = 65'536;
inline constexpr uint64_t kGgufTensorsMax = 1'048'576;
inline constexpr uint64_t kGgufStringMax = 16ull << 20;  // a chat template is the longest seen
inline constexpr uint64_t kGgufArrayMax = 16ull << 20;   // vocabularies and merges
inline constexpr uint32_t kTensorDimsMax = 4;
inline constexpr uint64_t kSafetensorsHeaderMax = 256ull << 20;
inline constexpr uint64_t kJsonFileMax = 256ull << 20;  // tokenizer.json of large vocabularies
inline constexpr uint32_t kFilePartsMax = 4'096;
inline constexpr uint32_t kVocabularyMax = 4'194'304;
inline constexpr uint32_t kLayersMax = 1'024;
inline constexpr uint32_t kExpertsMax = 4'096;

// Requests.
inline constexpr size_t kBodyBytesMax = 32ull << 20;
inline constexpr size_t kHeaderBytesMax = 32u << 10;
inline constexpr size_t kJsonDepthMax = 64;
inline constexpr size_t kMessagesMax = 4'096;
inline constexpr size_t kStopStringsMax = 16;
inline constexpr size_t kStopStringBytesMax = 1'024;
inline constexpr size_t kLogitBiasMax = 1'024;
inline constexpr int kTopLogprobsMax = 20;
inline constexpr int kChoicesMax = 128;
inline constexpr size_t kPromptsMax = 2'048;           // of one /v1/completions request
inline constexpr size_t kTokenCacheBytes = 32u << 20;  // texts and their tokens, of one model

}  // namespace hadal::limits
