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
  void retried(std::string_view backend);  // that was in vain
  void hedged();
  void hedge_won();
  void broke_off(std::string_view backend);  // in the middle of an answer
  void checked(std::string_view backend, bool good);
  // One backend's series, looked up once; valid as long as this.
  struct Backend {
    // Attempts that ended so.
    obs::Counter *good, *failed, *busy, *cancelled;
    obs::Histogram* first_byte;  // seconds
    obs::Gauge *in_flight, *tokens;
    obs::Gauge* up;  // 1: may be asked
  };
  Backend backend(const std::string& name);
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
