// The cache of answers (gateway/cache_stage.h) in front of a service: whose answers are whose, and
// what an answer depends on beside its request.
//
// Threads: every member from any thread.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "hadal/base/clock.h"
#include "hadal/base/log.h"
#include "hadal/base/result.h"
#include "hadal/gateway/cache_stage.h"
#include "hadal/gateway/config.h"
#include "hadal/gateway/directory.h"

namespace hadal::apps {

// Changes whenever the local model's files do, or how they are run.
std::string local_identity(const gateway::BackendConfig& local);

class AnswerCache {
 public:
  // `next` is the rest of the way. An error: the file on disk cannot be opened.
  static Result<std::unique_ptr<AnswerCache>> make(const gateway::Config& config,
                                                   gateway::CacheStage::Next next,
                                                   const Clock& clock,
                                                   std::shared_ptr<obs::Registry> registry,
                                                   LogSink log);

  // Another reading of the file.
  void configure(const gateway::Config& config);
  // See CacheStage; before the first request.
  void set_admit(gateway::CacheStage::Admit admit) { stage_->set_admit(std::move(admit)); }
  bool may_answer_at_once(const net::HttpRequest& request) const {
    return stage_->may_answer_at_once(request);
  }
  bool answer_at_once(net::HttpRequest& request, net::ResponseWriter& writer);
  // See CacheStage.
  Result<uint64_t> invalidate(const gateway::CacheFilter& filter) {
    return stage_->invalidate(filter);
  }
  // A request that the service lets through.
  void handle(net::HttpRequest request, net::ResponseWriter writer);

 private:
  // What names mean, by one reading of the file. Immutable.
  struct Names {
    explicit Names(const gateway::Config& read) : config(read), directory(read) {}
    gateway::Config config;
    gateway::Directory directory;
    std::string local;
  };
  explicit AnswerCache(const Clock& clock) : clock_(clock) {}
  static std::string scope_of(const net::HttpRequest& request);
  gateway::AnswerSource source_of(std::string_view model) const;

  const Clock& clock_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Names> names_;
  std::unique_ptr<gateway::CacheStage> stage_;
};

}  // namespace hadal::apps
