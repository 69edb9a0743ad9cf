#include "hadal/gateway/limit_book.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <vector>

#include "hadal/base/rng.h"
#include "hadal/gateway/calendar.h"

namespace hadal::gateway {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int64_t kMidnight = 1'700'006'400;  // 2023-11-15T00:00:00Z

Moment at(double second) {
  return {std::chrono::duration_cast<Nanos>(std::chrono::duration<double>(second)),
          kMidnight + static_cast<int64_t>(second)};
}
Subject subject(LimitValues hard, LimitValues soft = {}) {
  return {"tenant:a", "tenant 'a'", hard, soft};
}
std::string limit_of(const Admission& admission) {
  return admission.refused ? std::string(limit_name(admission.refused->limit)) : "none";
}

TEST(Cost, EveryKindOfTokenHasItsPrice) {
  EXPECT_EQ(cost_of({1'000'000, 2'000'000, 3'000'000}, {0.07, 0.27, 1.1}),
            (Cost{6'000'000, 3'910'000'000}));
  EXPECT_EQ(cost_of({1, 0, 0}, {0.07, 0, 0}).nanos, 70);
}

TEST(LimitBook, ABucketHasItsBurstAndFillsAtItsRate) {
  LimitBook book;
  const std::vector<Subject> who = {subject({.requests_per_second = 2, .burst = 3})};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(limit_of(book.admit(who, {}, at(0))), "none");
  const Admission over = book.admit(who, {}, at(0));
  EXPECT_EQ(limit_of(over), "requests_per_second");
  EXPECT_EQ(over.refused->retry_after, milliseconds(500));
  EXPECT_EQ(over.refused->subject, "tenant 'a'");
  EXPECT_EQ(limit_of(book.admit(who, {}, at(0.4))), "requests_per_second");
  EXPECT_EQ(limit_of(book.admit(who, {}, at(0.5))), "none");
  EXPECT_EQ(limit_of(book.admit(who, {}, at(0.5))), "requests_per_second");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(limit_of(book.admit(who, {}, at(100))), "none");
  EXPECT_EQ(limit_of(book.admit(who, {}, at(100))), "requests_per_second");
}

TEST(LimitBook, RatesBelowOneASecond) {
  LimitBook book;
  const std::vector<Subject> who = {subject({.requests_per_second = 0.1})};
  EXPECT_EQ(limit_of(book.admit(who, {}, at(0))), "none");
  EXPECT_EQ(book.admit(who, {}, at(1)).refused->retry_after, seconds(9));
  EXPECT_EQ(limit_of(book.admit(who, {}, at(10))), "none");
}

TEST(LimitBook, TheTokensOfAMinuteLeaveSecondBySecond) {
  LimitBook book;
  const std::vector<Subject> who = {subject({.tokens_per_minute = 100})};
  EXPECT_EQ(limit_of(book.admit(who, {60, 0}, at(0.5))), "none");
  EXPECT_EQ(limit_of(book.admit(who, {40, 0}, at(10))), "none");
  const Admission over = book.admit(who, {1, 0}, at(20));
  EXPECT_EQ(limit_of(over), "tokens_per_minute");
  EXPECT_EQ(over.refused->retry_after, seconds(41));
  EXPECT_EQ(book.admit(who, {61, 0}, at(20)).refused->retry_after, seconds(51));
  EXPECT_EQ(limit_of(book.admit(who, {1, 0}, at(60.9))), "tokens_per_minute");
  EXPECT_EQ(limit_of(book.admit(who, {60, 0}, at(61))), "none");
  EXPECT_EQ(limit_of(book.admit(who, {1, 0}, at(61))), "tokens_per_minute");
  EXPECT_FALSE(book.admit(who, {1, 0}, at(61)).refused->impossible);
  EXPECT_TRUE(book.admit(who, {101, 0}, at(61)).refused->impossible);
}

TEST(LimitBook, SettlingGivesBackAndTakesMore) {
  LimitBook book;
  const std::vector<Subject> who = {
      subject({.tokens_per_minute = 100, .tokens_per_day = 150, .money_per_month = 1e-5})};
  ASSERT_EQ(limit_of(book.admit(who, {100, 1'000}, at(0))), "none");
  EXPECT_EQ(limit_of(book.admit(who, {1, 0}, at(1))), "tokens_per_minute");
  book.settle(who, {100, 1'000}, {30, 300}, at(0), at(1));
  EXPECT_EQ(book.used("tenant:a", at(1)).tokens_minute, 30);
  EXPECT_EQ(book.used("tenant:a", at(1)).nanos_month, 300);
  ASSERT_EQ(limit_of(book.admit(who, {70, 700}, at(2))), "none");
  book.settle(who, {70, 700}, {130, 1'300}, at(2), at(3));
  EXPECT_EQ(book.used("tenant:a", at(3)).tokens_day, 160) << "what was used counts, over or not";
  EXPECT_EQ(limit_of(book.admit(who, {1, 0}, at(70))), "tokens_per_day");
  EXPECT_EQ(book.used("tenant:a", at(3)).running, 0);
}

TEST(LimitBook, DayAndMonthEndAtMidnight) {
  LimitBook book;
  const std::vector<Subject> who = {subject({.tokens_per_day = 10, .money_per_month = 1e-8})};
  ASSERT_EQ(limit_of(book.admit(who, {10, 0}, at(86'399))), "none");
  EXPECT_EQ(book.admit(who, {1, 0}, at(86'399)).refused->retry_after, seconds(1));
  ASSERT_EQ(limit_of(book.admit(who, {10, 10}, at(86'400))), "none");
  const Admission over = book.admit(who, {0, 1}, at(86'400));
  EXPECT_EQ(limit_of(over), "money_per_month");
  EXPECT_EQ(over.refused->retry_after, seconds(15 * 86'400))
      << "from the 16th to the end of November";
  // A refund after midnight does not make room in a day that it was not taken from.
  book.settle(who, {10, 0}, {0, 0}, at(86'399), at(86'401));
  EXPECT_EQ(book.used("tenant:a", at(86'401)).tokens_day, 10);
  // A clock set back opens nothing.
  EXPECT_EQ(limit_of(book.admit(who, {1, 0}, at(100))), "tokens_per_day");
}

TEST(LimitBook, ConcurrentCountsUntilSettled) {
  LimitBook book;
  const std::vector<Subject> who = {subject({.concurrent = 2})};
  EXPECT_EQ(limit_of(book.admit(who, {}, at(0))), "none");
  EXPECT_EQ(limit_of(book.admit(who, {}, at(0))), "none");
  EXPECT_EQ(limit_of(book.admit(who, {}, at(1'000))), "concurrent");
  book.settle(who, {}, {}, at(0), at(1'000));
  EXPECT_EQ(limit_of(book.admit(who, {}, at(1'000))), "none");
}

TEST(LimitBook, AllSubjectsOrNone) {
  LimitBook book;
  const Subject tenant{"tenant:a", "tenant 'a'", {.tokens_per_day = 100}, {}};
  const Subject one{"key:1", "key 1", {.tokens_per_day = 10}, {}};
  const Subject two{"key:2", "key 2", {.tokens_per_day = 200}, {}};
  const std::vector<Subject> first = {tenant, one}, second = {tenant, two};
  const Admission over = book.admit(first, {11, 0}, at(0));
  EXPECT_EQ(over.refused->subject, "key 1");
  EXPECT_EQ(book.used("tenant:a", at(0)).tokens_day, 0);
  EXPECT_EQ(book.used("tenant:a", at(0)).running, 0);
  EXPECT_EQ(limit_of(book.admit(second, {95, 0}, at(0))), "none");
  EXPECT_EQ(book.admit(first, {6, 0}, at(0)).refused->subject, "tenant 'a'");
  EXPECT_EQ(limit_of(book.admit(first, {5, 0}, at(0))), "none");
}

TEST(LimitBook, SoftLimitsAreToldAndStopNobody) {
  LimitBook book;
  const std::vector<Subject> who = {
      subject({.tokens_per_day = 100}, {.requests_per_second = 1, .tokens_per_day = 50})};
  EXPECT_TRUE(book.admit(who, {50, 0}, at(0)).soft.empty());
  const Admission over = book.admit(who, {20, 0}, at(0.5));
  EXPECT_FALSE(over.refused);
  ASSERT_EQ(over.soft.size(), 2u);
  EXPECT_EQ(over.soft[0].limit, Limit::kRequestsPerSecond);
  EXPECT_EQ(over.soft[1].limit, Limit::kTokensPerDay);
  EXPECT_EQ(over.soft[1].allowed, 50);
  EXPECT_EQ(limit_of(book.admit(who, {40, 0}, at(1))), "tokens_per_day");
}

TEST(LimitBook, AShareOfEachLimit) {
  LimitBook book;
  book.set_share(0.5);
  const std::vector<Subject> who = {subject({.tokens_per_day = 100, .concurrent = 1})};
  EXPECT_EQ(limit_of(book.admit(who, {51, 0}, at(0))), "tokens_per_day");
  EXPECT_EQ(limit_of(book.admit(who, {50, 0}, at(0))), "none") << "one at once remains one";
}

TEST(LimitBook, RemembersWhatWasUsedBefore) {
  LimitBook book;
  const std::vector<Subject> who = {subject({.tokens_per_day = 100, .money_per_month = 1})};
  book.restore("tenant:a", day_of(kMidnight), 90, month_of(kMidnight), 999'999'999);
  EXPECT_EQ(limit_of(book.admit(who, {11, 0}, at(0))), "tokens_per_day");
  EXPECT_EQ(limit_of(book.admit(who, {1, 2}, at(0))), "money_per_month");
  EXPECT_EQ(limit_of(book.admit(who, {10, 1}, at(0))), "none");
  EXPECT_EQ(limit_of(book.admit(who, {100, 0}, at(86'400))), "none");
}

// Against the plain meaning of the limits: a list of everything that was admitted.
class Reference {
 public:
  struct Charge {
    double second;
    int64_t tokens;
  };
  int64_t within(double from, double to) const {
    int64_t sum = 0;
    for (const Charge& charge : charges) {
      if (charge.second > from && charge.second <= to) sum += charge.tokens;
    }
    return sum;
  }
  std::deque<Charge> charges;
};

// Random arrivals over days: no true minute, day or second is ever over; and nothing is refused
// that is within its limit by the window's stated slack.
TEST(LimitBookSimulation, NoWindowIsEverOverAndNoneIsWasted) {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(seed);
    Rng random(seed);
    const auto below = [&](uint64_t bound) { return static_cast<int64_t>(random.next() % bound); };
    LimitValues hard;
    hard.tokens_per_minute = 50 + below(1'000);
    hard.tokens_per_day = 500 + below(20'000);
    hard.concurrent = static_cast<int32_t>(1 + below(5));
    hard.requests_per_second = 0.2 + static_cast<double>(below(30)) / 10;
    hard.burst = static_cast<int32_t>(1 + below(4));
    LimitBook book;
    const std::vector<Subject> who = {subject(hard)};
    Reference minute, day, requests;
    struct Open {
      double admitted;
      int64_t estimate;
    };
    std::deque<Open> open;
    double now = 80'000;
    for (int step = 0; step < 600; ++step) {
      now += static_cast<double>(below(3'000)) / 1'000;
      while (!open.empty() && (open.size() > 6 || below(2) == 0)) {
        const Open one = open.front();
        open.pop_front();
        const int64_t actual = below(static_cast<uint64_t>(one.estimate) + 1);
        book.settle(who, {one.estimate, 0}, {actual, 0}, at(one.admitted), at(now));
        for (Reference* reference : {&minute, &day}) {
          for (Reference::Charge& charge : reference->charges) {
            if (charge.second == one.admitted && charge.tokens == one.estimate) {
              charge.tokens = actual;
              break;
            }
          }
        }
      }
      const int64_t tokens = 1 + below(200);
      const Admission admission = book.admit(who, {tokens, 0}, at(now));
      if (!admission.refused) {
        for (Reference* reference : {&minute, &day}) reference->charges.push_back({now, tokens});
        requests.charges.push_back({now, 1});
        open.push_back({now, tokens});
      }
      const double today = std::floor(now / 86'400) * 86'400;
      ASSERT_LE(minute.within(now - 60, now), hard.tokens_per_minute);
      ASSERT_LE(day.within(today - 1e-9, now), hard.tokens_per_day);
      ASSERT_LE(open.size(), static_cast<size_t>(hard.concurrent));
      for (const double span : {1.0, 10.0, 100.0}) {
        ASSERT_LE(static_cast<double>(requests.within(now - span, now)),
                  hard.burst + span * hard.requests_per_second + 1e-6);
      }
      if (!admission.refused) continue;
      switch (admission.refused->limit) {
        case Limit::kTokensPerMinute:
          ASSERT_GT(minute.within(now - 61, now) + tokens, hard.tokens_per_minute);
          break;
        case Limit::kTokensPerDay:
          ASSERT_GT(day.within(today - 1e-9, now) + tokens, hard.tokens_per_day);
          break;
        case Limit::kConcurrent:
          ASSERT_EQ(open.size(), static_cast<size_t>(hard.concurrent));
          break;
        case Limit::kRequestsPerSecond:
        case Limit::kMoneyPerMonth:
          ASSERT_GT(requests.charges.size(), 0u);
      }
    }
  }
}

// The time that a refusal names is right: then it passes, and just before it does not.
TEST(LimitBookSimulation, RetryAfterIsWhenItPasses) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    Rng random(seed);
    LimitBook book;
    LimitValues hard;
    hard.tokens_per_minute = 300;
    hard.requests_per_second = 0.5;
    hard.burst = 5;
    const std::vector<Subject> who = {subject(hard)};
    double now = 100;
    int refusals = 0;
    for (int step = 0; step < 200; ++step) {
      now += random.uniform();
      const Cost estimate{static_cast<int64_t>(1 + random.next() % 200), 0};
      const Admission admission = book.admit(who, estimate, at(now));
      if (!admission.refused) continue;
      ++refusals;
      const double wait = to_seconds(admission.refused->retry_after);
      ASSERT_TRUE(book.admit(who, estimate, at(now + wait - 0.001)).refused);
      now += wait + 1e-6;
      ASSERT_FALSE(book.admit(who, estimate, at(now)).refused);
    }
    EXPECT_GT(refusals, 10);
  }
}

}  // namespace
}  // namespace hadal::gateway
