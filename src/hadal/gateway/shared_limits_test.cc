// Against real servers, started here on sockets of their own.
#include "hadal/gateway/shared_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <map>
#include <thread>
#include <vector>

#include "hadal/base/rng.h"
#include "hadal/gateway/testing/store_servers.h"

namespace hadal::gateway {
namespace {

using testing::StoreServer;

constexpr int64_t kNow = 1'700'006'400;

TEST(SharedLimitsUrl, Forms) {
  for (const char* good :
       {"redis://localhost", "redis://h:1", "redis://:p@h:6379/3", "redis://[::1]:7",
        "redis://[::1]", "redis://h/", "unix:///run/redis.sock", "redis://:a@b@h", "postgresql://",
        "postgres://h", "postgresql://u:p@h:1/d?sslmode=require",
        "postgresql:///d?host=/run/postgresql"}) {
    EXPECT_TRUE(SharedLimits::check_url(good)) << good;
  }
  for (const char* bad :
       {"postgres://[", "postgresql://h/d?nonsense=1", "", "h:1", "http://h", "redis://",
        "redis://h:", "redis://h:0", "redis://h:x", "redis://h:65536", "redis://h/x",
        "redis://h/-1", "redis://user:p@h", "unix://relative", "redis://:p@"}) {
    EXPECT_FALSE(SharedLimits::check_url(bad)) << bad;
  }
}

// Each test has a tenant of its own, as all of a kind share one server.
class SharedLimitsTest : public ::testing::TestWithParam<std::string> {
 protected:
  static void TearDownTestSuite() { servers().clear(); }
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    auto& [server, why] = servers()[GetParam()];
    if (server == nullptr && why.empty()) {
      server = GetParam() == "Redis" ? StoreServer::redis(&why) : StoreServer::postgres(&why);
    }
    if (server == nullptr) GTEST_SKIP() << why;
    server_ = server.get();
    tenant_ = std::string("tenant:") +
              ::testing::UnitTest::GetInstance()->current_test_info()->name() + " \"\\,{}'";
    static std::atomic<int> runs{0};
    tenant_ += std::to_string(++runs);
  }
  std::unique_ptr<SharedLimits> connect(Nanos lease = std::chrono::seconds(60)) {
    auto limits = SharedLimits::make({server_->url(), std::chrono::seconds(5), lease});
    EXPECT_TRUE(limits);
    const Status status = (*limits)->reconnect();
    EXPECT_TRUE(status) << status.error().what;
    return std::move(*limits);
  }
  std::vector<Subject> who(LimitValues hard, LimitValues soft = {},
                           const std::string& more = {}) const {
    return {{tenant_ + more, "tenant 'a'", hard, soft}};
  }
  static std::string limit_of(const Result<Admission>& admission) {
    if (!admission) return admission.error().what;
    return admission->refused ? std::string(limit_name(admission->refused->limit)) : "none";
  }

  StoreServer* server_ = nullptr;
  std::string tenant_;

 private:
  using Servers = std::map<std::string, std::pair<std::unique_ptr<StoreServer>, std::string>>;
  static Servers& servers() {
    static Servers servers;
    return servers;
  }
};
INSTANTIATE_TEST_SUITE_P(Store, SharedLimitsTest, ::testing::Values("Redis", "Postgres"),
                         [](const auto& info) { return info.param; });

TEST_P(SharedLimitsTest, EachLimitHoldsAcrossGateways) {
  auto one = connect(), two = connect();
  SharedLimits::Ticket ticket, other;
  const auto rate = who({.requests_per_second = 0.001, .burst = 2});
  EXPECT_EQ(limit_of(one->admit(rate, {}, kNow, &ticket)), "none");
  EXPECT_EQ(limit_of(two->admit(rate, {}, kNow, &ticket)), "none");
  const auto refused = two->admit(rate, {}, kNow, &ticket);
  EXPECT_EQ(limit_of(refused), "requests_per_second");
  EXPECT_NEAR(to_seconds(refused->refused->retry_after), 1'000, 10);

  auto subject = who({.tokens_per_minute = 100}, {}, "minute");
  EXPECT_EQ(limit_of(one->admit(subject, {60, 0}, kNow, &ticket)), "none");
  EXPECT_EQ(limit_of(two->admit(subject, {41, 0}, kNow, &other)), "tokens_per_minute");
  ASSERT_TRUE(one->settle(subject, {60, 0}, {10, 0}, ticket));
  EXPECT_EQ(limit_of(two->admit(subject, {90, 0}, kNow, &other)), "none");
  const auto full = one->admit(subject, {1, 0}, kNow, &ticket);
  EXPECT_EQ(limit_of(full), "tokens_per_minute");
  EXPECT_GT(full->refused->retry_after, std::chrono::seconds(50));
  EXPECT_TRUE(one->admit(subject, {101, 0}, kNow, &ticket)->refused->impossible);

  subject = who({.tokens_per_day = 100}, {}, "day");
  EXPECT_EQ(limit_of(one->admit(subject, {100, 0}, kNow, &ticket)), "none");
  EXPECT_EQ(two->admit(subject, {1, 0}, kNow + 86'399, &other)->refused->retry_after,
            std::chrono::seconds(1));
  EXPECT_EQ(limit_of(two->admit(subject, {1, 0}, kNow + 86'400, &other)), "none");

  subject = who({.money_per_month = 1e-6}, {}, "month");
  EXPECT_EQ(limit_of(one->admit(subject, {0, 1'000}, kNow, &ticket)), "none");
  EXPECT_EQ(limit_of(two->admit(subject, {0, 1}, kNow + 15 * 86'400, &other)), "money_per_month");
  EXPECT_EQ(limit_of(two->admit(subject, {0, 1}, kNow + 16 * 86'400, &other)), "none");
}

TEST_P(SharedLimitsTest, ConcurrencyIsFreedBySettlingAndByTheLeasesEnd) {
  auto one = connect(std::chrono::milliseconds(300)), two = connect();
  const auto subject = who({.concurrent = 1});
  SharedLimits::Ticket ticket, other;
  EXPECT_EQ(limit_of(two->admit(subject, {}, kNow, &ticket)), "none");
  EXPECT_EQ(limit_of(one->admit(subject, {}, kNow, &other)), "concurrent");
  ASSERT_TRUE(two->settle(subject, {}, {}, ticket));
  EXPECT_EQ(limit_of(one->admit(subject, {}, kNow, &other)), "none");
  // As if gateway one had been killed.
  one.reset();
  for (int i = 0; i < 100 && limit_of(two->admit(subject, {}, kNow, &ticket)) != "none"; ++i) {
    ::usleep(20'000);
  }
  EXPECT_EQ(limit_of(two->admit(subject, {}, kNow, &other)), "concurrent");
  ASSERT_TRUE(two->renew(subject, ticket));
}

TEST_P(SharedLimitsTest, AllSubjectsOrNone) {
  auto one = connect();
  SharedLimits::Ticket ticket;
  const Subject tenant{tenant_, "tenant 'a'", {.tokens_per_day = 100}, {.tokens_per_day = 20}};
  const Subject key{tenant_ + "key", "key 1", {.tokens_per_day = 10}, {}};
  const std::vector<Subject> both = {tenant, key}, alone = {tenant};
  const auto refused = one->admit(both, {11, 0}, kNow, &ticket);
  EXPECT_EQ(refused->refused->subject, "key 1");
  EXPECT_EQ(refused->refused->allowed, 10);
  EXPECT_EQ(limit_of(one->admit(alone, {100, 0}, kNow, &ticket)), "none");
  ASSERT_TRUE(one->settle(alone, {100, 0}, {15, 0}, ticket));
  EXPECT_TRUE(one->admit(both, {5, 0}, kNow, &ticket)->soft.empty());
  const auto soft = one->admit(both, {5, 0}, kNow, &ticket);
  ASSERT_EQ(soft->soft.size(), 1u);
  EXPECT_EQ(soft->soft[0].limit, Limit::kTokensPerDay);
  EXPECT_EQ(soft->soft[0].subject, "tenant 'a'");
}

// What one process decides by itself, a store decides the same. Without requests a second, which
// follow the store's clock.
TEST_P(SharedLimitsTest, DecidesAsOneProcessDoes) {
  auto store = connect();
  LimitBook book;
  Rng rng(7);
  const auto below = [&](int64_t bound) { return static_cast<int64_t>(rng.next() % bound); };
  struct Admitted {
    std::vector<Subject> subjects;
    Cost estimate;
    SharedLimits::Ticket ticket;
    Moment at;
  };
  std::vector<Admitted> running;
  const auto began = std::chrono::steady_clock::now();
  int refused = 0, impossible = 0, admitted = 0;
  for (int i = 0; i < 600 && !HasFailure(); ++i) {
    const int64_t unix_seconds = kNow + i * 600;  // over days and into another month
    const Moment now{std::chrono::hours(1) + (std::chrono::steady_clock::now() - began),
                     unix_seconds};
    if (!running.empty() && below(2) == 0) {
      const auto at = running.begin() + below(static_cast<int64_t>(running.size()));
      const Cost actual{below(2 * at->estimate.tokens + 1), below(2 * at->estimate.nanos + 1)};
      ASSERT_TRUE(store->settle(at->subjects, at->estimate, actual, at->ticket));
      book.settle(at->subjects, at->estimate, actual, at->at, now);
      running.erase(at);
      continue;
    }
    // Two keys of one tenant.
    const LimitValues tenant{.tokens_per_minute = 400'000,
                             .tokens_per_day = 4'000,
                             .concurrent = 9,
                             .money_per_month = 2e-5};
    const LimitValues key{.tokens_per_day = 2'500, .concurrent = 6, .money_per_month = 1.5e-5};
    const std::string name = tenant_ + "key" + std::to_string(below(2));
    std::vector<Subject> subjects = who(tenant);
    subjects.push_back({name, "the key", key, {}});
    const Cost estimate{below(40) == 0 ? 5'000 : below(300), below(500)};
    SharedLimits::Ticket ticket;
    const auto shared = store->admit(subjects, estimate, unix_seconds, &ticket);
    ASSERT_TRUE(shared) << shared.error().what;
    const Admission local = book.admit(subjects, estimate, now);
    ASSERT_EQ(shared->refused.has_value(), local.refused.has_value()) << i;
    if (local.refused) {
      EXPECT_EQ(shared->refused->limit, local.refused->limit) << i;
      EXPECT_EQ(shared->refused->subject, local.refused->subject) << i;
      EXPECT_EQ(shared->refused->impossible, local.refused->impossible) << i;
      impossible += local.refused->impossible;
      ++refused;
    } else {
      running.push_back({subjects, estimate, ticket, now});
      ++admitted;
    }
  }
  EXPECT_GT(refused, 20);
  EXPECT_GT(impossible, 2);
  EXPECT_GT(admitted, 50);
}

// Many threads of four gateways, each as fast as it can: what all were given is the limit, neither
// over it nor short of it.
TEST_P(SharedLimitsTest, ARaceIsNeverOver) {
  std::atomic<int64_t> given{0};
  const auto subject = who({.tokens_per_day = 5'000});
  std::vector<std::thread> threads;
  std::vector<std::unique_ptr<SharedLimits>> gateways;
  for (int i = 0; i < 4; ++i) gateways.push_back(connect());
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; n < 200; ++n) {
        SharedLimits::Ticket ticket;
        const auto admission =
            gateways[static_cast<size_t>(i / 2)]->admit(subject, {10, 0}, kNow, &ticket);
        if (admission && !admission->refused) given += 10;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(given, 5'000);
}

TEST_P(SharedLimitsTest, GoneAndBack) {
  auto one = connect();
  const auto subject = who({.tokens_per_day = 100});
  SharedLimits::Ticket ticket;
  EXPECT_EQ(limit_of(one->admit(subject, {10, 0}, kNow, &ticket)), "none");
  server_->stop();
  EXPECT_FALSE(one->admit(subject, {10, 0}, kNow, &ticket));
  EXPECT_FALSE(one->connected());
  EXPECT_FALSE(one->settle(subject, {}, {}, ticket)) << "fails at once";
  EXPECT_FALSE(one->reconnect());
  ASSERT_TRUE(server_->start());
  ASSERT_TRUE(one->reconnect());
  // Whether it still knows of the 10 is its own affair.
  ASSERT_TRUE(one->charge(tenant_, {90, 0}, kNow));
  EXPECT_EQ(limit_of(one->admit(subject, {11, 0}, kNow, &ticket)), "tokens_per_day");
  EXPECT_EQ(limit_of(one->admit(subject, {}, kNow, &ticket)), "none");
}

}  // namespace
}  // namespace hadal::gateway
