// How many requests are under way, of those that are watched.
//
// Threads: any. Answers that are still under way may outlive the count.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "hadal/net/exchange.h"

namespace hadal::gateway {

class LiveCount {
 public:
  // From here to the end of the answer.
  void watch(net::ResponseWriter& writer) const;
  int64_t now() const { return *count_; }

 private:
  const std::shared_ptr<std::atomic<int64_t>> count_ = std::make_shared<std::atomic<int64_t>>(0);
};

}  // namespace hadal::gateway
