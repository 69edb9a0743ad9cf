// What a gateway counts about the backends behind it.
//
// Threads: every member may be called from any thread at any time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "hadal/obs/registry.h"

namespace hadal {

class GatewayMetrics {
 public:
  explicit GatewayMetrics(std::shared_ptr<obs::Registry> registry);

  // A request's answer: whose it was ("none": nobody's), and its status.
  void answered(std::string_view model, std::string_view backend, int status);
  // One attempt at a backend: "good", "failed", "busy" or "cancelled".
  void attempted(std::string_view backend, std::string_view outcome);
  void retried(std::string_view backend);  // that was in vain
  void hedged();
  void hedge_won();
  void first_byte(std::string_view backend, double seconds);
  void broke_off(std::string_view backend);  // in the middle of an answer
  void checked(std::string_view backend, bool good);
  // Gauges.
  void load(std::string_view backend, int32_t in_flight, int64_t tokens);
  void up(std::string_view backend, bool can_be_asked);
  void waiting(size_t requests);
  void waited(double seconds);

 private:
  const std::shared_ptr<obs::Registry> registry_;
  obs::Family<obs::Counter>& answers_;
  obs::Family<obs::Counter>& attempts_;
  obs::Family<obs::Counter>& retries_;
  obs::Counter& hedges_;
  obs::Counter& hedges_won_;
  obs::Family<obs::Histogram>& first_byte_;
  obs::Family<obs::Counter>& broken_;
  obs::Family<obs::Counter>& checks_;
  obs::Family<obs::Gauge>& in_flight_;
  obs::Family<obs::Gauge>& tokens_;
  obs::Family<obs::Gauge>& up_;
  obs::Gauge& waiting_;
  obs::Histogram& waited_;
};

}  // namespace hadal
