// What is counted of requests that may go to somebody else's machines.
//
// Threads: every member may be called from any thread at any time.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "hadal/obs/registry.h"

namespace hadal {

class HybridMetrics {
 public:
  explicit HybridMetrics(std::shared_ptr<obs::Registry> registry);

  // `to`: "local", "trusted", "cloud" or "refused".
  void decided(std::string_view route, std::string_view to);
  void found(std::string_view label);  // in a request
  void screened(double seconds);
  void masked(size_t fields);
  void budget(std::string_view backend, double left, double spent);
  void over_budget(std::string_view backend);  // a request that it did not get

 private:
  const std::shared_ptr<obs::Registry> registry_;
  obs::Family<obs::Counter>& decisions_;
  obs::Family<obs::Counter>& labels_;
  obs::Histogram& seconds_;
  obs::Counter& masked_;
  obs::Family<obs::Gauge>& left_;
  obs::Family<obs::Gauge>& spent_;
  obs::Family<obs::Counter>& over_;
};

}  // namespace hadal
