// A slower store below the pool, as the scheduler sees it: what it can bring back into memory, and
// what is offered to it. Positions are multiples of the pool's block_tokens.
//
// Threads: one thread at a time, the scheduler's.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "hadal/kv/pool.h"

namespace hadal::kv {

class LowerTier {
 public:
  virtual ~LowerTier() = default;

  // Leading positions of `tokens` that it can bring back.
  virtual int32_t find(std::string_view scope, std::span<const int32_t> tokens) = 0;
  // blocks[0, tokens.size() / block_tokens) are computed, stand for `tokens`, and are not written
  // any more. It may copy them before it returns. Returns the leading positions that need not be
  // offered again; the rest may be, unless `last`.
  virtual int32_t save(std::string_view scope, std::span<const int32_t> tokens,
                       std::span<const BlockId> blocks, bool last) = 0;
  // The restoring sequence of `ticket` (sched/scheduler.h) gives its blocks back: nothing is written
  // to them after the return.
  virtual void lost(uint64_t ticket) = 0;
};

}  // namespace hadal::kv
