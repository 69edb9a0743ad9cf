#include "hadal/gateway/fair_queue.h"

#include <algorithm>

#include "hadal/base/check.h"

namespace hadal::gateway {

FairQueue::Ticket FairQueue::push(const std::string& tenant, double weight, int32_t priority,
                                  double tokens) {
  HADAL_CHECK(weight > 0);
  Level& level = levels_[priority];
  Flow& flow = level.flows[tenant];
  const double start = std::max(level.now, flow.finish);
  const double share = std::max(tokens, 1.0) / weight;
  flow.finish = start + share;
  ++flow.waiting;
  const Ticket ticket = ++next_;
  const Order order{priority, start, ticket};
  order_[order] = ticket;
  entries_[ticket] = {order, tenant, share};
  return ticket;
}

std::optional<FairQueue::Ticket> FairQueue::pop() {
  if (order_.empty()) return {};
  const Ticket ticket = order_.begin()->second;
  const auto found = entries_.find(ticket);
  levels_[std::get<0>(found->second.order)].now = std::get<1>(found->second.order);
  forget(found->second);
  entries_.erase(found);
  return ticket;
}

bool FairQueue::remove(Ticket ticket) {
  const auto found = entries_.find(ticket);
  if (found == entries_.end()) return false;
  const Entry entry = found->second;
  // What follows of the same tenant moves up, as if this had never asked: its tokens are not used.
  Level& level = levels_[std::get<0>(entry.order)];
  const auto flow = level.flows.find(entry.tenant);
  flow->second.finish = std::max(flow->second.finish - entry.share, level.now);
  for (auto later = std::next(found); later != entries_.end(); ++later) {
    Entry& other = later->second;
    if (other.tenant != entry.tenant || std::get<0>(other.order) != std::get<0>(entry.order)) {
      continue;
    }
    order_.erase(other.order);
    double& start = std::get<1>(other.order);
    start = std::max(start - entry.share, level.now);
    order_[other.order] = later->first;
  }
  forget(entry);
  entries_.erase(found);
  return true;
}

// A tenant whose tags lie in the past is as one that has never been here, and a level without
// tenants as one that is new: memory is bounded by who waits and who was just served.
void FairQueue::forget(const Entry& entry) {
  order_.erase(entry.order);
  const int32_t priority = std::get<0>(entry.order);
  Level& level = levels_[priority];
  --level.flows.find(entry.tenant)->second.waiting;
  for (auto flow = level.flows.begin(); flow != level.flows.end();) {
    const bool past = flow->second.waiting == 0 && flow->second.finish <= level.now;
    flow = past ? level.flows.erase(flow) : std::next(flow);
  }
  if (level.flows.empty()) levels_.erase(priority);
}

size_t FairQueue::waiting(std::string_view tenant) const {
  size_t sum = 0;
  for (const auto& [priority, level] : levels_) {
    if (const auto flow = level.flows.find(tenant); flow != level.flows.end()) {
      sum += flow->second.waiting;
    }
  }
  return sum;
}

}  // namespace hadal::gateway
