#include "hadal/gateway/metering.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "hadal/base/testing/temporary_folder.h"

namespace hadal::gateway {
namespace {

using ::testing::HasSubstr;

class MeteringTest : public ::testing::Test {
 protected:
  MeteringTest() { tenant_.name = "a"; }
  std::shared_ptr<Metering> make(MeteringOptions options) {
    registry_ = std::make_shared<obs::Registry>();
    auto metering = Metering::make(std::move(options), registry_, clock_, {});
    EXPECT_TRUE(metering) << metering.error().what;
    return metering ? *metering : nullptr;
  }
  MeterAsk ask(int64_t prompt, int64_t answer, const std::string& key = {}) {
    Caller caller{std::make_shared<const TenantConfig>(tenant_), {}, true};
    caller.key.id = key;
    caller.key.tenant = tenant_.name;
    return {std::make_shared<const Caller>(caller), "m", {1, 10, 100}, prompt, answer};
  }
  std::string metrics() const { return exposition(*registry_); }

  const hadal::testing::TemporaryFolder temporary_;
  const std::string folder_ = temporary_.path();
  const std::string path_ = folder_ + "/hadal.db";
  TenantConfig tenant_;
  FakeClock clock_;
  std::shared_ptr<obs::Registry> registry_;
};

// As for an answer of the cache.
TEST_F(MeteringTest, AnAskWithoutTokensCountsAndIsWrittenBehind) {
  tenant_.limits.concurrent = 2;
  tenant_.limits.tokens_per_day = 10;
  {
    auto metering = make({.usage_path = path_});
    auto first = metering->admit(ask(0, 0, "k"));
    auto second = metering->admit(ask(0, 0, "k"));
    ASSERT_TRUE(first && second);
    EXPECT_EQ(metering->admit(ask(0, 0, "k")).error().limit, "concurrent");
    second->reset();
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(metering->admit(ask(0, 0, "k")));
    first->reset();
    metering->flush();
    auto rows = UsageStore::open(path_).value()->sums(0, 1'000'000);
    ASSERT_EQ(rows->size(), 1u);
    EXPECT_EQ(rows->front().requests, 22);
    EXPECT_EQ(rows->front().used, Tokens());
    EXPECT_EQ(rows->front().held, Cost());
    ASSERT_TRUE(metering->admit(ask(0, 0, "k")));
  }
  // The end writes what is left.
  EXPECT_EQ(UsageStore::open(path_).value()->sums(0, 1'000'000)->front().requests, 23);
}

TEST_F(MeteringTest, AnEstimateIsChargedAndWhatIsNotUsedComesBack) {
  tenant_.limits.tokens_per_day = 100;
  auto metering = make({});
  auto first = metering->admit(ask(20, 60));
  ASSERT_TRUE(first);
  auto refused = metering->admit(ask(20, 60));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kExhausted);
  EXPECT_EQ(refused.error().limit, "tokens_per_day");
  EXPECT_THAT(refused.error().what, HasSubstr("tenant 'a': tokens_per_day (100) is used up"));
  EXPECT_GT(refused.error().retry_after, 1);
  (*first)->settle({5, 15, 0});
  (*first)->settle({5, 15, 1'000});  // once
  EXPECT_TRUE(metering->admit(ask(20, 60)));
  EXPECT_THAT(metrics(),
              HasSubstr(R"(hadal_tenant_tokens_total{tenant="a",kind="input_miss"} 15)"));
  EXPECT_THAT(metrics(),
              HasSubstr(R"(hadal_limit_refusals_total{tenant="a",limit="tokens_per_day"} 1)"));
}

TEST_F(MeteringTest, ARequestThatNeverRanCostsNothing) {
  tenant_.limits.tokens_per_day = 100;
  auto metering = make({});
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(metering->admit(ask(50, 50)));
}

TEST_F(MeteringTest, ARequestOverTheWholeLimitIsToldSo) {
  tenant_.limits.tokens_per_minute = 100;
  const auto refused = make({})->admit(ask(50, 51));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kTooLarge);
  EXPECT_THAT(refused.error().what, HasSubstr("max_tokens"));
}

TEST_F(MeteringTest, KeysHaveTheTenantsKeyLimitsUnlessTheyHaveTheirOwn) {
  tenant_.key_limits.tokens_per_day = 50;
  auto metering = make({});
  auto one = metering->admit(ask(10, 30, "k1"));
  EXPECT_TRUE(one);
  EXPECT_EQ(metering->admit(ask(10, 30, "k1")).error().what.substr(0, 6), "key k1");
  EXPECT_TRUE(metering->admit(ask(10, 30, "k2")));
  MeterAsk own = ask(10, 100, "k3");
  Caller caller = *own.caller;
  caller.key.hard.tokens_per_day = 200;
  own.caller = std::make_shared<const Caller>(caller);
  EXPECT_TRUE(metering->admit(own));
}

TEST_F(MeteringTest, SoftLimitsAreInTheHeaders) {
  tenant_.soft_limits.money_per_month = 1e-6;
  auto metering = make({});
  auto permit = metering->admit(ask(1, 1));
  ASSERT_TRUE(permit);
  ASSERT_EQ((*permit)->headers().size(), 1u);
  EXPECT_EQ((*permit)->headers()[0].value, "money_per_month tenant 'a'");
}

TEST_F(MeteringTest, DayAndMonthSurviveARestart) {
  tenant_.limits.tokens_per_day = 100;
  tenant_.limits.money_per_month = 1;
  {
    auto metering = make({.usage_path = path_});
    auto permit = metering->admit(ask(20, 60, "k"));
    ASSERT_TRUE(permit);
    (*permit)->settle({10, 10, 40});
  }
  auto metering = make({.usage_path = path_});
  EXPECT_FALSE(metering->admit(ask(1, 40)));
  EXPECT_TRUE(metering->admit(ask(0, 40)));
  const auto rows = *metering->usage()->sums(0, 1'000'000);
  ASSERT_EQ(rows.size(), 2u);
  const UsageRow& row = rows[1];
  EXPECT_EQ(row.key, "k");
  EXPECT_EQ(row.model, "m");
  EXPECT_EQ(row.requests, 1);
  EXPECT_EQ(row.used, (Tokens{10, 10, 40}));
  EXPECT_EQ(row.nanos, 10 * 1'000 + 10 * 10'000 + 40 * 100'000);
  EXPECT_EQ(row.held, Cost{});
}

TEST_F(MeteringTest, WhatAKilledProcessHadNotSettledStaysCharged) {
  tenant_.limits.tokens_per_day = 100;
  int pipes[2];
  ASSERT_EQ(::pipe(pipes), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto metering = make({.usage_path = path_});
    auto settled = metering->admit(ask(10, 10));
    (*settled)->settle({0, 10, 5});
    metering->flush();
    auto open = metering->admit(ask(30, 30));
    const char done = open ? '1' : '0';
    while (::write(pipes[1], &done, 1) < 0) continue;
    for (;;) ::pause();
  }
  char done = 0;
  ASSERT_EQ(::read(pipes[0], &done, 1), 1);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(pipes[0]);
  ::close(pipes[1]);
  EXPECT_EQ(done, '1');
  auto metering = make({.usage_path = path_});
  EXPECT_FALSE(metering->admit(ask(0, 26))) << "15 used, 60 held";
  EXPECT_TRUE(metering->admit(ask(0, 25)));
}

TEST_F(MeteringTest, AStoreThatIsGone) {
  tenant_.limits.tokens_per_day = 100;
  const std::string nobody = "unix://" + folder_ + "/no.socket";
  auto strict = make({.shared = nobody});
  EXPECT_EQ(strict->shared(), Metering::Shared::kLost);
  EXPECT_THAT(metrics(), HasSubstr("hadal_limit_store_up 0"));
  const auto refused = strict->admit(ask(1, 1));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnavailable);
  const TenantConfig limited = tenant_;
  tenant_.limits = {};
  EXPECT_TRUE(strict->admit(ask(1, 1))) << "who has no limit needs no store";
  tenant_ = limited;
  auto lenient = make({.shared = nobody, .refuse_on_loss = false, .local_share = 0.3});
  auto first = lenient->admit(ask(0, 30));
  EXPECT_TRUE(first);
  EXPECT_FALSE(lenient->admit(ask(0, 1)));
}

}  // namespace
}  // namespace hadal::gateway
