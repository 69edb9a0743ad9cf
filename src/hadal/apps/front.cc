#include "hadal/apps/front.h"

#include <memory>
#include <utility>

#include "hadal/base/check.h"

namespace hadal::apps {

void Front::set_gateway(gateway::Gateway* gateway) {
  gateway_ = gateway;
  gateway->hybrid().set_local([this] { return service_.is_ready(); });
  gateway->set_local([this](net::HttpRequest request, net::ResponseWriter writer) {
    service_.handle(std::move(request), std::move(writer));
  });
}

bool Front::passes_quickly(const net::HttpRequest& request) const {
  return gateway_ != nullptr && gateway_->is_surely_passed_on(request) && !service_.asks_stores();
}

bool Front::looks_through() const { return gateway_ != nullptr && gateway_->hybrid().on(); }

bool Front::may_answer_at_once(const net::HttpRequest& request) const {
  return later_ && answers_ != nullptr && !hooks_wait_ && !looks_through() &&
         answers_->may_answer_at_once(request) && !service_.shares_limits();
}

bool Front::is_quick(const net::HttpRequest& request) const {
  return open_ && !hooks_wait_ && (passes_quickly(request) || may_answer_at_once(request));
}

void Front::handle(net::HttpRequest request, net::ResponseWriter writer) {
  if (!open_) return service_.handle(std::move(request), std::move(writer));
  auto who = service_.authenticate(request);
  enter(std::move(request), std::move(writer), std::move(who));
}

std::string Front::handle_as(net::HttpRequest request, net::ResponseWriter writer,
                             std::shared_ptr<const gateway::Caller> caller) {
  HADAL_CHECK(open_, "a request from within before there is somewhere to go");
  return enter(std::move(request), std::move(writer), std::move(caller));
}

std::string Front::enter(net::HttpRequest request, net::ResponseWriter writer,
                         gateway::Journey::Who who) {
  const auto journey = std::make_shared<gateway::Journey>(
      service_.next_id("req"), clock_.now(), clock_.unix_seconds(), request.peer, std::move(who));
  request.notes = journey;
  if (!journey->who() && refusal_) refusal_(request, *journey);
  if (!journey->who() || service_.is_draining()) {
    service_.handle(std::move(request), std::move(writer));
    return journey->id();
  }
  if (looks_through()) gateway_->hybrid().classify(request, *journey);
  for (const Arrival& hook : hooks_) {
    if (hook(request, writer, *journey)) return journey->id();
  }
  if (answers_ != nullptr) {
    give_or_compute(std::move(request), std::move(writer));
  } else {
    go_on(std::move(request), std::move(writer));
  }
  return journey->id();
}

void Front::give_or_compute(net::HttpRequest request, net::ResponseWriter writer) {
  if (!may_answer_at_once(request) || passes_quickly(request)) {
    return answers_->handle(std::move(request), std::move(writer));
  }
  if (answers_->answer_at_once(request, writer)) return;
  struct Rest {
    net::HttpRequest request;
    net::ResponseWriter writer;
  };
  auto rest = std::make_shared<Rest>(Rest{std::move(request), std::move(writer)});
  later_([this, rest] { answers_->handle(std::move(rest->request), std::move(rest->writer)); });
}

void Front::go_on(net::HttpRequest request, net::ResponseWriter writer) {
  if (gateway_ != nullptr && service_.pass_on(*gateway_, request, writer)) return;
  service_.handle(std::move(request), std::move(writer));
}

}  // namespace hadal::apps
