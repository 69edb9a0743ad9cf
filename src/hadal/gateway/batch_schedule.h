// Which lines of which batches run now: a pure state machine with invented time.
//
// A line is waiting, running, done, or waiting for its next attempt. It starts when the hours and
// the load of the moment allow it, at most `at_once` at a time, owners in turn, of an owner the
// oldest batch first. Live requests go first: above `load` nothing starts, and when they stay above
// it for `preempt_after`, what runs is to be stopped and waits again. Stopped lines, and those of a
// process that ended, have no result and run again; who keeps the results keeps each line's first.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "hadal/base/clock.h"

namespace hadal::gateway {

struct LineId {
  std::string batch;
  int64_t line = 0;  // from 0
  auto operator<=>(const LineId&) const = default;
};

struct BatchRules {
  int32_t at_once = 4;
  int32_t load = 4;
  Nanos preempt_after = std::chrono::seconds(10);
  bool idle_outside_hours = false;
};

// What is so at this moment.
struct BatchMoment {
  Nanos now{0};
  int64_t unix_seconds = 0;
  bool in_hours = true;
  int32_t live = 0;  // requests under way that are no batch's
};

enum class BatchEnd : uint8_t { kComplete, kExpired, kCancelled };

class BatchSchedule {
 public:
  // `done`: of each line, whether its result is there. Known batches are left as they are.
  void add(const std::string& batch, const std::string& owner, int64_t expires,
           std::vector<bool> done);
  bool knows(const std::string& batch) const { return batches_.count(batch) > 0; }
  void cancel(const std::string& batch);

  struct Step {
    std::vector<LineId> stop;   // each is to be given to stopped() when it has
    std::vector<LineId> start;  // ... finished(), again_at() or stopped()
    std::vector<std::pair<std::string, BatchEnd>> ended;  // nothing of these runs; see forget()
  };
  Step step(const BatchRules& rules, const BatchMoment& moment);

  // Of a running line. Its result is kept now.
  void finished(const LineId& line);
  // No result: not before `at`.
  void again_at(const LineId& line, Nanos at);
  // No result: whenever lines start again.
  void stopped(const LineId& line) { again_at(line, Nanos(0)); }
  // How often again_at() was called for it with a time.
  int32_t attempts(const LineId& line) const;

  // An ended batch is said to be so until then.
  void forget(const std::string& batch) { batches_.erase(batch); }
  size_t running() const { return running_; }

 private:
  struct Batch {
    std::string owner;
    int64_t expires = 0;
    uint64_t arrival = 0;
    bool cancelled = false;
    std::vector<bool> done;
    int64_t left = 0;                           // not done
    int64_t fresh = 0;                          // from here on no line has been started yet
    std::set<std::pair<Nanos, int64_t>> again;  // by time, then line
    std::set<int64_t> running;
    std::set<int64_t> stopping;  // of running: said to be stopped
    std::map<int64_t, int32_t> attempts;

    bool can_start(Nanos now);
    int64_t take(Nanos now);
  };
  std::optional<BatchEnd> end_of(const Batch& batch, int64_t unix_seconds) const;
  void stop_all(const std::string& id, Batch& batch, Step* out);
  int32_t places(const BatchRules& rules, const BatchMoment& moment) const;
  void start(const BatchRules& rules, const BatchMoment& moment, Step* out);

  std::map<std::string, Batch> batches_;
  std::map<std::string, uint64_t> turns_;  // of owners with batches: when each had its last
  uint64_t arrivals_ = 0;
  uint64_t turn_ = 0;
  size_t running_ = 0;
  std::optional<Nanos> over_since_;  // more live requests than the mark
};

}  // namespace hadal::gateway
