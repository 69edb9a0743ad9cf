// For simulations: invented time, and what happens in it. What is due at the same moment happens in
// the order in which it was asked for.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <utility>

#include "hadal/base/clock.h"

namespace hadal::testing {

class EventQueue {
 public:
  Nanos now() const { return now_; }
  bool empty() const { return events_.empty(); }
  // When the next one is due. Not empty.
  Nanos next() const { return events_.top().time; }
  void at(Nanos after, std::function<void()> run) {
    events_.push({now_ + after, order_++, std::move(run)});
  }
  // The next one happens now. Not empty.
  void run_next() {
    const Event event = events_.top();
    events_.pop();
    now_ = event.time;
    event.run();
  }

 private:
  struct Event {
    Nanos time;
    uint64_t order;
    std::function<void()> run;
    bool operator<(const Event& other) const {
      return time != other.time ? time > other.time : order > other.order;
    }
  };
  std::priority_queue<Event> events_;
  Nanos now_{0};
  uint64_t order_ = 0;
};

}  // namespace hadal::testing
