// The prefix cache on disk: complete cache blocks, written behind the engine's back and read back
// when a prompt begins with tokens that memory has no longer, or not yet. A page is the bytes of
// one block, opaque here.
//
// Promises:
// - A page is found exactly when space, scope and every token up to its end are equal: all of them
//   are compared, hashes only find.
// - What is read is what was written, or it is an error: damaged pages are dropped, with all that
//   stand on them.
// - Killed at any moment, the folder holds whole pages and rubbish that is told from them.
// - Files never exceed the bound; the least recently used pages go first. After a start, a page
//   counts as used when it, or one that stands on it, was written.
// - A disk that is full, slow or broken costs cached pages, never an answer: writing pauses, and
//   pages that find no room are skipped.
//
// Threads: one thread calls; a writer and a reader of its own do the files. `place` and `wake` are
// called on the reader's.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/base/log.h"
#include "hadal/base/result.h"
#include "hadal/kv/disk_index.h"
#include "hadal/kv/disk_segments.h"
#include "hadal/obs/kv_disk_metrics.h"

namespace hadal::kv {

struct DiskCacheOptions {
  std::string path;        // the folder; made when absent
  uint64_t bytes_max = 0;  // of all files in it
  std::string space;       // what else must be equal: model, numerics, layout of a page
  int32_t block_tokens = 32;
  uint64_t page_bytes = 0;
  uint64_t epoch = 0;                    // drawn at random at every start: page ids begin with it
  uint64_t staging_bytes = 64ull << 20;  // of pages on their way to the disk; at least four pages
  Nanos error_pause = std::chrono::seconds(10);
  uint64_t hash_mask = ~uint64_t{0};  // tests take bits away, so that unequal keys collide
};

class DiskCache {
 public:
  // `block` counts from the prompt's beginning.
  using Fill = std::function<void(int32_t block, std::span<std::byte> page)>;
  using Place = std::function<void(int32_t block, std::span<const std::byte> page)>;

  // Errors as of DiskSegments::open, and kInvalidInput: a block or space larger than the format
  // allows. `wake` is called after each block that was read and at the end of a reading.
  static Result<std::unique_ptr<DiskCache>> open(const DiskCacheOptions& options,
                                                 KvDiskMetrics& metrics, const Clock& clock,
                                                 LogSink log, std::function<void()> wake);
  ~DiskCache();  // writes what waits
  DiskCache(const DiskCache&) = delete;
  DiskCache& operator=(const DiskCache&) = delete;

  // Leading whole blocks of `tokens` that are in the files.
  int32_t find(std::string_view scope, std::span<const int32_t> tokens);
  // Queues the leading whole blocks of `tokens` that the disk lacks, and counts all of them as
  // used. `fill` is called for some before the return. Returns how many need not be offered again;
  // `last`: there will be no other offer.
  int32_t save(std::string_view scope, std::span<const int32_t> tokens, const Fill& fill,
               bool last = false);

  // Reads blocks [from, to) of `tokens` one after another, in the background; one reading at a
  // time. `place` gets each, never after stop_read() or for a block below skip_to().
  void start_read(std::string_view scope, std::span<const int32_t> tokens, int32_t from, int32_t to,
                  Place place);
  struct Progress {
    int32_t blocks = 0;  // [from, blocks) were placed or skipped
    bool ended = false;  // no more will come: all done, or the next one is lost
  };
  Progress progress() const;
  void skip_to(int32_t block);
  void stop_read();

  // Waits until all that was saved is in the files or given up. For tests.
  void flush();
  std::string audit() const;  // as DiskIndex::audit

 private:
  struct WriteJob {
    PageRef page = kNoPage;
    PageId id;
    std::vector<std::byte> bytes;
  };
  struct ReadItem {
    PageRef page = kNoPage;
    PageId id;
    DiskSlot slot;
    uint64_t page_hash = 0;
  };
  struct ReadJob {
    uint64_t serial = 0;  // 0: none
    int32_t from = 0;
    size_t next = 0;
    bool ended = true;
    std::vector<ReadItem> items;  // of blocks from, from + 1, ...
    Place place;
  };
  using Lock = std::unique_lock<std::mutex>;

  DiskCache(const DiskCacheOptions& options, KvDiskMetrics& metrics, const Clock& clock,
            LogSink log, std::function<void()> wake);
  void take_inventory(DiskInventory inventory);
  Status start();
  std::span<const int32_t> whole_blocks(std::span<const int32_t> tokens) const;

  void write_loop();
  void write_page(Lock& lock, WriteJob& job);
  std::optional<DiskSlot> take_slot(Lock& lock);
  void write_failed(const Error& error);
  void drop(PageRef page, PageId id);
  void read_loop();
  void lose(const ReadItem& item, const Error& error);
  void publish();

  const DiskCacheOptions options_;
  KvDiskMetrics& metrics_;
  const Clock& clock_;
  const LogSink log_;
  const std::function<void()> wake_;
  std::unique_ptr<DiskSegments> segments_;

  // The index and what waits for the disk. Never taken while read_mutex_ is held, nor the reverse.
  mutable std::mutex mutex_;
  std::condition_variable write_wake_, written_;
  DiskIndex index_;
  std::vector<DiskSlot> free_;
  std::deque<WriteJob> queue_;
  std::vector<std::vector<std::byte>> buffers_;  // not in use
  bool writing_ = false;
  bool stopping_ = false;
  uint64_t numbers_ = 0;  // page ids given out
  uint64_t born_ = 0;
  Nanos paused_until_{0};
  std::vector<PageRef> path_;  // scratch

  mutable std::mutex read_mutex_;
  std::condition_variable read_wake_;
  ReadJob job_;
  uint64_t readings_ = 0;
  bool read_stopping_ = false;

  std::thread writer_, reader_;
};

}  // namespace hadal::kv
