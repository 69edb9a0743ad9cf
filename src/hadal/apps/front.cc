#include "hadal/apps/front.h"

#include <memory>
#include <utility>

namespace hadal::apps {

bool Front::is_quick(const net::HttpRequest& request) const {
  return open_ && gateway_ != nullptr && gateway_->is_surely_passed_on(request) &&
         !service_.asks_stores();
}

void Front::handle(net::HttpRequest request, net::ResponseWriter writer) {
  if (!open_) return service_.handle(std::move(request), std::move(writer));
  const int64_t now = clock_.unix_seconds();
  const auto journey = std::make_shared<gateway::Journey>(
      service_.next_id("req"), clock_.now(), now, request.peer, service_.authenticate(request));
  request.notes = journey;
  if (!journey->who() || service_.is_draining()) {
    return service_.handle(std::move(request), std::move(writer));
  }
  for (const Arrival& hook : hooks_) {
    if (hook(request, writer, *journey)) return;
  }
  if (answers_ != nullptr) return answers_->handle(std::move(request), std::move(writer));
  go_on(std::move(request), std::move(writer));
}

void Front::go_on(net::HttpRequest request, net::ResponseWriter writer) {
  if (gateway_ != nullptr && service_.pass_on(*gateway_, request, writer)) return;
  service_.handle(std::move(request), std::move(writer));
}

}  // namespace hadal::apps
