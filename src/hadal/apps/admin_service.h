// The operator's endpoints, on a port and with a key of their own.
//
// Threads: handle() on that server's handler threads; configure() on any.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/api/error.h"
#include "hadal/base/clock.h"
#include "hadal/gateway/cache_stage.h"
#include "hadal/gateway/key_store.h"
#include "hadal/gateway/rollout_stage.h"
#include "hadal/gateway/tenants.h"
#include "hadal/net/exchange.h"
#include "hadal/net/message.h"
#include "hadal/obs/http_metrics.h"

namespace hadal::apps {

// Replaced as a whole when the configuration is read again.
struct AdminAccess {
  std::string key;  // never empty
  std::shared_ptr<const gateway::TenantPolicy> tenants;
};

class AdminService {
 public:
  // `reload`: asks for the configuration to be read again; does not wait for it. `clock` must
  // outlive this.
  AdminService(std::shared_ptr<gateway::KeyStore> keys, std::shared_ptr<obs::Registry> registry,
               const Clock& clock, std::function<void()> reload);

  void configure(AdminAccess access);
  // Sees what is asked for with the right key, before it is done. True: it has answered.
  using Witness = std::function<bool(const net::HttpRequest&, net::ResponseWriter&)>;
  void set_witness(Witness witness) { witness_ = std::move(witness); }  // before handle()
  // Forgets answers of the cache; how many.
  using Invalidate = std::function<Result<uint64_t>(const gateway::CacheFilter&)>;
  void set_cache(Invalidate invalidate);
  void set_rollouts(std::shared_ptr<gateway::RolloutStage> rollouts);
  void handle(net::HttpRequest request, net::ResponseWriter writer);

 private:
  struct Call {
    net::HttpRequest& request;
    net::ResponseWriter& writer;
    std::string_view route;
    AdminAccess access;
    std::shared_ptr<gateway::RolloutStage> rollouts = {};
  };
  struct Route {
    std::string_view method;
    std::string_view path;  // ending in '/': everything below it
    void (AdminService::*handle)(Call&);
  };
  static const std::vector<Route>& routes();

  void reply(Call& call, int status, std::string body, std::string_view type = "application/json");
  void refuse(Call& call, const api::ApiError& error);

  void create_key(Call& call);
  void list_keys(Call& call);
  void revoke_key(Call& call);
  void reload(Call& call);
  void metrics(Call& call);
  void forget_answers(Call& call);
  void list_rollouts(Call& call);
  void show_rollout(Call& call);
  void create_rollout(Call& call);
  void command_rollout(Call& call);
  void forget_rollout(Call& call);

  const std::shared_ptr<gateway::KeyStore> keys_;
  const std::shared_ptr<obs::Registry> registry_;
  const Clock& clock_;
  const std::function<void()> reload_;
  Witness witness_;
  HttpMetrics http_metrics_;
  std::mutex mutex_;
  AdminAccess access_;
  Invalidate invalidate_;
  std::shared_ptr<gateway::RolloutStage> rollouts_;  // shared with the requests' way; may be null
};

}  // namespace hadal::apps
