#include "hadal/engine/kv_disk.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "hadal/base/hash.h"

namespace hadal {

std::string kv_disk_space(std::string_view identity, const KvLayout& layout) {
  Hasher streams;
  for (const KvStream& stream : layout.streams) {
    streams.update(fmt::format("{}:{}:{},", stream.layer, stream.width, layout.row_bytes(stream)));
  }
  return fmt::format("{}; cache format {}, {}, {} tokens, {} streams {}, {} bytes", identity,
                     kKvFormat, kv_type_name(layout.dtype), layout.block_tokens,
                     layout.streams.size(), streams.finish().hex(), layout.block_bytes());
}

Result<std::unique_ptr<KvDisk>> KvDisk::open(const KvDiskOptions& options, KvArena& arena,
                                             const EngineMetrics& metrics, const Clock& clock,
                                             LogSink log, std::function<void()> wake) {
  std::unique_ptr<KvDisk> disk(new KvDisk(arena, metrics));
  const KvLayout& layout = arena.layout();
  HADAL_TRY(disk->cache_,
            kv::DiskCache::open({.path = options.path,
                                 .bytes_max = options.bytes_max,
                                 .space = kv_disk_space(options.identity, layout),
                                 .block_tokens = layout.block_tokens,
                                 .page_bytes = layout.block_bytes(),
                                 .epoch = options.epoch},
                                disk->metrics_, clock, std::move(log), std::move(wake)));
  return disk;
}

int32_t KvDisk::find(std::string_view scope, std::span<const int32_t> tokens) {
  return cache_->find(scope, tokens) * block_tokens_;
}

int32_t KvDisk::save(std::string_view scope, std::span<const int32_t> tokens,
                     std::span<const kv::BlockId> blocks, bool last) {
  const auto fill = [&](int32_t block, std::span<std::byte> page) {
    arena_.copy_out(blocks[static_cast<size_t>(block)], page);
  };
  return cache_->save(scope, tokens, fill, last) * block_tokens_;
}

void KvDisk::lost(uint64_t ticket) {
  if (ticket != ticket_) return;
  cache_->stop_read();
  ticket_ = 0;
}

void KvDisk::start(const sched::Restoring& sequence) {
  ticket_ = sequence.ticket;
  std::vector<kv::BlockId> blocks(sequence.blocks.begin(), sequence.blocks.end());
  const auto place = [this, blocks = std::move(blocks)](int32_t block,
                                                        std::span<const std::byte> page) {
    arena_.copy_in(blocks[static_cast<size_t>(block)], page);
  };
  cache_->start_read(sequence.scope, sequence.tokens, sequence.have / block_tokens_,
                     sequence.until / block_tokens_, place);
}

bool KvDisk::restore(sched::Scheduler& scheduler) {
  bool moved = false;
  while (const auto sequence = scheduler.restoring(ticket_)) {
    if (sequence->ticket != ticket_) start(*sequence);
    cache_->skip_to(sequence->have / block_tokens_);
    const kv::DiskCache::Progress progress = cache_->progress();
    const int32_t positions = progress.blocks * block_tokens_;
    if (positions > sequence->have) {
      scheduler.restored(ticket_, positions);
    } else if (progress.ended) {
      scheduler.end_restoring(ticket_);
    } else {
      return moved;
    }
    moved = true;
  }
  if (std::exchange(ticket_, 0) != 0) cache_->stop_read();
  return moved;
}

}  // namespace hadal
