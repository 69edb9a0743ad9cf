// Who may be given an answer that is there, or on its way for another.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <mutex>
#include <thread>

#include "hadal/gateway/cache_stage.h"

namespace hadal::gateway {
namespace {

constexpr const char* kAsk = R"({"model":"m","temperature":0,"messages":[]})";

class CacheAdmit : public ::testing::Test {
 protected:
  using Exchange = std::shared_ptr<net::Exchange>;

  CacheAdmit() {
    CacheConfig config;
    config.enabled = true;
    auto made = CacheStage::make(
        config,
        [](std::string_view) {
          return AnswerSource{"files", true};
        },
        [this](net::HttpRequest, net::ResponseWriter writer) {
          std::lock_guard lock(mutex_);
          computed_.push_back(std::move(writer));
        },
        clock_, std::make_shared<obs::Registry>(), {});
    stage_ = std::move(*made);
    stage_->set_admit([this](const net::HttpRequest&, net::ResponseWriter& writer,
                             std::string_view model) -> std::optional<std::shared_ptr<void>> {
      EXPECT_EQ(model, "m");
      ++admissions_;
      if (!may_) {
        writer.respond(429, {}, "over");
        return {};
      }
      ++held_;
      return std::shared_ptr<void>(this, [this](void*) { --held_; });
    });
  }
  ~CacheAdmit() override {
    computed_.clear();
    stage_.reset();
  }
  static net::HttpRequest request() { return {"POST", "/v1/chat/completions", "", {}, kAsk, ""}; }
  Exchange ask() {
    auto exchange = std::make_shared<net::Exchange>(1 << 20, [] {});
    stage_->handle(request(), net::ResponseWriter(exchange), "one");
    return exchange;
  }
  // Waits until there is one to compute.
  net::ResponseWriter next_computed() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    for (;;) {
      std::unique_lock lock(mutex_);
      if (!computed_.empty() || std::chrono::steady_clock::now() > end) break;
      lock.unlock();
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    std::lock_guard lock(mutex_);
    auto writer = std::move(computed_.front());
    computed_.pop_front();
    return writer;
  }
  void compute(int status, const std::string& body) {
    auto writer = next_computed();
    writer.respond(status, {{"Content-Type", "application/json"}}, body);
  }
  static int status_of(const Exchange& exchange) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (std::chrono::steady_clock::now() < end) {
      if (const auto taken = exchange->take(); taken.head) return taken.head->status;
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    return 0;
  }

  FakeClock clock_;
  bool may_ = true;
  std::atomic<int> admissions_{0}, held_{0};
  std::mutex mutex_;
  std::deque<net::ResponseWriter> computed_;
  std::unique_ptr<CacheStage> stage_;
};

TEST_F(CacheAdmit, WhatIsThereIsGivenToWhoMay) {
  const Exchange first = ask();
  EXPECT_EQ(admissions_, 0);  // the rest of the way decides
  compute(200, "{}");
  EXPECT_EQ(status_of(first), 200);
  EXPECT_EQ(status_of(ask()), 200);
  EXPECT_EQ(admissions_, 1);
  EXPECT_EQ(held_, 0);
  may_ = false;
  EXPECT_EQ(status_of(ask()), 429);
  EXPECT_TRUE(computed_.empty());
}

TEST_F(CacheAdmit, OneWhoWaitsForAnothersIsUnderWayUntilItIsThere) {
  const Exchange first = ask(), second = ask(), third = ask();
  may_ = false;
  EXPECT_EQ(status_of(ask()), 429);
  EXPECT_EQ(held_, 2);
  third->client_gone();
  compute(200, "{}");
  EXPECT_EQ(status_of(second), 200);
  EXPECT_EQ(status_of(first), 200);
  EXPECT_EQ(held_, 0);  // before he could know of it
}

// Who takes over from one that failed asks for himself, and is not counted twice.
TEST_F(CacheAdmit, WhoTakesOverGivesHisPermitBack) {
  const Exchange first = ask(), second = ask(), third = ask();
  EXPECT_EQ(held_, 2);
  compute(503, "busy");
  EXPECT_EQ(status_of(first), 503);
  auto writer = next_computed();
  EXPECT_EQ(held_, 1);
  writer.respond(200, {}, "{}");
  EXPECT_EQ(status_of(third), 200);
}

TEST_F(CacheAdmit, AtOnceOnlyFromMemory) {
  auto exchange = std::make_shared<net::Exchange>(1 << 20, [] {});
  net::HttpRequest asked = request();
  net::ResponseWriter writer(exchange);
  EXPECT_TRUE(stage_->may_answer_at_once(asked));
  EXPECT_FALSE(stage_->answer_at_once(asked, writer, "one"));
  EXPECT_EQ(asked.body, kAsk);
  EXPECT_EQ(admissions_, 0);
  const Exchange first = ask();
  EXPECT_FALSE(stage_->answer_at_once(asked, writer, "one")) << "under way is not there";
  compute(200, "{}");
  EXPECT_EQ(status_of(first), 200);
  EXPECT_FALSE(stage_->answer_at_once(asked, writer, "two"));
  EXPECT_TRUE(stage_->answer_at_once(asked, writer, "one"));
  EXPECT_EQ(status_of(exchange), 200);
  asked.body.resize(1 << 20, ' ');
  EXPECT_FALSE(stage_->may_answer_at_once(asked));
  asked.body.clear();
  asked.path = "/v1/models";
  EXPECT_FALSE(stage_->may_answer_at_once(asked));
}

}  // namespace
}  // namespace hadal::gateway
