// Who is next when not everybody can be answered at once: start-time fair queueing between tenants
// (Goyal, Vin, Cheng: "Start-time Fair Queueing", 1996) on estimated tokens, within priorities.
//
// A request of tenant i gets a start tag S = max(v, F_i) and a finish tag F_i = S + tokens /
// weight; the smallest S is next, and v is the start tag of the one that left last. So over any
// time in which two tenants both wait, the tokens that they are given differ from their weights'
// share by at most one request of each; one who was away has saved nothing up, one who asks for
// much is behind only himself. Of a lower priority number everything leaves before anything of a
// higher.
//
// Pure; not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>

namespace hadal::gateway {

class FairQueue {
 public:
  using Ticket = uint64_t;

  // `weight` above 0, `tokens` at least 0 (0 counts as 1). Tickets are never used again.
  Ticket push(const std::string& tenant, double weight, int32_t priority, double tokens);
  // Removed from the queue, and begins.
  std::optional<Ticket> pop();
  // Removed without having begun. False: it was not there.
  bool remove(Ticket ticket);

  size_t size() const { return order_.size(); }
  size_t waiting(std::string_view tenant) const;

 private:
  struct Flow {
    double finish = 0;
    size_t waiting = 0;
  };
  // One virtual time a priority.
  struct Level {
    double now = 0;
    std::map<std::string, Flow, std::less<>> flows;
  };
  using Order = std::tuple<int32_t, double, Ticket>;  // priority, start tag, arrival
  struct Entry {
    Order order;
    std::string tenant;
    double share;  // tokens / weight
  };
  void forget(const Entry& entry);

  Ticket next_ = 0;
  std::map<int32_t, Level> levels_;
  std::map<Order, Ticket> order_;
  std::map<Ticket, Entry> entries_;
};

}  // namespace hadal::gateway
