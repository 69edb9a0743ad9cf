// The stage of a request's way that gives answers again instead of having them computed again.
//
//   answered before, same request     its bytes again, a stream as a stream
//   the same request is under way     joins it: one computation, several clients
//   a question in other words         the other's answer, where that is turned on (SemanticIndex)
//   else                              goes on, and what comes back whole is kept
//
// One who joins does not depend on who came first: the computation goes on while anybody waits for
// it, and when it fails, the next in line makes his own. What is not whole (broken off, an error in
// the stream, a client's last chunk missing) is never kept.
//
// Bounds: memory and disk by bytes, one answer by entry_max; of an answer under way as much is held
// as may be kept. A client that reads slowly is dropped at its connection's own bound.
//
// Threads: handle() and configure() from any. Answers under way are moved by one thread of its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>

#include "hadal/api/canonical.h"
#include "hadal/base/clock.h"
#include "hadal/base/log.h"
#include "hadal/gateway/answer_store.h"
#include "hadal/gateway/cache_config.h"
#include "hadal/gateway/semantic_index.h"
#include "hadal/net/exchange.h"
#include "hadal/net/message.h"
#include "hadal/obs/cache_metrics.h"

namespace hadal::gateway {

class Flight;

// What decides an answer beside the request.
struct AnswerSource {
  std::string identity;     // of the model behind a name: files, packing, kernels; empty: not known
  bool keeps_seed = false;  // the same seed gives the same bits
};

// Which answers an operator wants gone. Empty: any.
struct CacheFilter {
  std::string tenant;
  std::string model;  // as a backend serves it, not an alias
};

class CacheStage {
 public:
  using Next = std::function<void(net::HttpRequest, net::ResponseWriter)>;
  // Whether one who asks may be given an answer that is there, or on its way for another: nothing
  // when it has been refused; what is returned is kept as long as he is answered. Not asked for
  // requests that go on to `next`, which decides for itself.
  using Admit = std::function<std::optional<std::shared_ptr<void>>(
      const net::HttpRequest&, net::ResponseWriter&, std::string_view model)>;
  using SourceOf = std::function<AnswerSource(std::string_view model)>;

  // `next` is the rest of the way; `clock` must outlive this. An error: the file on disk cannot be
  // opened.
  static Result<std::unique_ptr<CacheStage>> make(const CacheConfig& config, SourceOf source_of,
                                                  Next next, const Clock& clock,
                                                  std::shared_ptr<obs::Registry> registry,
                                                  LogSink log);
  // After the server, and when nothing is under way any more.
  ~CacheStage();

  void configure(const CacheConfig& config);
  void set_admit(Admit admit) { admit_ = std::move(admit); }  // before the first request
  // Forgets what the filter names, in memory and on disk, and does not keep what is under way. How
  // many answers went.
  Result<uint64_t> invalidate(const CacheFilter& filter);
  // `scope`: whose answers these are; nobody sees another's. Its first line is the tenant. The
  // request has been let through.
  void handle(net::HttpRequest request, net::ResponseWriter writer, std::string_view scope);
  // True: answered, from memory, without waiting for anything. False: the request is for handle(),
  // and both are as they were.
  bool answer_at_once(net::HttpRequest& request, net::ResponseWriter& writer,
                      std::string_view scope);
  // Whether answer_at_once() may find one, and looks for it in a fraction of a millisecond.
  bool may_answer_at_once(const net::HttpRequest& request) const;

 private:
  friend class Flight;
  struct Asked;
  enum class Ask : uint8_t { kPasses, kBypasses, kMayBeKept };

  CacheStage(const CacheConfig& config, SourceOf source_of, Next next, const Clock& clock,
             std::shared_ptr<obs::Registry> registry, LogSink log);
  Status open_disk(const CacheConfig& config);
  std::shared_ptr<const CacheConfig> config() const;

  bool may_keep(const CacheConfig& config, const net::HttpRequest& request,
                const api::CanonicalRequest& canonical, const AnswerSource& source) const;
  Ask read(const net::HttpRequest& request, std::string_view scope, Asked* asked) const;
  std::optional<std::shared_ptr<void>> admit(const Asked& asked, const net::HttpRequest& request,
                                             net::ResponseWriter& writer) const;
  // Answers, unless he may not be.
  void give(const Asked& asked, const net::HttpRequest& request, const AnswerPtr& answer,
            net::ResponseWriter& writer, std::string_view result);
  AnswerPtr find(const std::string& key);
  // True: answered.
  bool answer_similar(const Asked& asked, const net::HttpRequest& request,
                      net::ResponseWriter& writer);
  void replay(const Asked& asked, const AnswerPtr& answer, net::ResponseWriter& writer,
              std::string_view result);
  void keep(StoredAnswer answer);

  // Of flights.
  void start(const std::shared_ptr<Flight>& flight, net::ResponseWriter writer);
  std::shared_ptr<Flight> under_way(const std::string& key) const;
  std::shared_ptr<Flight> begin(const std::shared_ptr<Flight>& flight, bool anew);
  void forget(const Flight* flight);
  void wake(std::shared_ptr<Flight> flight);
  void move_answers();

  const SourceOf source_of_;
  const Next next_;
  Admit admit_;  // null: everybody may
  const Clock& clock_;
  const LogSink log_;
  CacheMetrics metrics_;
  AnswerMemory memory_;
  SemanticIndex similar_;
  std::unique_ptr<AnswerDisk> disk_;  // null: none
  const uint64_t salt_;
  std::atomic<uint64_t> replays_{0};
  std::atomic<uint64_t> generation_{0};  // one more with each invalidate()

  mutable std::mutex mutex_;
  std::shared_ptr<const CacheConfig> config_;
  std::atomic<bool> enabled_;
  std::unordered_map<std::string, std::shared_ptr<Flight>> flights_;

  std::mutex queue_mutex_;
  std::condition_variable queued_;
  std::deque<std::shared_ptr<Flight>> queue_;
  bool stopping_ = false;
  std::thread mover_;
};

}  // namespace hadal::gateway
