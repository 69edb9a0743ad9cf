// A whole service in invented time: tenants whose clients come and leave, limits, the fair line,
// the fleet's choice, and replicas that run the real scheduler, crawl, hang, die and come back.
// What must hold holds after every event, whatever the seed.
//
// HADAL_SCENARIOS=N runs so many (150). A failing seed is printed; --gtest_random_seed=SEED replays
// it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>

#include "hadal/base/rng.h"
#include "hadal/base/testing/event_queue.h"
#include "hadal/gateway/calendar.h"
#include "hadal/gateway/fair_queue.h"
#include "hadal/gateway/fleet.h"
#include "hadal/gateway/limit_book.h"
#include "hadal/sched/scheduler.h"

namespace hadal::apps {
namespace {

using gateway::Outcome;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Nanos kFirstToken = seconds(2);  // a gateway waits no longer
constexpr int64_t kMidnight = 1'700'006'400;

class World {
 public:
  explicit World(uint64_t seed) : rng_(seed), fleet_(seed) {
    began_ = kMidnight - below(40);  // the day ends in the middle
    const int32_t tenants = 1 + below(4);
    for (int32_t i = 0; i < tenants; ++i) add_tenant(i);
    rules_.strategy = static_cast<gateway::Strategy>(below(4));
    rules_.retries = below(3);
    const int32_t replicas = 1 + below(4);
    for (int32_t i = 0; i < replicas; ++i) add_replica(i);
    std::vector<gateway::BackendRules> backends;
    for (const Replica& replica : replicas_) backends.push_back(replica.rules);
    fleet_.configure(rules_, backends);
    width_ = 1 + below(40);
  }

  void run() {
    const Nanos end = seconds(15);
    at(Nanos(0), [this] { arrive(); });
    at(some_time(2), [this] { change_fate(); });
    at(Nanos(0), [this] { check_health(); });
    while (!events_.empty() && !::testing::Test::HasFailure()) {
      if (events_.next() >= end && !stopping_) {
        stopping_ = true;
        for (size_t i = 0; i < replicas_.size(); ++i) set_fate(i, Fate::kGood, 1);
      }
      events_.run_next();
      hold();
    }
    if (!::testing::Test::HasFailure()) look_at_the_end();
  }
  int64_t requests() const { return requests_made_; }
  int64_t answered() const { return answered_; }

 private:
  enum class Fate { kGood, kHangs, kDead };
  enum class Place { kLine, kWaitsForPlace, kReplica };
  struct Tenant {
    std::string name;
    double weight;
    int32_t priority;
    std::vector<gateway::Subject> subjects;
    std::map<int64_t, int64_t> used;  // tokens by the day of admission
    int32_t running = 0;
  };
  struct Replica {
    gateway::BackendRules rules;
    std::unique_ptr<kv::Pool> pool;
    std::unique_ptr<sched::Scheduler> scheduler;
    sched::SchedulerOptions options;
    Fate fate = Fate::kGood;
    double speed = 1;
    bool stepping = false;
    uint64_t life = 0;  // events of an earlier one mean nothing
  };
  struct Request {
    size_t tenant;
    std::vector<int32_t> prompt;
    int32_t answer;
    gateway::Cost estimate;
    gateway::Moment admitted;
    Place place = Place::kLine;
    gateway::FairQueue::Ticket ticket = 0;
    std::vector<gateway::BackendId> tried;
    int32_t attempts = 0;
    gateway::Lease lease;
    size_t replica = 0;
    int32_t produced = 0;
  };

  int32_t below(int32_t bound) { return static_cast<int32_t>(rng_.next() % bound); }
  Nanos some_time(double mean_seconds) {
    return Nanos(static_cast<int64_t>(2e9 * mean_seconds * rng_.uniform()));
  }
  void at(Nanos after, std::function<void()> run) { events_.at(after, std::move(run)); }
  Nanos now() const { return events_.now(); }
  gateway::Moment moment() const {
    return {seconds(100) + now(), began_ + std::chrono::duration_cast<seconds>(now()).count()};
  }

  void add_tenant(int32_t index) {
    Tenant tenant;
    tenant.name = fmt::format("t{}", index);
    tenant.weight = 1 + below(4);
    tenant.priority = below(2);
    gateway::LimitValues limits;
    if (below(3) == 0) limits.tokens_per_day = 200 + below(4'000);
    if (below(3) == 0) limits.tokens_per_minute = 500 + below(4'000);
    if (below(3) == 0) limits.concurrent = 1 + below(10);
    if (below(4) == 0) limits.requests_per_second = 1 + below(20);
    tenant.subjects = {{"tenant:" + tenant.name, tenant.name, limits, {}}};
    tenants_.push_back(std::move(tenant));
  }
  void add_replica(int32_t index) {
    Replica replica;
    replica.rules.name = fmt::format("r{}", index);
    replica.rules.weight = 1 + below(3);
    replica.rules.backup = index > 0 && below(5) == 0;
    replica.rules.max_in_flight = 1 + below(12);
    replica.rules.models = {"m"};
    replica.options.context = 256;
    replica.options.running_max = 1 + below(6);
    replica.options.queue_max = 16;  // more than max_in_flight: a gateway alone never fills it
    replica.options.step_rows_max = replica.options.running_max + 8 + below(60);
    replica.options.step_logits_max = replica.options.running_max;
    replicas_.push_back(std::move(replica));
    begin_life(&replicas_.back());
  }
  static void begin_life(Replica* replica) {
    ++replica->life;
    replica->stepping = false;
    replica->scheduler.reset();
    replica->pool = std::make_unique<kv::Pool>(kv::PoolOptions{48, 8, true});
    replica->scheduler = std::make_unique<sched::Scheduler>(replica->options, *replica->pool);
  }

  // Clients.
  void arrive() {
    if (stopping_) return;
    at(some_time(0.03), [this] { arrive(); });
    ++requests_made_;
    Request request;
    request.tenant = static_cast<size_t>(below(static_cast<int32_t>(tenants_.size())));
    const int32_t shared = below(3) * 16;
    for (int32_t i = 0; i < shared; ++i) request.prompt.push_back(i);
    const int32_t own = 1 + below(40);
    for (int32_t i = 0; i < own; ++i) request.prompt.push_back(below(1'000));
    request.answer = 1 + below(40);
    const auto prompt = static_cast<int64_t>(request.prompt.size());
    request.estimate = {prompt + request.answer, 0};
    request.admitted = moment();
    Tenant& tenant = tenants_[request.tenant];
    if (book_.admit(tenant.subjects, request.estimate, request.admitted).refused) return;
    ++tenant.running;
    const uint64_t id = ++ids_;
    request.ticket = line_.push(tenant.name, tenant.weight, tenant.priority,
                                static_cast<double>(request.estimate.tokens));
    by_ticket_[request.ticket] = id;
    requests_.emplace(id, std::move(request));
    fleet_.on_request();
    if (below(8) == 0) at(some_time(1), [this, id] { leave(id); });
    let_in();
  }
  void leave(uint64_t id) {
    const auto found = requests_.find(id);
    if (found == requests_.end()) return;
    Request& request = found->second;
    if (request.place == Place::kLine) {
      EXPECT_TRUE(line_.remove(request.ticket));
      by_ticket_.erase(request.ticket);
    } else if (request.place == Place::kWaitsForPlace) {
      std::erase(wait_for_place_, id);
      --inside_;
    } else {
      EXPECT_TRUE(replicas_[request.replica].scheduler->remove(id));
      fleet_.finish(now(), request.lease, Outcome::kCancelled);
      --inside_;
    }
    end(id);
  }
  // Once for each request that was admitted: its settlement, and room for others.
  void end(uint64_t id) {
    const auto found = requests_.find(id);
    ASSERT_NE(found, requests_.end());
    const Request& request = found->second;
    Tenant& tenant = tenants_[request.tenant];
    const bool begun = request.produced > 0;
    const int64_t used = begun ? static_cast<int64_t>(request.prompt.size()) + request.produced : 0;
    book_.settle(tenant.subjects, request.estimate, {used, 0}, request.admitted, moment());
    tenant.used[gateway::day_of(request.admitted.unix_seconds)] += used;
    --tenant.running;
    requests_.erase(found);
    at(Nanos(0), [this] { let_in(); });
  }

  // The gateway.
  void let_in() {
    while (!wait_for_place_.empty()) {
      const uint64_t id = wait_for_place_.front();
      wait_for_place_.pop_front();
      if (!attempt(id, true)) break;
    }
    while (inside_ < width_) {
      const auto ticket = line_.pop();
      if (!ticket) return;
      const uint64_t id = by_ticket_.at(*ticket);
      by_ticket_.erase(*ticket);
      ++inside_;
      attempt(id, false);
    }
  }
  // False: it waits for a place at a replica.
  bool attempt(uint64_t id, bool in_front) {
    Request& request = requests_.at(id);
    const auto lease = fleet_.start(now(), {"m", request.prompt.front() == 0 ? 1u : 2u,
                                            request.estimate.tokens, &request.tried});
    if (!lease && lease.error() == gateway::NoBackend::kFull) {
      request.place = Place::kWaitsForPlace;
      in_front ? wait_for_place_.push_front(id) : wait_for_place_.push_back(id);
      return false;
    }
    if (!lease) {
      for (const auto& view : fleet_.view(now())) {
        EXPECT_NE(view.condition, gateway::Condition::kUp) << "refused, but " << view.name;
      }
      --inside_;
      end(id);
      return true;
    }
    request.place = Place::kReplica;
    request.lease = *lease;
    request.replica = std::stoul(fleet_.name(lease->backend).substr(1));
    request.tried.push_back(lease->backend);
    ++request.attempts;
    Replica& replica = replicas_[request.replica];
    if (replica.fate == Fate::kDead) {
      at(milliseconds(1), [this, id, attempts = request.attempts] { fail(id, attempts, true); });
      return true;
    }
    const Status submitted = replica.scheduler->submit(
        {id, request.prompt, static_cast<int32_t>(request.estimate.tokens), 0,
         tenants_[request.tenant].name, false},
        now());
    EXPECT_TRUE(submitted) << submitted.error().what;
    at(kFirstToken, [this, id, attempts = request.attempts] {
      const auto found = requests_.find(id);
      if (found != requests_.end() && found->second.produced == 0) fail(id, attempts, false);
    });
    step(request.replica);
    return true;
  }
  void fail(uint64_t id, int32_t attempt_number, bool may_retry) {
    const auto found = requests_.find(id);
    if (found == requests_.end() || found->second.place != Place::kReplica ||
        found->second.attempts != attempt_number) {
      return;
    }
    Request& request = found->second;
    replicas_[request.replica].scheduler->remove(id);
    fleet_.finish(now(), request.lease, Outcome::kFailed);
    if (may_retry && request.produced == 0 && fleet_.take_retry(request.attempts)) {
      EXPECT_LE(request.attempts, rules_.retries);
      attempt(id, false);
      return;
    }
    --inside_;
    end(id);
  }
  void check_health() {
    if (stopping_ && requests_.empty()) return;
    for (const Replica& replica : replicas_) {
      fleet_.checked(*fleet_.find(replica.rules.name), replica.fate == Fate::kGood);
    }
    let_in();
    at(milliseconds(500), [this] { check_health(); });
  }

  // Replicas.
  void step(size_t index) {
    Replica& replica = replicas_[index];
    if (replica.stepping || replica.fate != Fate::kGood) return;
    const sched::Plan& plan = replica.scheduler->step(now());
    if (plan.segments.empty()) return;
    replica.stepping = true;
    std::vector<std::pair<uint64_t, bool>> ran;
    for (const sched::Segment& segment : plan.segments)
      ran.emplace_back(segment.id, segment.samples);
    const Nanos takes(static_cast<int64_t>((2e6 + 1e5 * plan.rows) / replica.speed));
    at(takes, [this, index, life = replica.life, ran, takes] {
      if (replicas_[index].life == life) stepped(index, ran, takes);
    });
  }
  void stepped(size_t index, const std::vector<std::pair<uint64_t, bool>>& ran, Nanos takes) {
    Replica& replica = replicas_[index];
    replica.stepping = false;
    replica.scheduler->advance();
    for (const auto& [id, samples] : ran) {
      const auto found = requests_.find(id);
      // Left meanwhile; a scheduler forgets it at once.
      if (!samples || found == requests_.end() || !replica.scheduler->held(id)) continue;
      Request& request = found->second;
      EXPECT_EQ(request.replica, index);
      const auto held = replica.scheduler->held(id)->tokens;
      EXPECT_EQ(held.size(), request.prompt.size() + static_cast<size_t>(request.produced));
      EXPECT_TRUE(std::equal(request.prompt.begin(), request.prompt.end(), held.begin()));
      EXPECT_TRUE(request.produced == 0 || held.back() == token_of(id, request.produced));
      ++request.produced;
      if (request.produced < request.answer) {
        replica.scheduler->append(id, token_of(id, request.produced));
        continue;
      }
      replica.scheduler->remove(id);
      fleet_.finish(now(), request.lease, Outcome::kGood);
      ++answered_;
      --inside_;
      end(id);
    }
    replica.scheduler->took(takes);
    EXPECT_EQ(replica.scheduler->audit(), "");
    step(index);
  }
  static int32_t token_of(uint64_t id, int32_t number) {
    return static_cast<int32_t>(id % 10'000) * 100 + number;
  }
  void change_fate() {
    if (stopping_) return;
    constexpr std::pair<Fate, double> kFates[] = {{Fate::kGood, 1},
                                                  {Fate::kGood, 1},
                                                  {Fate::kGood, 0.1},
                                                  {Fate::kHangs, 1},
                                                  {Fate::kDead, 1}};
    const auto& [fate, speed] = kFates[below(5)];
    set_fate(static_cast<size_t>(below(static_cast<int32_t>(replicas_.size()))), fate, speed);
    at(some_time(1), [this] { change_fate(); });
  }
  void set_fate(size_t index, Fate fate, double speed) {
    Replica& replica = replicas_[index];
    const bool dies = fate == Fate::kDead && replica.fate != Fate::kDead;
    replica.fate = fate;
    replica.speed = speed;
    if (dies) {  // every connection breaks
      std::vector<std::pair<uint64_t, int32_t>> there;
      for (const auto& [id, request] : requests_) {
        if (request.place == Place::kReplica && request.replica == index) {
          there.emplace_back(id, request.attempts);
        }
      }
      begin_life(&replica);
      for (const auto& [id, attempts] : there) fail(id, attempts, true);
    }
    step(index);
  }

  // After every event.
  void hold() {
    std::vector<int32_t> at_replica(replicas_.size(), 0);
    int32_t inside = 0;
    for (const auto& [id, request] : requests_) {
      inside += request.place != Place::kLine;
      if (request.place == Place::kReplica) ++at_replica[request.replica];
    }
    ASSERT_EQ(inside, inside_);
    ASSERT_LE(inside_, width_);
    ASSERT_EQ(line_.size(), by_ticket_.size());
    ASSERT_EQ(requests_.size(), line_.size() + static_cast<size_t>(inside_));
    for (const auto& view : fleet_.view(now())) {
      const size_t index = std::stoul(view.name.substr(1));
      ASSERT_EQ(view.in_flight, at_replica[index]) << view.name;
      ASSERT_LE(view.in_flight, replicas_[index].rules.max_in_flight) << view.name;
    }
    for (const Tenant& tenant : tenants_) {
      const gateway::Subject& subject = tenant.subjects[0];
      const auto used = book_.used(subject.id, moment());
      ASSERT_EQ(used.running, tenant.running) << tenant.name;
      if (subject.hard.concurrent > 0) {
        ASSERT_LE(tenant.running, subject.hard.concurrent);
      }
      if (subject.hard.tokens_per_day > 0) {
        ASSERT_LE(used.tokens_day, subject.hard.tokens_per_day) << tenant.name;
        for (const auto& [day, tokens] : tenant.used)
          ASSERT_LE(tokens, subject.hard.tokens_per_day);
      }
      if (subject.hard.tokens_per_minute > 0) {
        ASSERT_LE(used.tokens_minute, subject.hard.tokens_per_minute) << tenant.name;
      }
    }
  }
  void look_at_the_end() {
    EXPECT_TRUE(requests_.empty()) << requests_.size() << " requests were never ended";
    EXPECT_EQ(inside_, 0);
    for (const auto& view : fleet_.view(now())) {
      EXPECT_EQ(view.in_flight, 0);
      EXPECT_EQ(view.tokens, 0);
    }
    for (Replica& replica : replicas_) {
      EXPECT_TRUE(replica.scheduler->idle());
      EXPECT_EQ(replica.pool->available_blocks(), replica.pool->blocks());
    }
    for (Tenant& tenant : tenants_) {
      const auto used = book_.used(tenant.subjects[0].id, moment());
      EXPECT_EQ(used.running, 0);
      EXPECT_EQ(used.tokens_day, tenant.used[gateway::day_of(moment().unix_seconds)]);
    }
  }

  Rng rng_;
  int64_t began_ = 0;  // unix seconds
  std::vector<Tenant> tenants_;
  gateway::LimitBook book_;
  gateway::FairQueue line_;
  std::map<gateway::FairQueue::Ticket, uint64_t> by_ticket_;
  gateway::FleetRules rules_;
  gateway::Fleet fleet_;
  std::vector<Replica> replicas_;
  std::map<uint64_t, Request> requests_;  // admitted and not ended
  std::deque<uint64_t> wait_for_place_;
  int32_t width_ = 1, inside_ = 0;  // requests that left the line
  hadal::testing::EventQueue events_;
  uint64_t ids_ = 0;
  int64_t requests_made_ = 0, answered_ = 0;
  bool stopping_ = false;
};

TEST(WorldSimulation, WhatMustHoldHoldsForEverySeed) {
  const char* wanted = std::getenv("HADAL_SCENARIOS");
  const int scenarios = wanted != nullptr ? std::max(1, std::atoi(wanted)) : 150;
  const int only = GTEST_FLAG_GET(random_seed);
  int64_t requests = 0, answered = 0;
  const auto began = std::chrono::steady_clock::now();
  for (int seed = only > 0 ? only : 1; seed <= (only > 0 ? only : scenarios); ++seed) {
    SCOPED_TRACE("--gtest_random_seed=" + std::to_string(seed));
    World world(static_cast<uint64_t>(seed));
    world.run();
    requests += world.requests();
    answered += world.answered();
    if (HasFailure()) return;
  }
  const double minutes = to_seconds(std::chrono::steady_clock::now() - began) / 60;
  EXPECT_GT(answered, requests / 10);
  RecordProperty("requests", std::to_string(requests));
  RecordProperty("answered", std::to_string(answered));
  RecordProperty("scenarios_a_minute", std::to_string(only > 0 ? 0 : int(scenarios / minutes)));
}

}  // namespace
}  // namespace hadal::apps
