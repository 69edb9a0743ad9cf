#include "hadal/obs/gateway_metrics.h"

#include <utility>

namespace hadal {
namespace {

const obs::Buckets kSeconds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                               0.5,   1,      2.5,   5,    10,    30,   60,  120};

}  // namespace

GatewayMetrics::GatewayMetrics(std::shared_ptr<obs::Registry> registry)
    : registry_(std::move(registry)),
      answers_(registry_->counter("hadal_gateway_requests_total",
                                  "Requests passed on, by model, backend that answered, status.",
                                  {"model", "backend", "status"})),
      attempts_(registry_->counter("hadal_gateway_attempts_total",
                                   "Attempts at a backend: good, failed, busy or cancelled.",
                                   {"backend", "outcome"})),
      retries_(registry_->counter("hadal_gateway_retries_total",
                                  "Attempts in vain that were followed by another.", {"backend"})),
      hedges_(registry_
                  ->counter("hadal_gateway_hedges_total",
                            "Second attempts begun because the first was slow.")
                  .with()),
      hedges_won_(registry_
                      ->counter("hadal_gateway_hedges_won_total",
                                "Such attempts that answered before the first.")
                      .with()),
      first_byte_(registry_->histogram("hadal_gateway_first_byte_seconds",
                                       "From an attempt's beginning to the head of its answer.",
                                       kSeconds, {"backend"})),
      broken_(registry_->counter("hadal_gateway_broken_answers_total",
                                 "Answers that a backend broke off in the middle.", {"backend"})),
      checks_(registry_->counter("hadal_gateway_health_checks_total",
                                 "Active checks of a backend, by result.", {"backend", "result"})),
      in_flight_(
          registry_->gauge("hadal_gateway_in_flight", "Requests at a backend now.", {"backend"})),
      tokens_(registry_->gauge("hadal_gateway_outstanding_tokens",
                               "Tokens, as estimated, of a backend's requests now.", {"backend"})),
      up_(registry_->gauge("hadal_gateway_backend_up", "1: new requests may go there.",
                           {"backend"})),
      waiting_(
          registry_->gauge("hadal_gateway_waiting", "Requests that wait for a place at a backend.")
              .with()),
      waited_(registry_
                  ->histogram("hadal_gateway_wait_seconds",
                              "How long requests waited for a place, of those that had to.",
                              kSeconds)
                  .with()) {}

void GatewayMetrics::answered(std::string_view model, std::string_view backend, int status) {
  answers_.with({std::string(model), std::string(backend), std::to_string(status)}).increment();
}
GatewayMetrics::Backend GatewayMetrics::backend(const std::string& name) {
  return {&attempts_.with({name, "good"}), &attempts_.with({name, "failed"}),
          &attempts_.with({name, "busy"}), &attempts_.with({name, "cancelled"}),
          &first_byte_.with({name}),       &in_flight_.with({name}),
          &tokens_.with({name}),           &up_.with({name})};
}
void GatewayMetrics::retried(std::string_view backend) {
  retries_.with({std::string(backend)}).increment();
}
void GatewayMetrics::hedged() { hedges_.increment(); }
void GatewayMetrics::hedge_won() { hedges_won_.increment(); }
void GatewayMetrics::broke_off(std::string_view backend) {
  broken_.with({std::string(backend)}).increment();
}
void GatewayMetrics::checked(std::string_view backend, bool good) {
  checks_.with({std::string(backend), good ? "good" : "bad"}).increment();
}
void GatewayMetrics::waiting(size_t requests) { waiting_.set(static_cast<double>(requests)); }
void GatewayMetrics::waited(double seconds) { waited_.observe(seconds); }

}  // namespace hadal
