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
#include "hadal/gateway/key_store.h"
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
  void handle(net::HttpRequest request, net::ResponseWriter writer);

 private:
  struct Call {
    net::HttpRequest& request;
    net::ResponseWriter& writer;
    std::string_view route;
    AdminAccess access;
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

  const std::shared_ptr<gateway::KeyStore> keys_;
  const std::shared_ptr<obs::Registry> registry_;
  const Clock& clock_;
  const std::function<void()> reload_;
  HttpMetrics http_metrics_;
  std::mutex mutex_;
  AdminAccess access_;
};

}  // namespace hadal::apps
