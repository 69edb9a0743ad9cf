#include "hadal/obs/hybrid_metrics.h"

#include <string>
#include <utility>

namespace hadal {

HybridMetrics::HybridMetrics(std::shared_ptr<obs::Registry> registry)
    : registry_(std::move(registry)),
      decisions_(registry_->counter(
          "hadal_route_decisions_total",
          "Requests by the route that counted, and where they went: local, trusted, cloud, refused",
          {"route", "to"})),
      labels_(registry_->counter("hadal_sensitive_requests_total",
                                 "Requests in which something was found, by its label", {"label"})),
      seconds_(registry_
                   ->histogram("hadal_screening_seconds", "Looking through one request",
                               {1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 1e-1})
                   .with()),
      masked_(registry_
                  ->counter("hadal_masked_fields_total",
                            "Pieces of text that placeholders stood for in requests sent on")
                  .with()),
      left_(registry_->gauge("hadal_backend_budget_left",
                             "What a backend may still cost this month, less what is held",
                             {"backend"})),
      spent_(registry_->gauge("hadal_backend_budget_spent", "What a backend has cost this month",
                              {"backend"})),
      over_(registry_->counter("hadal_backend_over_budget_total",
                               "Requests that a backend did not get because of its budget",
                               {"backend"})) {}

void HybridMetrics::decided(std::string_view route, std::string_view to) {
  decisions_.with({std::string(route), std::string(to)}).increment();
}
void HybridMetrics::found(std::string_view label) {
  labels_.with({std::string(label)}).increment();
}
void HybridMetrics::screened(double seconds) { seconds_.observe(seconds); }
void HybridMetrics::masked(size_t fields) { masked_.increment(static_cast<double>(fields)); }
void HybridMetrics::budget(std::string_view backend, double left, double spent) {
  left_.with({std::string(backend)}).set(left);
  spent_.with({std::string(backend)}).set(spent);
}
void HybridMetrics::over_budget(std::string_view backend) {
  over_.with({std::string(backend)}).increment();
}

}  // namespace hadal
