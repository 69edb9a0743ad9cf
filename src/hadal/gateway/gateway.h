// Requests for models that other servers run: chosen, passed on, and their answers passed back as
// they come. What is decided is in Fleet; here are the sockets.
//
// The body goes on byte for byte but for the model's name (and an alias's defaults), the answer
// comes back byte for byte. An attempt that fails before the first byte of an answer may be made
// again elsewhere; after it, the client is told that the answer is broken. A client that leaves
// closes the upstream's connection at once.
//
// Bounds: requests at each backend (max_in_flight), requests that wait (balancing.queue), bytes of
// an answer that wait for a slow client (64 KiB and what one read brings; then the upstream waits).
//
// Threads: handle() and configure() from any; everything else happens on the threads of `io`.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/base/log.h"
#include "hadal/base/result.h"
#include "hadal/gateway/config.h"
#include "hadal/gateway/directory.h"
#include "hadal/gateway/fleet.h"
#include "hadal/gateway/hybrid.h"
#include "hadal/gateway/metering.h"
#include "hadal/net/client.h"
#include "hadal/net/exchange.h"
#include "hadal/net/message.h"
#include "hadal/net/timer.h"
#include "hadal/obs/gateway_metrics.h"
#include "hadal/obs/http_metrics.h"

namespace hadal::gateway {

class Relay;

// What is known of a request before it is passed on.
struct PassedOn {
  std::string asked;          // the model's name as the client says it
  std::string model;          // ... and what it means
  int64_t prompt_tokens = 0;  // about, from the body's bytes
  std::optional<int64_t> answer_tokens = {};
};

// One `url:` backend. Immutable; shared with the requests that are there, since a reload may
// replace it meanwhile.
struct Upstream {
  BackendConfig config;
  std::string key;
  std::unique_ptr<net::HttpClient> client;
  std::unique_ptr<net::HttpClient> checker;  // null: no checks
  GatewayMetrics::Backend metrics;

  // The upstream's name for a model served here.
  const std::string& model_name(const std::string& model) const;
};

struct Place {
  Lease lease;
  std::shared_ptr<const Upstream> upstream;
};

class Gateway : public std::enable_shared_from_this<Gateway> {
 public:
  // The key that a backend wants; empty: none. An error keeps the configuration from being used.
  using KeyOf = std::function<Result<std::string>(const BackendConfig&)>;

  // `io` and `clock` must outlive this and every request. Shared with them.
  static std::shared_ptr<Gateway> make(boost::asio::io_context& io, const Clock& clock,
                                       std::shared_ptr<obs::Registry> registry, LogSink log,
                                       uint64_t seed);

  // At start, and again while requests are under way: backends are the same when their names are.
  Status configure(const Config& config, std::shared_ptr<const Directory> directory,
                   const KeyOf& key_of);
  // No more checks, so that nothing is left to do when the last request is answered.
  void stop();

  // Who may be asked for what; to be set up before open() of whatever brings requests.
  HybridDesk& hybrid() { return *hybrid_; }
  // Takes a request that no other backend could answer and the local model may.
  using Take = std::function<void(net::HttpRequest, net::ResponseWriter)>;
  void set_local(Take take) { take_ = std::move(take); }

  // Of those that are configured.
  std::vector<BackendId> ids_of(const std::vector<std::string>& backends) const;
  // Whether a request may be one for handle().
  bool is_passed_on(const net::HttpRequest& request) const;
  // Whether it will be, and cheaply so, as no model is run here.
  bool is_surely_passed_on(const net::HttpRequest& request) const;
  // Before a request is passed on: its permit, which is settled by what the answer says was used
  // (null: not counted), or nothing, when it has been answered.
  using Admit = std::function<std::optional<std::shared_ptr<Permit>>(const PassedOn&)>;
  // True: the request has been taken and will be answered. False: not one for another backend, and
  // both arguments are as they were.
  bool handle(net::HttpRequest& request, net::ResponseWriter& writer, const Admit& admit = nullptr);

 private:
  friend class Relay;
  Gateway(boost::asio::io_context& io, const Clock& clock, std::shared_ptr<obs::Registry> registry,
          LogSink log, uint64_t seed);

  bool stays_here(Crossing& crossing, const ModelTarget& target, const net::HttpRequest& request,
                  net::ResponseWriter& writer);

  // For relays.
  void take_back(net::HttpRequest request, net::ResponseWriter writer);
  tl::expected<Place, NoBackend> start(const Ask& ask);
  void finish(const Place& place, Outcome outcome);
  bool take_retry(int32_t attempts);
  bool take_hedge();
  // A relay that found everything full. False: so is the line.
  bool wait_in_line(const std::shared_ptr<Relay>& relay, bool in_front);
  void leave_line(const Relay* relay);

  // A place at a backend is free: for the first in line that it could serve.
  void call_next(BackendId freed);
  void call_all();
  void schedule_tick();
  Millis queue_wait() const;
  Millis hedge_after() const;
  Nanos back_after(std::string_view model);

  std::shared_ptr<Upstream> make_upstream(const BackendConfig& config, std::string key,
                                          Status* status);
  void schedule_check(const std::string& backend, uint64_t generation, Millis after);
  void check(const std::string& backend, uint64_t generation);
  void checked(const std::string& backend, bool good);
  void show_locked();
  void show_locked(BackendId id, const Upstream& upstream);

  boost::asio::io_context& io_;
  const Clock& clock_;
  const LogSink log_;
  GatewayMetrics metrics_;
  HttpMetrics http_metrics_;
  const std::shared_ptr<HybridDesk> hybrid_;
  Take take_;
  std::atomic<bool> has_remote_{false};
  std::atomic<bool> has_local_{false};

  mutable std::mutex mutex_;  // everything below
  Fleet fleet_;
  BalancingConfig balancing_;
  std::shared_ptr<const Directory> directory_;
  std::map<BackendId, std::shared_ptr<const Upstream>> upstreams_;
  std::map<BackendId, Condition> shown_;
  std::deque<std::shared_ptr<Relay>> line_;
  bool ticking_ = false, stopped_ = false;
  uint64_t generation_ = 0;  // of the configuration; checks of an older one end
};

}  // namespace hadal::gateway
