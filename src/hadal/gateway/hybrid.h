// Requests between the machines of the house and those of others: what is found in them, who may be
// asked, what is masked, and what it may cost.
//
// The rule that nothing gets around: before a request's bytes go to a backend that is not trusted,
// Crossing::admit() must have said yes, for exactly this request and this backend. It says no to
// what must stay, whatever routes, retries, hedges or a reload in between say.
//
// Threads: HybridDesk any; a Crossing belongs to one request, whose lock is held.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/base/log.h"
#include "hadal/base/result.h"
#include "hadal/gateway/body_scan.h"
#include "hadal/gateway/budget_book.h"
#include "hadal/gateway/config.h"
#include "hadal/gateway/directory.h"
#include "hadal/gateway/journey.h"
#include "hadal/gateway/live_count.h"
#include "hadal/gateway/masker.h"
#include "hadal/gateway/route_book.h"
#include "hadal/gateway/screener.h"
#include "hadal/gateway/usage_scan.h"
#include "hadal/net/exchange.h"
#include "hadal/net/message.h"
#include "hadal/obs/hybrid_metrics.h"

namespace hadal::gateway {

class Crossing;

class HybridDesk : public std::enable_shared_from_this<HybridDesk> {
 public:
  // `clock` must outlive this.
  HybridDesk(const Clock& clock, std::shared_ptr<obs::Registry> registry, LogSink log);

  Status configure(const Config& config);
  // Before requests come. `ready`: whether the local model can answer.
  void set_budgets(std::shared_ptr<BudgetBook> budgets) { budgets_ = std::move(budgets); }
  void set_local(std::function<bool()> ready) { ready_ = std::move(ready); }

  // Whether anything of this is configured.
  bool on() const { return on_; }
  // What is found in a request, into its journey. Only of requests for a model.
  void classify(const net::HttpRequest& request, Journey& journey) const;
  // Null where nothing is configured.
  std::shared_ptr<Crossing> cross(const net::HttpRequest& request, const BodyScan& scan,
                                  const ModelTarget& target) const;
  // The request goes to the local model, where it counts until it is answered.
  void goes_local(net::ResponseWriter& writer) const;

 private:
  friend class Crossing;
  struct Rules {
    explicit Rules(const Config& config) : routes(config) {}
    RouteBook routes;
    std::shared_ptr<const Screener> screener;  // null: nothing is looked for
  };
  std::shared_ptr<const Rules> rules() const;
  std::shared_ptr<const Screening> screen(const Rules& rules,
                                          const net::HttpRequest& request) const;
  void show_budget(const std::string& backend, int64_t limit) const;

  const Clock& clock_;
  const LogSink log_;
  mutable HybridMetrics metrics_;
  std::shared_ptr<BudgetBook> budgets_;  // null: no store
  std::function<bool()> ready_;
  const LiveCount at_local_;
  std::atomic<bool> on_{false};
  mutable std::mutex mutex_;
  std::shared_ptr<const Rules> rules_;
};

// One request's way.
class Crossing {
 public:
  const RoutePlan& plan() const { return plan_; }
  // The stage that is being asked; null: none is left.
  const RouteStage* stage() const;
  void next_stage() { ++stage_; }
  bool has_next_stage() const { return stage_ + 1 < plan_.stages.size(); }
  // All that are not local, for who waits.
  std::vector<std::string> elsewhere() const;
  void begin_again() { stage_ = 0; }

  // What a backend gets. Whoever may not have it, or could exceed its budget, gets nothing.
  struct Outgoing {
    std::string body;                      // rewritten
    std::vector<net::Header> headers;      // to be filtered as any request's
    std::shared_ptr<const Masked> masked;  // null: nothing is masked
    std::shared_ptr<BudgetHold> hold;      // null: no budget
  };
  std::optional<Outgoing> admit(const BackendConfig& backend, const net::HttpRequest& request,
                                const BodyScan& scan, BodyChanges changes);
  // Of an answer that came to its end.
  void settle(const BackendConfig& backend, BudgetHold& hold, int status, const UsageScan& usage);

  // For the answer: "x-hadal-route: NAME; backend=...; reason=...", and into the journey's reasons.
  net::Header header(std::string_view backend) const;
  // Into metrics and journey, once, when it is clear who answers; `backend` empty: nobody.
  void note(std::string_view backend, Journey* journey);
  // Why nobody may be asked, when it is not that they are down.
  struct Refusal {
    int status;
    std::string code, message;
    int64_t retry_after = 0;  // seconds; 0: trying again does not help
  };
  std::optional<Refusal> refusal(std::string_view model) const;

 private:
  friend class HybridDesk;
  Crossing(std::shared_ptr<const HybridDesk> desk, std::shared_ptr<const HybridDesk::Rules> rules,
           std::shared_ptr<const Screening> screening, RoutePlan plan)
      : desk_(std::move(desk)),
        rules_(std::move(rules)),
        screening_(std::move(screening)),
        plan_(std::move(plan)) {}
  bool mask(const net::HttpRequest& request);
  std::shared_ptr<BudgetHold> hold(const BackendConfig& backend, const net::HttpRequest& request,
                                   std::string* body);

  const std::shared_ptr<const HybridDesk> desk_;
  const std::shared_ptr<const HybridDesk::Rules> rules_;
  const std::shared_ptr<const Screening> screening_;  // null: nothing is looked for
  const RoutePlan plan_;
  size_t stage_ = 0;
  std::shared_ptr<const Masked> masked_;
  bool unmaskable_ = false;
  bool over_budget_ = false;
  bool noted_ = false;
};

}  // namespace hadal::gateway
