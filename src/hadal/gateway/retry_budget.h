// How much more than it was asked a gateway may ask: retries and hedges together stay below a share
// of the requests, so that a failing fleet is not buried under second attempts.
//
// A bucket: each request puts in `share`, each retry takes out 1; it holds `burst` at most, and is
// full at the beginning. Pure. Not thread-safe.
#pragma once

#include <algorithm>

namespace hadal::gateway {

class RetryBudget {
 public:
  RetryBudget(double share, double burst) : share_(share), burst_(burst), held_(burst) {}
  void on_request() { held_ = std::min(burst_, held_ + share_); }
  bool take() {
    if (held_ < 1) return false;
    held_ -= 1;
    return true;
  }
  double held() const { return held_; }

 private:
  double share_;
  double burst_;
  double held_;
};

}  // namespace hadal::gateway
