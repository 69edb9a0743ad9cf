// Joins scheduler, arena and the prefix cache on disk: complete blocks go out as they are offered,
// prefixes come back while other sequences run.
//
// Reading, checking and copying into the arena happen on the disk cache's thread. It writes only
// into blocks that a restoring sequence holds: lost() and restore() stop it before such a block can
// become somebody else's.
//
// Threads: the engine's. `wake` is called on another.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "hadal/base/clock.h"
#include "hadal/base/log.h"
#include "hadal/base/result.h"
#include "hadal/engine/engine.h"
#include "hadal/kv/disk_cache.h"
#include "hadal/kv/tier.h"
#include "hadal/model/kv_arena.h"
#include "hadal/obs/kv_disk_metrics.h"
#include "hadal/sched/scheduler.h"

namespace hadal {

class KvDisk final : public kv::LowerTier {
 public:
  // `arena`, `metrics` and `clock` must outlive it. Errors as of kv::DiskCache::open.
  static Result<std::unique_ptr<KvDisk>> open(const KvDiskOptions& options, KvArena& arena,
                                              const EngineMetrics& metrics, const Clock& clock,
                                              LogSink log, std::function<void()> wake);

  int32_t find(std::string_view scope, std::span<const int32_t> tokens) override;
  int32_t save(std::string_view scope, std::span<const int32_t> tokens,
               std::span<const kv::BlockId> blocks, bool last) override;
  void lost(uint64_t ticket) override;

  // Tells the scheduler what came back, and starts the next reading. True: another step may find
  // more to do. Else `wake` will be called, if anything is still to come.
  bool restore(sched::Scheduler& scheduler);

 private:
  KvDisk(KvArena& arena, const EngineMetrics& metrics)
      : arena_(arena),
        block_tokens_(arena.layout().block_tokens),
        metrics_(metrics.model_name(), metrics.registry()) {}
  void start(const sched::Restoring& sequence);

  KvArena& arena_;
  const int32_t block_tokens_;
  KvDiskMetrics metrics_;
  std::unique_ptr<kv::DiskCache> cache_;
  uint64_t ticket_ = 0;  // of the sequence that is read for; 0: none
};

// The identity with the arena's layout: what must be equal for one's pages to be another's.
std::string kv_disk_space(std::string_view identity, const KvLayout& layout);

}  // namespace hadal
