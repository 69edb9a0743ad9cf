// One request's way past the limits and to the model: its permit, and its place among those who
// wait for the model.
//
// Threads: any.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "hadal/gateway/fair_queue.h"
#include "hadal/gateway/journey.h"
#include "hadal/gateway/metering.h"

namespace hadal::apps {

// Lets so many into the model at once, the others in a fair order.
class ModelGate {
 public:
  // `in_flight` sequences at once; `waiting` requests beside them.
  ModelGate(int64_t in_flight, int64_t waiting, obs::Registry& registry);
  ~ModelGate();  // who still waits is never begun

  void resize(int64_t in_flight, int64_t waiting);

 private:
  friend class Turn;
  struct Request {
    std::string tenant;
    int64_t sequences = 0;
    gateway::FairQueue::Ticket ticket = 0;
    std::function<void()> begin;
    bool begun = false;
  };
  uint64_t next_id() { return ++ids_; }
  // Begins at once, in this thread, when there is room; else later, in the gate's. False: too many
  // wait.
  bool enter(uint64_t id, const gateway::TenantConfig& tenant, double tokens, int64_t sequences,
             std::function<void()> begin);
  // Known or not, begun or not.
  void leave(uint64_t id);
  void work();
  void show(const std::string& tenant);

  obs::Family<obs::Gauge>& gauge_;
  std::atomic<uint64_t> ids_{0};
  std::mutex mutex_;  // everything below
  std::condition_variable wake_;
  int64_t in_flight_max_;
  int64_t waiting_max_;
  int64_t in_flight_ = 0;
  gateway::FairQueue queue_;
  std::map<gateway::FairQueue::Ticket, uint64_t> by_ticket_;
  std::map<uint64_t, Request> requests_;
  bool ended_ = false;
  std::thread worker_;
};

class Turn {
 public:
  // Each may be null. `journey`: is told what was used.
  Turn(std::shared_ptr<gateway::Permit> permit, std::shared_ptr<ModelGate> gate,
       std::shared_ptr<gateway::Journey> journey = nullptr);
  ~Turn();  // end({})

  // Calls `begin` once, now or later, or never when end() comes first; it may hold this turn.
  // False: too many wait, and it will not be called.
  bool enter(int64_t sequences, std::function<void()> begin);
  // Once; later calls do nothing.
  void end(const gateway::Tokens& used);
  // For the answer.
  std::vector<net::Header> headers() const;

 private:
  const std::shared_ptr<gateway::Permit> permit_;
  const std::shared_ptr<ModelGate> gate_;
  const std::shared_ptr<gateway::Journey> journey_;
  const uint64_t id_;
  std::atomic<bool> ended_{false};
};

}  // namespace hadal::apps
