// What the HTTP side counts, and the text that Prometheus scrapes.
//
// Threads: every member may be called from any thread at any time.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace prometheus {
class Registry;
}

namespace hadal {

class HttpMetrics {
 public:
  explicit HttpMetrics(std::shared_ptr<prometheus::Registry> registry);
  ~HttpMetrics();
  HttpMetrics(const HttpMetrics&) = delete;
  HttpMetrics& operator=(const HttpMetrics&) = delete;

  // `route`: one of a fixed set, never a path that a client made up.
  void answered(std::string_view route, int status);
  void client_gone();  // before its answer was complete

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

std::shared_ptr<prometheus::Registry> make_registry();
// Everything in the registry, in the text exposition format 0.0.4.
std::string exposition(const prometheus::Registry& registry);
inline constexpr std::string_view kExpositionType = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace hadal
