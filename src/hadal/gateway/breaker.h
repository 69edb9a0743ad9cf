// Keeps requests from a backend that fails, and tries it again carefully.
//
//   closed     requests pass; after `failures` in a row it opens
//   open       none pass, for `open_for`, doubled each time it opens again, at most 16 times it
//   half-open  `probes` requests may pass at once; as many successes close it, one failure opens it
//
// A pure state machine on a time that is passed in. Not thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>

#include "hadal/base/clock.h"

namespace hadal::gateway {

struct BreakerRules {
  int32_t failures = 5;  // 0: never opens
  Nanos open_for = std::chrono::seconds(5);
  int32_t probes = 1;
  bool operator==(const BreakerRules&) const = default;
};

class Breaker {
 public:
  enum class State : uint8_t { kClosed, kOpen, kHalfOpen };

  // Whether a request may pass now. What passes must be followed by started(), then by exactly one
  // of succeeded(), failed() and dropped().
  bool admits(Nanos now, const BreakerRules& rules) const {
    switch (state(now)) {
      case State::kClosed:
        return true;
      case State::kOpen:
        return false;
      case State::kHalfOpen:
        return probing_ < rules.probes;
    }
    return false;
  }
  // Whether it was let through as a probe; hand it back when it ends.
  bool started(Nanos now) {
    if (state(now) != State::kHalfOpen) return false;
    ++probing_;
    return true;
  }
  void succeeded(Nanos now, bool probe, const BreakerRules& rules) {
    if (probe) --probing_;
    failures_ = 0;
    if (state(now) == State::kClosed) return;
    // One that began before it opened says nothing of how things are since.
    if (probe && ++successes_ >= rules.probes) {
      opened_ = false;
      times_ = 0;
    }
  }
  // True when it opens with this.
  bool failed(Nanos now, bool probe, const BreakerRules& rules) {
    if (probe) --probing_;
    const State was = state(now);
    if (was == State::kOpen) return false;
    ++failures_;
    if (was == State::kClosed && (rules.failures == 0 || failures_ < rules.failures)) return false;
    opened_ = true;
    successes_ = 0;
    until_ = now + rules.open_for * (1 << std::min(times_, 4));
    ++times_;
    return true;
  }
  void dropped(bool probe) {  // ended by the client: says nothing about the backend
    if (probe) --probing_;
  }
  State state(Nanos now) const {
    if (!opened_) return State::kClosed;
    return now < until_ ? State::kOpen : State::kHalfOpen;
  }
  Nanos opens_until() const { return until_; }

 private:
  bool opened_ = false;
  Nanos until_{0};
  int32_t failures_ = 0;   // in a row
  int32_t successes_ = 0;  // of probes
  int32_t probing_ = 0;
  int32_t times_ = 0;  // opened without having been closed
};

}  // namespace hadal::gateway
