#include "hadal/gateway/audit_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace hadal::gateway {

using std::chrono::milliseconds;

namespace {
constexpr size_t kEntryBytes = 512;  // about, of one that holds nothing large
}

AuditLogOptions audit_log_options(const AuditConfig& audit) {
  AuditLogOptions options;
  options.files.folder = audit.path;
  options.files.anchor = audit.anchor;
  options.files.segment_bytes = audit.segment;
  options.files.segment_seconds = audit.segment_age.count() / 1'000;
  options.files.keep_seconds = audit.keep.count() / 1'000;
  options.files.keep_bytes = audit.keep_bytes;
  options.sync = audit.sync == "always"  ? AuditLogOptions::Sync::kAlways
                 : audit.sync == "never" ? AuditLogOptions::Sync::kNever
                                         : AuditLogOptions::Sync::kInterval;
  options.sync_every = audit.sync_every;
  options.queue = static_cast<size_t>(audit.queue);
  return options;
}

Result<std::unique_ptr<AuditLog>> AuditLog::open(AuditLogOptions options, const Clock& clock,
                                                 obs::Registry& registry, LogSink log) {
  HADAL_TRY(auto files, AuditFiles::open(options.files, clock.unix_seconds()));
  if (!files->recovered().empty()) {
    log_to(log, LogLevel::kWarning, "audit log: " + files->recovered());
  }
  HADAL_TRY_VOID(files->write_anchor(clock.unix_seconds()));
  std::unique_ptr<AuditLog> made(new AuditLog(std::move(options), clock, registry, std::move(log)));
  made->files_ = std::move(files);
  made->head_ = made->files_->head();
  made->seq_gauge_.set(static_cast<double>(made->head_.seq));
  made->thread_ = std::thread([self = made.get()] { self->write_all(); });
  return made;
}

AuditLog::AuditLog(AuditLogOptions options, const Clock& clock, obs::Registry& registry,
                   LogSink log)
    : options_(std::move(options)),
      clock_(clock),
      log_(std::move(log)),
      synced_(clock.now()),
      anchored_(clock.now()),
      written_(registry.counter("hadal_audit_records_total", "Audit records written.", {"kind"})),
      lost_total_(
          registry.counter("hadal_audit_lost_total", "Audit records that could not be written.")
              .with()),
      up_gauge_(registry.gauge("hadal_audit_up", "1: audit records are being written.").with()),
      queue_gauge_(registry.gauge("hadal_audit_queue", "Audit records that wait.").with()),
      seq_gauge_(
          registry.gauge("hadal_audit_sequence", "Number of the last audit record.").with()) {
  up_gauge_.set(1);
  queue_gauge_.set(0);
}

AuditLog::~AuditLog() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    given_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

bool AuditLog::up() const {
  std::lock_guard lock(mutex_);
  return up_;
}

AuditHead AuditLog::head() const {
  std::lock_guard lock(mutex_);
  return head_;
}

void AuditLog::lose(uint64_t count) {
  lost_ += count;
  lost_total_.increment(static_cast<double>(count));
}

bool AuditLog::note(std::string_view kind, std::function<std::string()> fields, size_t bytes) {
  std::lock_guard lock(mutex_);
  bytes += kEntryBytes;
  if (!has_room(queue_.size(), queue_bytes_ + bytes, false)) {
    lose(1);
    return false;
  }
  queue_bytes_ += bytes;
  queue_.push_back({std::string(kind), {}, std::move(fields), bytes});
  given_.notify_one();
  return true;
}

bool AuditLog::record(std::string_view kind, std::string_view fields) {
  std::unique_lock lock(mutex_);
  const size_t bytes = kEntryBytes + fields.size();
  if (!up_ || !has_room(queue_.size(), queue_bytes_ + bytes, true)) {
    lose(1);
    return false;
  }
  const auto waiter = std::make_shared<Waiter>();
  queue_bytes_ += bytes;
  queue_.push_back({std::string(kind), std::string(fields), nullptr, bytes, waiter});
  given_.notify_one();
  // When that takes too long it may be written yet; what it announces will not happen then.
  done_.wait_for(lock, options_.wait, [&] { return waiter->decided; });
  return waiter->written;
}

Status AuditLog::write_batch(std::vector<Entry>& batch, uint64_t lost) {
  const int64_t now = clock_.unix_seconds();
  std::vector<std::string> fields;
  fields.reserve(batch.size() + 1);
  if (lost > 0) fields.push_back(fmt::format(R"("kind":"gap","lost":{})", lost));
  for (Entry& entry : batch) {
    if (entry.make_fields) entry.fields = std::exchange(entry.make_fields, nullptr)();
    fields.push_back(fmt::format(R"("kind":"{}"{}{})", entry.kind, entry.fields.empty() ? "" : ",",
                                 entry.fields));
  }
  HADAL_TRY_VOID(files_->append(fields, now));
  if (fields.empty()) return {};
  dirty_ = anchor_stale_ = true;
  if (options_.sync == AuditLogOptions::Sync::kAlways) {
    dirty_ = false;
    return files_->sync();
  }
  return {};
}

// By time, or all of it at the end.
void AuditLog::do_sync(bool final) {
  const Nanos now = clock_.now();
  Status status;
  if (anchor_stale_ && (final || now - anchored_ >= options_.anchor_every)) {
    anchored_ = synced_ = now;
    dirty_ = anchor_stale_ = false;
    status = files_->write_anchor(clock_.unix_seconds());
  } else if (dirty_ && options_.sync == AuditLogOptions::Sync::kInterval &&
             now - synced_ >= options_.sync_every) {
    synced_ = now;
    dirty_ = false;
    status = files_->sync();
  }
  if (!status) log_to(log_, LogLevel::kError, status.error().what);
}

void AuditLog::after(const Status& status, std::vector<Entry> batch, uint64_t lost) {
  std::lock_guard lock(mutex_);
  const bool was_up = std::exchange(up_, status.has_value());
  up_gauge_.set(up_ ? 1 : 0);
  if (was_up != up_) {
    log_to(log_, up_ ? LogLevel::kWarning : LogLevel::kError,
           up_ ? fmt::format("audit log: written again; {} records were lost", lost)
               : status.error().what);
  }
  for (const Entry& entry : batch) {
    if (entry.waiter != nullptr) *entry.waiter = {true, up_};
  }
  if (up_) {
    lost_ -= lost;
    head_ = files_->head();
    seq_gauge_.set(static_cast<double>(head_.seq));
    for (const Entry& entry : batch) written_.with({entry.kind}).increment();
  } else {
    // Who waits is told; what nobody waits for stays, as far as there is room.
    std::vector<Entry> kept;
    for (Entry& entry : batch) {
      const size_t bytes = queue_bytes_ + entry.bytes;
      if (entry.waiter != nullptr) {
        lose(1);
      } else if (has_room(kept.size() + queue_.size(), bytes, false)) {
        queue_bytes_ = bytes;
        kept.push_back(std::move(entry));
      } else {
        lose(1);
      }
    }
    std::move(queue_.begin(), queue_.end(), std::back_inserter(kept));
    queue_ = std::move(kept);
  }
  queue_gauge_.set(static_cast<double>(queue_.size()));
  done_.notify_all();
}

void AuditLog::write_all() {
  std::unique_lock lock(mutex_);
  for (;;) {
    const milliseconds pause =
        up_ ? std::min(options_.sync_every, options_.anchor_every) : options_.retry_every;
    given_.wait_for(lock, pause, [&] { return stopping_ || (up_ && !queue_.empty()); });
    const bool final = stopping_;
    std::vector<Entry> batch = std::exchange(queue_, {});
    queue_bytes_ = 0;
    const uint64_t lost = lost_;
    const bool was_up = up_;
    lock.unlock();
    // While it is down, an empty batch would say nothing about the disk.
    if (!was_up && batch.empty() && lost == 0) batch.push_back({"alive"});
    if (!batch.empty() || lost > 0) {
      const Status status = write_batch(batch, lost);
      after(status, std::move(batch), lost);
    }
    do_sync(final);
    lock.lock();
    if (final && (queue_.empty() || !up_)) return;
  }
}

}  // namespace hadal::gateway
