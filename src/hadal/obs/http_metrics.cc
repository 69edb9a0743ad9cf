#include "hadal/obs/http_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <utility>

namespace hadal {

struct HttpMetrics::Impl {
  std::shared_ptr<prometheus::Registry> registry;
  prometheus::Family<prometheus::Counter>& answers;
  prometheus::Counter& gone;
};

HttpMetrics::HttpMetrics(std::shared_ptr<prometheus::Registry> registry) {
  auto& answers = prometheus::BuildCounter()
                      .Name("hadal_http_requests_total")
                      .Help("Requests answered, by route and status.")
                      .Register(*registry);
  auto& gone = prometheus::BuildCounter()
                   .Name("hadal_http_clients_gone_total")
                   .Help("Clients that closed their connection before the answer was complete.")
                   .Register(*registry)
                   .Add({});
  impl_.reset(new Impl{std::move(registry), answers, gone});
}

HttpMetrics::~HttpMetrics() = default;

void HttpMetrics::answered(std::string_view route, int status) {
  impl_->answers.Add({{"route", std::string(route)}, {"status", std::to_string(status)}})
      .Increment();
}

void HttpMetrics::client_gone() { impl_->gone.Increment(); }

std::shared_ptr<prometheus::Registry> make_registry() {
  return std::make_shared<prometheus::Registry>();
}

std::string exposition(const prometheus::Registry& registry) {
  return prometheus::TextSerializer().Serialize(registry.Collect());
}

}  // namespace hadal
