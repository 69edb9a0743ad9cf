#include "hadal/gateway/rollout_errands.h"

#include <utility>

#include "hadal/net/timer.h"

namespace hadal::gateway {
namespace {

constexpr size_t kUnreadMax = 8u << 20;  // of an answer, between two looks of the I/O thread
constexpr int32_t kLast = 1'000;         // the highest number a tenant's priority can have

std::shared_ptr<const Caller> own_caller() {
  auto tenant = std::make_shared<TenantConfig>();
  tenant->name = kRolloutTenant;
  tenant->priority = kLast;
  Caller caller;
  caller.tenant = std::move(tenant);
  caller.isolated = true;
  return std::make_shared<const Caller>(std::move(caller));
}

// An exchange whose client reads everything at once and keeps nothing.
std::shared_ptr<net::Exchange> unread(boost::asio::io_context& io) {
  auto self = std::make_shared<std::weak_ptr<net::Exchange>>();
  auto exchange = std::make_shared<net::Exchange>(kUnreadMax, [self, &io] {
    net::call_after(io, std::chrono::milliseconds(0), [self] {
      if (const auto there = self->lock()) there->take();
    });
  });
  *self = exchange;
  return exchange;
}

}  // namespace

Errands::Errands(boost::asio::io_context& io, const Clock& clock, Go go)
    : io_(io), clock_(clock), go_(std::move(go)), caller_(own_caller()) {}

void Errands::send(net::HttpRequest request, Choice choice, const std::string& id,
                   std::shared_ptr<net::AnswerTap> tap) {
  auto journey =
      std::make_shared<Journey>(id, clock_.now(), clock_.unix_seconds(), "", Journey::Who(caller_));
  journey->choose(std::move(choice));
  request.notes = std::move(journey);
  net::ResponseWriter writer(unread(io_));
  writer.tap(std::move(tap));
  go_(std::move(request), std::move(writer));
}

}  // namespace hadal::gateway
