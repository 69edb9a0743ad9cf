// Runs batches: takes what the store holds, asks what the schedule says, keeps what comes back.
//
// A line is one call of `LineCaller`, which sends it the way of a live request. Answers that say
// "not now" (429, 503 and their like) are asked for again, later each time; faults of a server a
// few times; everything else is the line's result. The store is always ahead: what is not kept
// there has not happened, so whoever makes a runner on the same store goes on where the last ended.
//
// Threads: wake() from any; the rest from one at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/base/log.h"
#include "hadal/base/rng.h"
#include "hadal/gateway/batch_config.h"
#include "hadal/gateway/batch_schedule.h"
#include "hadal/gateway/batch_store.h"

namespace hadal::gateway {

struct CallAnswer {
  bool whole = false;  // false: it broke off
  api::LineAnswer answer;
  int64_t retry_after = 0;  // seconds; 0: not said
};

class LineCaller {
 public:
  // Its end breaks the request off, if it still runs: `done` is not called after that.
  class Call {
   public:
    virtual ~Call() = default;
  };
  virtual ~LineCaller() = default;
  // `done` once, from any thread, also from within.
  virtual std::unique_ptr<Call> start(const BatchRecord& batch, std::string body,
                                      std::function<void(CallAnswer)> done) = 0;
};

struct BatchOptions {
  BatchRules rules;
  BatchHours hours;
  api::BatchInputLimits input;
  int64_t keep_seconds = 30LL * 24 * 3600;  // of batches that have ended
};
// Of a section that was checked.
BatchOptions batch_options(const BatchConfig& config);

struct BatchCounts {
  int64_t batches = 0;  // not ended
  int64_t running = 0;  // lines
  int64_t finished = 0;
  int64_t failed = 0;
  int64_t again = 0;      // lines asked again after "not now"
  int64_t preempted = 0;  // lines broken off for live requests, a cancel or an expiry
};

class BatchRunner {
 public:
  // All must outlive this. `nudge`: called from any thread when turn() has something to do.
  BatchRunner(BatchStore& store, LineCaller& caller, const Clock& clock, LogSink log,
              std::function<void()> nudge, uint64_t seed);
  ~BatchRunner();  // stop()

  // There may be a new batch, or a cancelled one.
  void wake();
  // One round: never waits but for the disk.
  void turn(const BatchOptions& options, int32_t live);
  // Breaks off what runs. No turn() after that.
  void stop();
  const BatchCounts& counts() const { return counts_; }

 private:
  struct Active {
    LineId line;
    std::string custom_id;
    std::unique_ptr<LineCaller::Call> call;
  };
  // Answers on their way to the next turn; shared with calls that may outlive this.
  struct Inbox {
    std::mutex mutex;
    std::vector<std::pair<uint64_t, CallAnswer>> answers;
    std::function<void()> nudge;
  };

  Status look(const BatchOptions& options);
  Status look_at(const BatchRecord& batch, const BatchOptions& options);
  Status begin(const BatchRecord& batch, const BatchOptions& options);
  void take_answers();
  Status take_answer(const Active& active, const CallAnswer& answer);
  Status keep(const Active& active, bool good, const std::string& result);
  Result<std::string> read_body(const BatchRecord& batch, const BatchStore::LineRow& row) const;
  Status start(const LineId& line);
  void stop(const LineId& line);
  Status end(const std::string& batch, BatchEnd how);
  Nanos pause(const LineId& line, int64_t retry_after);
  void report(const Status& status);

  BatchStore& store_;
  LineCaller& caller_;
  const Clock& clock_;
  const LogSink log_;
  Rng rng_;
  const std::shared_ptr<Inbox> inbox_;
  std::atomic<bool> woken_{true};
  BatchSchedule schedule_;
  std::map<std::string, BatchRecord> batches_;
  std::map<uint64_t, Active> active_;
  std::map<LineId, int32_t> faults_;  // of servers, so far
  uint64_t calls_ = 0;
  Nanos next_sweep_{0};
  Nanos trouble_until_{0};  // the disk refused: nothing is tried before
  BatchCounts counts_;
};

}  // namespace hadal::gateway
