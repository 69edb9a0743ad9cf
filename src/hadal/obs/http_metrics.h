// What the HTTP side counts.
//
// Threads: every member may be called from any thread at any time.
#pragma once

#include <memory>
#include <string_view>

#include "hadal/obs/registry.h"

namespace hadal {

class HttpMetrics {
 public:
  explicit HttpMetrics(std::shared_ptr<obs::Registry> registry);
  HttpMetrics(const HttpMetrics&) = delete;
  HttpMetrics& operator=(const HttpMetrics&) = delete;

  // `route`: one of a fixed set, never a path that a client made up.
  void answered(std::string_view route, int status);
  void client_gone();  // before its answer was complete

 private:
  const std::shared_ptr<obs::Registry> registry_;
  obs::Family<obs::Counter>& answers_;
  obs::Counter& gone_;
};

}  // namespace hadal
