#include "hadal/obs/http_metrics.h"

#include <string>
#include <utility>

namespace hadal {

HttpMetrics::HttpMetrics(std::shared_ptr<obs::Registry> registry)
    : registry_(std::move(registry)),
      answers_(registry_->counter("hadal_http_requests_total",
                                  "Requests answered, by route and status.", {"route", "status"})),
      gone_(registry_
                ->counter("hadal_http_clients_gone_total",
                          "Clients that closed their connection before the answer was complete.")
                .with()) {}

void HttpMetrics::answered(std::string_view route, int status) {
  answers_.with({std::string(route), std::to_string(status)}).increment();
}

void HttpMetrics::client_gone() { gone_.increment(); }

}  // namespace hadal
