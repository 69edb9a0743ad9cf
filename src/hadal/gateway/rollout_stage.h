// Rollouts in the way of a request: which arm its user belongs to, and what looks on; and those
// who act on what was seen: a thread that judges, remembers, and sends probes and copies.
//
// A decision is on the disk before it takes effect. Of the samples a killed process loses the last
// kSaveEvery at most; they count for as much less.
//
// Threads: any. arrive() takes a lock for as long as it takes to copy a pointer.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/base/log.h"
#include "hadal/base/result.h"
#include "hadal/base/rng.h"
#include "hadal/gateway/body_scan.h"
#include "hadal/gateway/config.h"
#include "hadal/gateway/directory.h"
#include "hadal/gateway/journey.h"
#include "hadal/gateway/rollout_errands.h"
#include "hadal/gateway/rollout_store.h"
#include "hadal/gateway/rollout_watch.h"
#include "hadal/net/exchange.h"
#include "hadal/obs/registry.h"

namespace hadal::gateway {

// What people are shown.
struct RolloutView {
  RolloutConfig config;
  bool declared = true;  // by hadal.yaml
  std::vector<std::string> arms;
  std::vector<double> shares;
  RolloutState state;
  Verdict verdict;  // of those that are judged
  std::vector<RolloutEvent> events;
};

class RolloutStage {
 public:
  static constexpr Millis kSaveEvery{2'000};
  static constexpr int kProbeAttempts = 3;

  // `io` and `clock` must outlive this and the requests under way. `go`: the way of a request
  // behind authentication and caches, until this is destroyed.
  struct Parts {
    boost::asio::io_context& io;
    const Clock& clock;
    std::shared_ptr<obs::Registry> registry;
    LogSink log;
    Errands::Go go;
    bool runs = true;  // else its owner calls tick()
    // Told of each decision once it is in effect; may be empty.
    std::function<void(std::string_view rollout, std::string_view phase, std::string_view what)>
        decided = {};
  };
  // Errors: the store cannot be read; probes cannot.
  static Result<std::unique_ptr<RolloutStage>> make(const Config& config, Parts parts);
  ~RolloutStage();

  // A rollout is the same when its name and its identity() are: it goes on. What cannot be used
  // (probes that cannot be read) stays as it was, and the log says so.
  void configure(const Config& config);

  // Chooses for the request and taps its answer.
  void arrive(const net::HttpRequest& request, net::ResponseWriter& writer, Journey& journey);

  std::vector<RolloutView> list() const;
  // kNotFound.
  Result<RolloutView> find(const std::string& name) const;
  // One that hadal.yaml does not have; begins at once. See read_rollout() for `text`.
  Result<RolloutView> create(const std::string& name, std::string_view text);
  Result<RolloutView> command(const std::string& name, RolloutCommand command);
  // Of one that has ended and is not declared.
  Status forget(const std::string& name);

  // What the thread does, `passed` since the last time.
  void tick(Millis passed);

 private:
  using Live = std::shared_ptr<LiveRollout>;
  struct Entry {
    Live live;
    std::vector<bool> arm_is_here;  // its requests do not leave this process
  };
  struct Table {
    std::vector<Entry> rollouts;  // by name
    std::shared_ptr<const Directory> directory;
  };
  struct Copy {
    Live rollout;
    net::HttpRequest request;
    std::string id;
  };
  // How far the questions of one rollout are.
  struct Asking {
    Millis waited{0};
    int64_t epoch = -1;
    int under_way = 0;
    std::map<std::pair<size_t, size_t>, int> attempts;  // by arm and question
  };
  struct ProbeAnswer {
    Live rollout;
    LiveRollout::Seat seat;
    size_t probe = 0;
    bool is_answer = false;  // not an error
    bool is_busy = false;    // nobody could be asked
    std::string text = {};
  };
  // What came back; outlives this, since requests may.
  struct Mailbox {
    std::mutex mutex;
    std::vector<ProbeAnswer> answers;
  };
  class ProbeWatch;
  class CopyWatch;

  RolloutStage(std::unique_ptr<RolloutStore> store, Parts parts);
  void run();

  // With owner_mutex_ held.
  void configure_locked(const Config& config);
  Result<Live> take_up(RolloutConfig rollout, std::string spec,
                       const std::map<std::string, StoredRollout>& kept);
  void publish(std::vector<Live> rollouts);
  Status save(const Live& live, const RolloutState& state, std::string_view event);
  Status carry_out(const Live& live, const RolloutChange& change);
  Status has_no_rival(const RolloutConfig& rollout) const;
  void save_news();
  void take_probe_answers();
  void send_probe(const Live& live, Millis passed);

  std::shared_ptr<const Table> table() const;
  Live look_up(const std::string& name) const;  // null: none
  RolloutView view(const Live& live) const;
  // True: the request is this rollout's.
  bool seat(const Entry& entry, const net::HttpRequest& request, const BodyScan& scan,
            net::ResponseWriter& writer, Journey& journey);
  void copy(const Entry& entry, const net::HttpRequest& request, bool is_chosen,
            net::ResponseWriter& writer, const Journey& journey);
  void send_copies();

  const std::unique_ptr<RolloutStore> store_;
  const Parts parts_;
  Errands errands_;
  // Shared with rollouts, which may outlive this.
  const std::shared_ptr<RolloutMetrics> metrics_;
  const std::shared_ptr<Mailbox> mailbox_;
  const Rng rng_;
  std::atomic<uint64_t> draws_{0};
  std::atomic<bool> is_empty_{true};

  // Held by who changes what rollouts there are, or the phase of one. Before every other lock.
  std::mutex owner_mutex_;
  Config config_;
  std::map<std::string, Asking> asking_;
  Millis unsaved_{0};
  bool told_failure_ = false;
  uint64_t errands_sent_ = 0;

  mutable std::mutex mutex_;  // everything below
  std::shared_ptr<const Table> table_;
  std::deque<Copy> copies_;
  bool ended_ = false;
  std::condition_variable wake_;
  std::thread thread_;
};

}  // namespace hadal::gateway
