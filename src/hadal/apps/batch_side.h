// Files and batches of a running service: the endpoints, the store, and the thread that sends a
// batch's lines the way of every request, behind everybody else.
//
// Threads: make(), configure() and stop() on one; hook() on any.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "hadal/apps/batch_service.h"
#include "hadal/apps/front.h"
#include "hadal/apps/service.h"
#include "hadal/base/clock.h"
#include "hadal/base/log.h"
#include "hadal/base/result.h"
#include "hadal/gateway/batch_config.h"
#include "hadal/gateway/batch_runner.h"
#include "hadal/gateway/batch_store.h"
#include "hadal/gateway/live_count.h"
#include "hadal/obs/registry.h"

namespace hadal::apps {

// Lines as requests that come from within. One thread, which pumps what has come back; `wake` is
// called from any when there is something to pump.
class LineSender final : public gateway::LineCaller {
 public:
  LineSender(Front& front, const Service& service, std::function<void()> wake)
      : front_(front), service_(service), wake_(std::move(wake)) {}
  std::unique_ptr<Call> start(const gateway::BatchRecord& batch, std::string body,
                              std::function<void(gateway::CallAnswer)> done) override;
  void pump();

 private:
  class Sent;
  Front& front_;
  const Service& service_;
  const std::function<void()> wake_;
  std::vector<Sent*> sent_;  // each leaves when it ends
};

class BatchSide {
 public:
  // Without a folder in `config` the endpoints say that there is none. All must outlive this.
  // Errors: see BatchStore::open(). Adds its hook to `front`, which must not be open yet.
  static Result<std::unique_ptr<BatchSide>> make(const gateway::BatchConfig& config, Front& front,
                                                 Service& service,
                                                 std::shared_ptr<obs::Registry> registry,
                                                 const Clock& clock, LogSink log);
  ~BatchSide();  // stop()

  // Another reading of the configuration.
  void configure(const gateway::BatchConfig& config);
  // Once `front` is open and somebody can answer.
  void start();
  // Breaks off what runs, which runs again at the next start.
  void stop();

 private:
  BatchSide(Front& front, Service& service, std::shared_ptr<obs::Registry> registry,
            const Clock& clock, LogSink log);
  bool arrive(net::HttpRequest& request, net::ResponseWriter& writer, gateway::Journey& journey);
  void wake();
  void work();
  void show();

  Front& front_;
  const Service& service_;
  const std::shared_ptr<obs::Registry> registry_;
  const Clock& clock_;
  const LogSink log_;
  gateway::LiveCount live_;
  std::unique_ptr<gateway::BatchStore> store_;  // null: none is configured
  std::unique_ptr<LineSender> sender_;
  std::unique_ptr<gateway::BatchRunner> runner_;
  std::unique_ptr<BatchService> endpoints_;
  gateway::BatchCounts shown_;

  std::mutex mutex_;  // everything below
  std::condition_variable changed_;
  bool woken_ = false;
  bool ended_ = false;
  gateway::BatchOptions options_;
  std::thread thread_;  // not under the mutex
};

}  // namespace hadal::apps
