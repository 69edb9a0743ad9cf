// /v1/files and /v1/batches. A hook of the front: callers are known, and each sees what is its own
// alone.
//
// Threads: any.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/api/error.h"
#include "hadal/base/clock.h"
#include "hadal/gateway/batch_config.h"
#include "hadal/gateway/batch_store.h"
#include "hadal/gateway/journey.h"
#include "hadal/net/exchange.h"
#include "hadal/net/message.h"
#include "hadal/obs/http_metrics.h"

namespace hadal::apps {

class BatchService {
 public:
  // See TenantPolicy::tag_of.
  using TagOf = std::function<std::string(const net::HttpRequest&, const gateway::Caller&)>;

  // `store`: null where the operator configured none; then every request is told so. `changed`:
  // there is a new batch, or a cancelled one. `store` and `clock` must outlive this.
  BatchService(gateway::BatchStore* store, TagOf tag_of, std::function<void()> changed,
               std::shared_ptr<obs::Registry> registry, const Clock& clock);

  void configure(const gateway::BatchConfig& config);
  // True: it was for here, and is answered.
  bool handle(net::HttpRequest& request, net::ResponseWriter& writer, gateway::Journey& journey);

  struct Address {
    std::string_view method;
    std::string_view path;  // "{id}": anything without '/'
  };
  // All that handle() knows.
  static std::vector<Address> addresses();

 private:
  struct Call {
    net::HttpRequest& request;
    net::ResponseWriter& writer;
    const gateway::Caller& caller;
    std::string_view route;
    std::string id = {};
    std::string owner = {};
    std::string tag = {};
    gateway::BatchConfig config = {};
  };
  struct Route {
    std::string_view method;
    std::string_view path;
    void (BatchService::*handle)(Call&);
  };
  static const std::vector<Route>& routes();
  // The {id} of a path that is the route's.
  static std::optional<std::string> match(const Route& route, std::string_view path);

  void reply(Call& call, int status, std::string body, std::string_view type = "application/json",
             std::vector<net::Header> more = {});
  void refuse(Call& call, const api::ApiError& error);
  api::Parsed<gateway::FileRecord> read_form(Call& call, std::string* bytes) const;

  void add_file(Call& call);
  void list_files(Call& call);
  void show_file(Call& call);
  void remove_file(Call& call);
  void send_file(Call& call);
  void add_batch(Call& call);
  void list_batches(Call& call);
  void show_batch(Call& call);
  void cancel_batch(Call& call);

  gateway::BatchStore* const store_;
  const TagOf tag_of_;
  const std::function<void()> changed_;
  const Clock& clock_;
  HttpMetrics http_metrics_;
  std::mutex mutex_;
  gateway::BatchConfig config_;
};

}  // namespace hadal::apps
