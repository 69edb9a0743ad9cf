// What an engine's options come to on this machine. Pure arithmetic.
#pragma once

#include <cstdint>

#include "hadal/base/result.h"
#include "hadal/engine/engine.h"

namespace hadal {

struct EngineSize {
  int32_t context = 0;  // tokens of one sequence, prompt and answer
  int32_t sequences_max = 0;
  int32_t queue_max = 0;
  int32_t blocks = 0;           // of the cache; at least what one sequence of `context` needs
  int32_t step_rows_max = 0;    // >= sequences_max
  int32_t step_logits_max = 0;  // >= sequences_max
};

// `model_context`: positions the model was made for; `block_bytes`: of all layers; `free_bytes`:
// memory that could be taken now, 0 when unknown.
Result<EngineSize> size_engine(const EngineOptions& options, int32_t model_context,
                               uint64_t block_bytes, uint64_t free_bytes);

}  // namespace hadal
