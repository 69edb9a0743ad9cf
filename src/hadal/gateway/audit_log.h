// Writes the audit log on a thread of its own, so that no thread that moves bytes waits for a disk.
//
// What must be written before something happens is given to record(), which waits for its batch;
// what only must not be forgotten is given to note(), which does not. When the disk is gone or does
// not keep up, record() says false, and the caller does what is configured; a log that comes back
// gets a "gap" record with the number of records that were lost.
//
// Bounds: `queue` records wait at most, note()'s twice as many, and `queue_bytes` of them.
//
// Threads: any.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/base/log.h"
#include "hadal/base/result.h"
#include "hadal/gateway/audit_config.h"
#include "hadal/gateway/audit_files.h"
#include "hadal/obs/registry.h"

namespace hadal::gateway {

struct AuditLogOptions {
  AuditFileOptions files;
  enum class Sync : uint8_t { kAlways, kInterval, kNever };
  Sync sync = Sync::kInterval;
  std::chrono::milliseconds sync_every{1'000};
  std::chrono::milliseconds anchor_every{10'000};
  size_t queue = 8'192;
  size_t queue_bytes = 64u << 20;
  std::chrono::milliseconds wait{5'000};         // of record(), at most
  std::chrono::milliseconds retry_every{1'000};  // while the disk is gone
};

AuditLogOptions audit_log_options(const AuditConfig& audit);

class AuditLog {
 public:
  // `clock` must outlive this.
  static Result<std::unique_ptr<AuditLog>> open(AuditLogOptions options, const Clock& clock,
                                                obs::Registry& registry, LogSink log);
  // What is queued is written before.
  ~AuditLog();

  // Whether it is written now, and synced where that is configured. `fields`: see audit_line().
  bool record(std::string_view kind, std::string_view fields);
  // False: there was no room, it is lost. `fields` is called once, on the log's thread; `bytes`:
  // how much memory it holds until then.
  bool note(std::string_view kind, std::function<std::string()> fields, size_t bytes = 0);
  // Whether the last try to write went well.
  bool up() const;
  AuditHead head() const;

 private:
  struct Waiter {
    bool decided = false, written = false;
  };
  struct Entry {
    std::string kind;
    std::string fields = {};
    std::function<std::string()> make_fields = nullptr;
    size_t bytes = 0;
    std::shared_ptr<Waiter> waiter =
        nullptr;  // of record(), which may have given up; null: note()'s
  };
  AuditLog(AuditLogOptions options, const Clock& clock, obs::Registry& registry, LogSink log);
  void write_all();
  Status write_batch(std::vector<Entry>& batch, uint64_t lost);
  void after(const Status& status, std::vector<Entry> batch, uint64_t lost);
  void do_sync(bool final);
  void lose(uint64_t count);
  bool has_room(size_t entries, size_t bytes, bool waits) const {
    return entries < (waits ? options_.queue : 2 * options_.queue) && bytes <= options_.queue_bytes;
  }

  const AuditLogOptions options_;
  const Clock& clock_;
  const LogSink log_;
  std::unique_ptr<AuditFiles> files_;  // of the thread
  Nanos synced_{0}, anchored_{0};
  bool dirty_ = false, anchor_stale_ = false;

  obs::Family<obs::Counter>& written_;
  obs::Counter& lost_total_;
  obs::Gauge& up_gauge_;
  obs::Gauge& queue_gauge_;
  obs::Gauge& seq_gauge_;

  mutable std::mutex mutex_;
  std::condition_variable given_, done_;
  std::vector<Entry> queue_;
  size_t queue_bytes_ = 0;
  uint64_t lost_ = 0;  // since the last "gap"
  bool up_ = true;
  bool stopping_ = false;
  AuditHead head_;
  std::thread thread_;
};

}  // namespace hadal::gateway
