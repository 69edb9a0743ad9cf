// Connections from outside, before anybody asks for a key: certificates, browsers' questions, the
// addresses that proxies pass on.
//
// Threads: admit() from any; the rest from one.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/base/result.h"
#include "hadal/gateway/client_address.h"
#include "hadal/gateway/config.h"
#include "hadal/gateway/cors.h"
#include "hadal/net/exchange.h"
#include "hadal/net/message.h"
#include "hadal/net/server.h"
#include "hadal/net/tls_context.h"
#include "hadal/obs/registry.h"

namespace hadal::apps {

class Edge {
 public:
  // What one reading of the configuration says. Immutable.
  struct State {
    std::shared_ptr<const net::TlsContext> tls, admin_tls;  // null: plain
    gateway::Cors cors{{}};
    std::vector<gateway::Network> proxies;
  };
  // Reads certificates and keys; an error names the file.
  static Result<std::shared_ptr<const State>> read(const gateway::Config& config);
  // A certificate that clients would refuse now: said by --check, and by a reload, which then
  // changes nothing. A start goes on with it and says so.
  static Status check_times(const State& state, int64_t unix_seconds);

  Edge(std::shared_ptr<const State> state, obs::Registry& registry);
  // The servers to tell of new certificates; either may be null.
  void attach(net::HttpServer* server, net::HttpServer* admin);
  void use(std::shared_ptr<const State> state);
  std::shared_ptr<const State> state() const;

  // Sets the request's `peer` and the answer's headers for browsers. True: answered.
  bool admit(net::HttpRequest& request, net::ResponseWriter& writer) const;

 private:
  void show_times();

  mutable std::mutex mutex_;
  std::shared_ptr<const State> state_;
  obs::Family<obs::Gauge>& until_;
  net::HttpServer* server_ = nullptr;
  net::HttpServer* admin_ = nullptr;
};

}  // namespace hadal::apps
