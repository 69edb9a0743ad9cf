#include "hadal/kv/disk_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "hadal/base/check.h"

namespace hadal::kv {
namespace {

constexpr uint64_t kBuffersMin = 4;
constexpr uint64_t kBuffersMax = 4'096;
constexpr size_t kPrefetchAhead = 8;

struct PageIdHash {
  size_t operator()(const PageId& id) const { return id.epoch ^ (id.number * 0x9E3779B97F4A7C15u); }
};

Status check_options(const DiskCacheOptions& options) {
  const auto tokens = static_cast<uint64_t>(options.block_tokens);
  if (options.block_tokens < 1 || tokens > kDiskBlockTokensMax) {
    return fail(Code::kInvalidInput, fmt::format("blocks of {} tokens on disk, allowed is 1 to {}",
                                                 options.block_tokens, kDiskBlockTokensMax));
  }
  if (options.page_bytes < 1 || options.page_bytes > kPageBytesMax) {
    return fail(Code::kInvalidInput, fmt::format("blocks of {} bytes on disk, allowed is 1 to {}",
                                                 options.page_bytes, kPageBytesMax));
  }
  if (options.space.size() > kSpaceBytesMax) {
    return fail(Code::kInvalidInput,
                fmt::format("{} bytes to name model and layout on disk, allowed are {}",
                            options.space.size(), kSpaceBytesMax));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<DiskCache>> DiskCache::open(const DiskCacheOptions& options,
                                                   KvDiskMetrics& metrics, const Clock& clock,
                                                   LogSink log, std::function<void()> wake) {
  HADAL_TRY_VOID(check_options(options));
  std::unique_ptr<DiskCache> cache(
      new DiskCache(options, metrics, clock, std::move(log), std::move(wake)));
  DiskInventory inventory;
  HADAL_TRY(cache->segments_,
            DiskSegments::open(options.path, options.bytes_max,
                               {.space = options.space,
                                .block_tokens = static_cast<uint32_t>(options.block_tokens),
                                .page_bytes = options.page_bytes},
                               cache->log_, &inventory));
  cache->take_inventory(std::move(inventory));
  HADAL_TRY_VOID(cache->start());
  return cache;
}

DiskCache::DiskCache(const DiskCacheOptions& options, KvDiskMetrics& metrics, const Clock& clock,
                     LogSink log, std::function<void()> wake)
    : options_(options),
      metrics_(metrics),
      clock_(clock),
      log_(std::move(log)),
      wake_(std::move(wake)),
      index_(options.block_tokens, options.hash_mask) {
  const uint64_t buffers =
      std::clamp(options.staging_bytes / options.page_bytes, kBuffersMin, kBuffersMax);
  buffers_.resize(buffers, std::vector<std::byte>(options.page_bytes));
}

// Parents first. What stands on nothing, or twice for one text, is room.
void DiskCache::take_inventory(DiskInventory inventory) {
  free_ = std::move(inventory.free);
  std::ranges::sort(inventory.pages, {}, [](const FoundPage& page) { return page.header.born; });
  std::unordered_map<PageId, PageRef, PageIdHash> known;
  for (const auto& [header, slot] : inventory.pages) {
    born_ = std::max(born_, header.born);
    PageRef parent = kNoPage;
    if (header.parent != PageId{}) {
      const auto found = known.find(header.parent);
      if (found == known.end()) {
        free_.push_back(slot);
        continue;
      }
      parent = found->second;
    }
    if (known.contains(header.id) || index_.find(parent, header.scope, header.tokens) != kNoPage) {
      free_.push_back(slot);
      continue;
    }
    const PageRef page = index_.insert(parent, header.scope, header.tokens, header.id);
    index_.at(page).slot = slot;
    index_.at(page).page_hash = header.page_hash;
    index_.at(page).stored = true;
    known.emplace(header.id, page);
  }
  // Taken from the end: the first slots first, so that a file is filled in order.
  std::ranges::sort(free_, [](const DiskSlot& left, const DiskSlot& right) {
    return std::pair(left.segment, left.slot) > std::pair(right.segment, right.slot);
  });
  metrics_.damaged(inventory.damaged);
  publish();
  log_to(log_, LogLevel::kInfo,
         fmt::format("{}: {} cache pages of {} tokens found on disk, {} damaged; {} of at most {} "
                     "bytes",
                     options_.path, index_.pages(), options_.block_tokens, inventory.damaged,
                     segments_->bytes(), options_.bytes_max));
}

Status DiskCache::start() {
  try {
    writer_ = std::thread([this] { write_loop(); });
    reader_ = std::thread([this] { read_loop(); });
  } catch (const std::system_error& error) {
    return fail(Code::kExhausted, fmt::format("no thread for the disk cache: {}", error.what()));
  }
  return {};
}

DiskCache::~DiskCache() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  {
    const std::lock_guard lock(read_mutex_);
    read_stopping_ = true;
  }
  write_wake_.notify_all();
  read_wake_.notify_all();
  if (reader_.joinable()) reader_.join();
  if (writer_.joinable()) writer_.join();
}

std::span<const int32_t> DiskCache::whole_blocks(std::span<const int32_t> tokens) const {
  const auto block = static_cast<size_t>(options_.block_tokens);
  return tokens.first(tokens.size() / block * block);
}

int32_t DiskCache::find(std::string_view scope, std::span<const int32_t> tokens) {
  const std::lock_guard lock(mutex_);
  index_.find_path(scope, whole_blocks(tokens), &path_);
  const auto missing =
      std::ranges::find_if(path_, [this](PageRef page) { return !index_.at(page).stored; });
  return static_cast<int32_t>(missing - path_.begin());
}

int32_t DiskCache::save(std::string_view scope, std::span<const int32_t> tokens, const Fill& fill,
                        bool last) {
  tokens = whole_blocks(tokens);
  const auto block_tokens = static_cast<size_t>(options_.block_tokens);
  const auto blocks = static_cast<int32_t>(tokens.size() / block_tokens);
  if (blocks == 0 || scope.size() > kDiskScopeBytesMax) return blocks;
  std::vector<WriteJob> jobs;
  int32_t held = 0;
  {
    const std::lock_guard lock(mutex_);
    index_.find_path(scope, tokens, &path_);
    if (!path_.empty()) index_.use(path_.back());
    held = static_cast<int32_t>(path_.size());
    const bool paused = clock_.now() < paused_until_;
    for (PageRef parent = path_.empty() ? kNoPage : path_.back();
         held < blocks && !paused && !buffers_.empty(); ++held) {
      const PageId id{options_.epoch, ++numbers_};
      parent = index_.insert(parent, scope, tokens.subspan(held * block_tokens, block_tokens), id);
      ++index_.at(parent).pins;  // until it is written
      jobs.push_back({parent, id, std::move(buffers_.back())});
      buffers_.pop_back();
    }
    if (held < blocks && (paused || last)) {
      for (; held < blocks; ++held) metrics_.skipped();
    }
  }
  if (jobs.empty()) return held;
  const auto first = static_cast<int32_t>(path_.size());
  for (size_t i = 0; i < jobs.size(); ++i) fill(first + static_cast<int32_t>(i), jobs[i].bytes);
  {
    const std::lock_guard lock(mutex_);
    std::ranges::move(jobs, std::back_inserter(queue_));
  }
  write_wake_.notify_one();
  return held;
}

void DiskCache::flush() {
  Lock lock(mutex_);
  written_.wait(lock, [this] { return queue_.empty() && !writing_; });
}

std::string DiskCache::audit() const {
  const std::lock_guard lock(mutex_);
  return index_.audit();
}

void DiskCache::write_loop() {
  Lock lock(mutex_);
  while (true) {
    write_wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    WriteJob job = std::move(queue_.front());
    queue_.pop_front();
    writing_ = true;
    write_page(lock, job);
    writing_ = false;
    buffers_.push_back(std::move(job.bytes));
    publish();
    if (queue_.empty()) written_.notify_all();
  }
}

// `lock` is held before and after, not while the disk works.
void DiskCache::write_page(Lock& lock, WriteJob& job) {
  if (!index_.holds(job.page, job.id)) return;  // what it stands on was lost
  if (clock_.now() < paused_until_) {
    metrics_.skipped();
    return drop(job.page, job.id);
  }
  const std::optional<DiskSlot> slot = take_slot(lock);
  if (!index_.holds(job.page, job.id)) {
    if (slot) free_.push_back(*slot);
    return;
  }
  if (!slot) return drop(job.page, job.id);
  const PageRef parent = index_.at(job.page).parent;
  const auto tokens = index_.tokens(job.page);
  PageHeader header{.id = job.id,
                    .parent = parent == kNoPage ? PageId{} : index_.at(parent).id,
                    .born = ++born_,
                    .scope = index_.scope(job.page),
                    .tokens = {tokens.begin(), tokens.end()}};
  uint64_t page_hash = 0;
  lock.unlock();
  const Status written = segments_->write(*slot, std::move(header), job.bytes, &page_hash);
  lock.lock();
  if (!written) {
    // The slot is not used again before the next start: its place may be what is broken.
    write_failed(written.error());
    return drop(job.page, job.id);
  }
  metrics_.written_page(job.bytes.size());
  if (!index_.holds(job.page, job.id)) {
    free_.push_back(*slot);
    return;
  }
  DiskIndex::Page& page = index_.at(job.page);
  page.slot = *slot;
  page.page_hash = page_hash;
  page.stored = true;
  --page.pins;
}

std::optional<DiskSlot> DiskCache::take_slot(Lock& lock) {
  if (free_.empty()) {
    lock.unlock();
    Result<std::vector<DiskSlot>> grown = segments_->grow();
    lock.lock();
    if (!grown) {
      write_failed(grown.error());
    } else {
      free_.insert(free_.end(), grown->rbegin(), grown->rend());
    }
  }
  if (free_.empty()) {
    const PageRef oldest = index_.oldest();
    if (oldest == kNoPage) return std::nullopt;
    index_.erase(oldest, &free_);
    metrics_.evicted();
  }
  if (free_.empty()) return std::nullopt;
  const DiskSlot slot = free_.back();
  free_.pop_back();
  return slot;
}

void DiskCache::write_failed(const Error& error) {
  metrics_.write_error();
  const Nanos now = clock_.now();
  if (now >= paused_until_) {
    log_to(log_, LogLevel::kWarning,
           fmt::format("{}; no cache page is written to disk for {:.0f} s", error.what,
                       to_seconds(options_.error_pause)));
  }
  paused_until_ = now + options_.error_pause;
}

// With all that stand on it.
void DiskCache::drop(PageRef page, PageId id) {
  if (index_.holds(page, id)) index_.erase(page, &free_);
}

void DiskCache::publish() { metrics_.held(index_.pages(), segments_->bytes()); }

void DiskCache::start_read(std::string_view scope, std::span<const int32_t> tokens, int32_t from,
                           int32_t to, Place place) {
  stop_read();
  HADAL_CHECK(from >= 0 && from <= to);
  ReadJob job;
  job.serial = ++readings_;
  job.from = from;
  job.place = std::move(place);
  {
    const std::lock_guard lock(mutex_);
    const auto end = static_cast<size_t>(to) * static_cast<size_t>(options_.block_tokens);
    HADAL_CHECK(end <= tokens.size());
    index_.find_path(scope, tokens.first(end), &path_);
    for (size_t i = static_cast<size_t>(from); i < path_.size(); ++i) {
      DiskIndex::Page& page = index_.at(path_[i]);
      if (!page.stored) break;
      ++page.pins;
      job.items.push_back({path_[i], page.id, page.slot, page.page_hash});
    }
  }
  job.ended = job.items.empty();
  {
    const std::lock_guard lock(read_mutex_);
    job_ = std::move(job);
  }
  read_wake_.notify_one();
}

DiskCache::Progress DiskCache::progress() const {
  const std::lock_guard lock(read_mutex_);
  return {job_.from + static_cast<int32_t>(job_.next), job_.ended};
}

void DiskCache::skip_to(int32_t block) {
  const std::lock_guard lock(read_mutex_);
  const size_t next =
      std::min(static_cast<size_t>(std::max(0, block - job_.from)), job_.items.size());
  job_.next = std::max(job_.next, next);
  if (job_.next == job_.items.size()) job_.ended = true;
}

void DiskCache::stop_read() {
  ReadJob job;
  {
    const std::lock_guard lock(read_mutex_);
    job = std::exchange(job_, {});
  }
  if (job.items.empty()) return;
  const std::lock_guard lock(mutex_);
  for (const ReadItem& item : job.items) {
    if (index_.holds(item.page, item.id)) --index_.at(item.page).pins;
  }
}

void DiskCache::read_loop() {
  std::vector<std::byte> buffer(options_.page_bytes);
  Lock lock(read_mutex_);
  while (true) {
    read_wake_.wait(lock, [this] { return read_stopping_ || !job_.ended; });
    if (read_stopping_) return;
    const uint64_t serial = job_.serial;
    const size_t index = job_.next;
    const ReadItem item = job_.items[index];
    const size_t ahead_begin = index == 0 ? 1 : index + kPrefetchAhead;
    const size_t ahead_end = std::min(index + kPrefetchAhead + 1, job_.items.size());
    std::vector<DiskSlot> ahead;
    for (size_t i = ahead_begin; i < ahead_end; ++i) ahead.push_back(job_.items[i].slot);
    lock.unlock();
    for (const DiskSlot slot : ahead) segments_->prefetch(slot);
    const Status status = segments_->read(item.slot, item.id, item.page_hash, buffer);
    lock.lock();
    // Stopped or skipped meanwhile: the slot may have been given away, so an error means nothing.
    if (job_.serial != serial || job_.next != index) continue;
    if (status) {
      job_.place(job_.from + static_cast<int32_t>(index), buffer);
      metrics_.read_page(buffer.size());
      job_.ended = ++job_.next == job_.items.size();
    } else {
      lock.unlock();
      lose(item, status.error());  // before its end is seen: the page may be offered again then
      lock.lock();
      if (job_.serial == serial) job_.ended = true;
    }
    lock.unlock();
    wake_();
    lock.lock();
  }
}

void DiskCache::lose(const ReadItem& item, const Error& error) {
  if (error.code == Code::kCorrupt) {
    metrics_.damaged(1);
  } else {
    metrics_.read_error();
  }
  log_to(log_, LogLevel::kWarning, error.what + "; the page is dropped and computed anew");
  std::vector<DiskSlot> freed;
  {
    const std::lock_guard lock(mutex_);
    if (index_.holds(item.page, item.id)) index_.erase(item.page, &freed);
    publish();
  }
  if (freed.empty()) return;
  segments_->clear(item.slot);  // before somebody else can have the slot
  const std::lock_guard lock(mutex_);
  free_.insert(free_.end(), freed.begin(), freed.end());
}

}  // namespace hadal::kv
