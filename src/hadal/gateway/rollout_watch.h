// One rollout in a running service: the state machine behind a lock, and what looks on while
// answers go out.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/gateway/answer_scan.h"
#include "hadal/gateway/journey.h"
#include "hadal/gateway/rollout.h"
#include "hadal/gateway/rollout_probe.h"
#include "hadal/net/exchange.h"
#include "hadal/obs/registry.h"

namespace hadal::gateway {

class RolloutMetrics {
 public:
  explicit RolloutMetrics(obs::Registry& registry);
  void answered(const std::string& rollout, const std::string& arm, std::string_view outcome);
  void first_token(const std::string& rollout, const std::string& arm, double seconds);
  void share(const std::string& rollout, double candidate);
  void changed(const std::string& rollout, std::string_view phase);
  void copied(const std::string& rollout, std::string_view outcome);
  void write_failed();

 private:
  obs::Family<obs::Counter>&answers_, &changes_, &copies_;
  obs::Family<obs::Histogram>& first_token_;
  obs::Family<obs::Gauge>& share_;
  obs::Counter& failed_writes_;
};

class LiveRollout {
 public:
  LiveRollout(Rollout machine, std::vector<Probe> probes, std::string spec,
              std::shared_ptr<RolloutMetrics> metrics);

  // None of these change while it lives.
  const RolloutConfig& config() const { return config_; }
  const std::vector<Probe>& probes() const { return probes_; }
  const std::string& spec() const { return spec_; }  // empty: hadal.yaml declares it
  const std::vector<std::string>& arms() const { return arms_; }
  const std::vector<std::string>& refusals() const { return refusals_; }
  RolloutMetrics& metrics() { return *metrics_; }

  // Where a user's request goes now. Active is false where nothing is touched.
  struct Seat {
    bool active = false;
    size_t arm = 0;
    int64_t epoch = 0;
    RolloutTarget target;
  };
  Seat seat(uint64_t user) const;
  Seat seat_at(size_t arm) const;
  double share(size_t arm) const;

  void observe(const Seat& seat, const Observation& seen);
  // A place for one more copy; give_back() when it has ended.
  bool take_place();
  void give_back();

  RolloutState state() const;
  Verdict verdict() const;
  // The machine itself, for its one owner.
  template <class Do>
  auto with(Do work) {
    std::lock_guard lock(mutex_);
    return work(machine_);
  }
  // Whether something was observed since the last call.
  bool take_news();

 private:
  const RolloutConfig config_;
  const std::vector<Probe> probes_;
  const std::string spec_;
  const std::vector<std::string> arms_;
  const std::vector<std::string> refusals_;
  const std::shared_ptr<RolloutMetrics> metrics_;  // shared with those that replace this

  mutable std::mutex mutex_;  // everything below; nothing else is locked while it is held
  Rollout machine_;
  int copies_ = 0;
  bool news_ = false;
};

// Measures one answer for its arm. Not one that was given again from a cache, nor a refusal that
// any arm would have answered: no key, a limit.
class AnswerWatch : public net::AnswerTap {
 public:
  // `notes`: the request's; null: none. `clock` must outlive this.
  AnswerWatch(std::shared_ptr<LiveRollout> rollout, LiveRollout::Seat seat, const Clock& clock,
              Nanos began, std::shared_ptr<net::RequestNotes> notes, size_t text_max = 512);

  void on_head(int status, const std::vector<net::Header>& headers) override;
  void on_bytes(std::string_view bytes) override;
  void on_client_left() override { left_ = true; }
  void on_end(bool whole) override;

 protected:
  const std::shared_ptr<LiveRollout>& rollout() const { return rollout_; }
  const LiveRollout::Seat& seat() const { return seat_; }
  const AnswerScan& scan() const { return scan_; }
  int status() const { return status_; }

 private:
  Observation seen(bool whole) const;
  bool says_nothing() const;

  const std::shared_ptr<LiveRollout> rollout_;  // shared: a reload may replace it meanwhile
  const LiveRollout::Seat seat_;
  const Clock& clock_;
  const Nanos began_;
  const std::shared_ptr<net::RequestNotes> notes_;
  AnswerScan scan_;
  int status_ = 0;
  bool limited_ = false;
  bool left_ = false;
  Nanos first_{0}, last_{0};
};

}  // namespace hadal::gateway
