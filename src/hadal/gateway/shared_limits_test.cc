// Against a real redis-server, started here on a socket of its own.
#include "hadal/gateway/shared_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>
#include <vector>

namespace hadal::gateway {
namespace {

constexpr int64_t kNow = 1'700'006'400;

TEST(SharedLimitsUrl, Forms) {
  for (const char* good :
       {"redis://localhost", "redis://h:1", "redis://:p@h:6379/3", "redis://[::1]:7",
        "redis://[::1]", "redis://h/", "unix:///run/redis.sock", "redis://:a@b@h"}) {
    EXPECT_TRUE(SharedLimits::check_url(good)) << good;
  }
  for (const char* bad : {"", "h:1", "http://h", "redis://", "redis://h:", "redis://h:0",
                          "redis://h:x", "redis://h:65536", "redis://h/x", "redis://h/-1",
                          "redis://user:p@h", "unix://relative", "redis://:p@"}) {
    EXPECT_FALSE(SharedLimits::check_url(bad)) << bad;
  }
}

class Redis : public ::testing::Test {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    char folder[] = "/tmp/hadal_redis_XXXXXX";
    folder_ = ::mkdtemp(folder);
    url_ = "unix://" + folder_ + "/redis.sock";
    if (!start()) GTEST_SKIP() << "redis-server is not installed";
  }
  void TearDown() override {
    stop();
    ::unlink((folder_ + "/redis.sock").c_str());
    ::rmdir(folder_.c_str());
  }
  bool start() {
    std::string socket = folder_ + "/redis.sock";
    std::vector<std::string> words = {
        "redis-server", "--port", "0",          "--save",  "",          "--unixsocket", socket,
        "--dir",        folder_,  "--loglevel", "warning", "--logfile", "/dev/null"};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    char* environment[] = {nullptr};
    const char* path = "/usr/bin/redis-server";
    if (::access(path, X_OK) != 0) return false;
    if (::posix_spawn(&process_, path, nullptr, nullptr, argv.data(), environment) != 0) {
      return false;
    }
    auto probe = connect(false);
    for (int i = 0; i < 500 && !probe->reconnect(); ++i) ::usleep(20'000);
    return probe->connected();
  }
  void stop() {
    if (process_ <= 0) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    process_ = 0;
  }
  std::unique_ptr<SharedLimits> connect(bool at_once = true,
                                        Nanos lease = std::chrono::seconds(60)) {
    auto limits = SharedLimits::make({url_, std::chrono::seconds(5), lease});
    EXPECT_TRUE(limits);
    if (at_once) {
      EXPECT_TRUE((*limits)->reconnect());
    }
    return std::move(*limits);
  }
  static std::vector<Subject> who(LimitValues hard, LimitValues soft = {}) {
    return {{"tenant:a", "tenant 'a'", hard, soft}};
  }
  static std::string limit_of(const Result<Admission>& admission) {
    if (!admission) return admission.error().what;
    return admission->refused ? std::string(limit_name(admission->refused->limit)) : "none";
  }

  std::string folder_, url_;
  pid_t process_ = 0;
};

TEST_F(Redis, EachLimitHoldsAcrossGateways) {
  auto one = connect(), two = connect();
  SharedLimits::Ticket ticket, other;
  const auto rate = who({.requests_per_second = 0.001, .burst = 2});
  EXPECT_EQ(limit_of(one->admit(rate, {}, kNow, &ticket)), "none");
  EXPECT_EQ(limit_of(two->admit(rate, {}, kNow, &ticket)), "none");
  const auto refused = two->admit(rate, {}, kNow, &ticket);
  EXPECT_EQ(limit_of(refused), "requests_per_second");
  EXPECT_NEAR(to_seconds(refused->refused->retry_after), 1'000, 10);

  auto subject = who({.tokens_per_minute = 100});
  subject[0].id = "tenant:minute";
  EXPECT_EQ(limit_of(one->admit(subject, {60, 0}, kNow, &ticket)), "none");
  EXPECT_EQ(limit_of(two->admit(subject, {41, 0}, kNow, &other)), "tokens_per_minute");
  ASSERT_TRUE(one->settle(subject, {60, 0}, {10, 0}, ticket));
  EXPECT_EQ(limit_of(two->admit(subject, {90, 0}, kNow, &other)), "none");
  const auto full = one->admit(subject, {1, 0}, kNow, &ticket);
  EXPECT_EQ(limit_of(full), "tokens_per_minute");
  EXPECT_GT(full->refused->retry_after, std::chrono::seconds(50));
  EXPECT_TRUE(one->admit(subject, {101, 0}, kNow, &ticket)->refused->impossible);

  subject = who({.tokens_per_day = 100});
  subject[0].id = "tenant:day";
  EXPECT_EQ(limit_of(one->admit(subject, {100, 0}, kNow, &ticket)), "none");
  EXPECT_EQ(two->admit(subject, {1, 0}, kNow + 86'399, &other)->refused->retry_after,
            std::chrono::seconds(1));
  EXPECT_EQ(limit_of(two->admit(subject, {1, 0}, kNow + 86'400, &other)), "none");

  subject = who({.money_per_month = 1e-6});
  subject[0].id = "tenant:month";
  EXPECT_EQ(limit_of(one->admit(subject, {0, 1'000}, kNow, &ticket)), "none");
  EXPECT_EQ(limit_of(two->admit(subject, {0, 1}, kNow + 15 * 86'400, &other)), "money_per_month");
  EXPECT_EQ(limit_of(two->admit(subject, {0, 1}, kNow + 16 * 86'400, &other)), "none");
}

TEST_F(Redis, ConcurrencyIsFreedBySettlingAndByTheLeasesEnd) {
  auto one = connect(true, std::chrono::milliseconds(300)), two = connect();
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

TEST_F(Redis, AllSubjectsOrNone) {
  auto one = connect();
  SharedLimits::Ticket ticket;
  const Subject tenant{"tenant:a", "tenant 'a'", {.tokens_per_day = 100}, {.tokens_per_day = 20}};
  const Subject key{"key:1", "key 1", {.tokens_per_day = 10}, {}};
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

// Many threads of four gateways, each as fast as it can: what all were given is the limit, neither
// over it nor short of it.
TEST_F(Redis, ARaceIsNeverOver) {
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

TEST_F(Redis, GoneAndBack) {
  auto one = connect();
  const auto subject = who({.tokens_per_day = 100});
  SharedLimits::Ticket ticket;
  EXPECT_EQ(limit_of(one->admit(subject, {10, 0}, kNow, &ticket)), "none");
  stop();
  EXPECT_FALSE(one->admit(subject, {10, 0}, kNow, &ticket));
  EXPECT_FALSE(one->connected());
  EXPECT_FALSE(one->settle(subject, {}, {}, ticket)) << "fails at once";
  EXPECT_FALSE(one->reconnect());
  ASSERT_TRUE(start());
  ASSERT_TRUE(one->reconnect());
  ASSERT_TRUE(one->charge("tenant:a", {95, 0}, kNow));
  EXPECT_EQ(limit_of(one->admit(subject, {6, 0}, kNow, &ticket)), "tokens_per_day");
  EXPECT_EQ(limit_of(one->admit(subject, {5, 0}, kNow, &ticket)), "none");
}

}  // namespace
}  // namespace hadal::gateway
