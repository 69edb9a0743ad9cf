#include "hadal/gateway/route_book.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "hadal/gateway/answer_bound.h"

namespace hadal::gateway {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int64_t kNoon = 12 * 3600, kNight = 20 * 3600;

Config house() {
  Config config;
  config.backends.resize(4);
  config.backends[0].name = "here";
  config.backends[0].model = "embedded";
  config.backends[0].names = {"r1"};
  config.backends[0].engine.max_sequences = 4;
  for (size_t i = 1; i < 4; ++i) {
    config.backends[i].name = std::vector<std::string>{"", "rack", "cloud", "cheap"}[i];
    config.backends[i].url = "http://h";
    config.backends[i].models = {{"r1", "up"}, {"v3", "up"}};
  }
  config.backends[1].trusted = true;
  config.backends[2].cost.prices = {{"16:30-00:30", 0.1, 0.2, 0.5}, {"", 0.2, 0.4, 2}};
  config.backends[3].cost.prices = {{"", 0.1, 0.1, 1}};
  return config;
}

RouteAsk asking(std::string_view model) {
  RouteAsk ask;
  ask.asked = ask.model = model;
  ask.tenant = "default";
  ask.now = kNoon;
  return ask;
}

std::vector<std::string> stages(const RoutePlan& plan) {
  std::vector<std::string> shown;
  for (const RouteStage& stage : plan.stages) {
    std::string names;
    for (const std::string& name : stage.backends) names += (names.empty() ? "" : "+") + name;
    shown.push_back(names);
  }
  return shown;
}

RouteConfig route(std::string name, std::vector<std::string> to) {
  RouteConfig made;
  made.name = std::move(name);
  made.to = std::move(to);
  return made;
}

TEST(RouteBook, TheHouseComesFirst) {
  const RouteBook book(house());
  const RoutePlan plan = book.plan(asking("r1"));
  EXPECT_EQ(plan.route, "default");
  EXPECT_THAT(stages(plan), ElementsAre("here", "rack", "cloud+cheap"));
  EXPECT_TRUE(plan.stages[0].local);
  EXPECT_THAT(stages(book.plan(asking("v3"))), ElementsAre("rack", "cloud+cheap"));
  EXPECT_THAT(stages(book.plan(asking("other"))), IsEmpty());
  EXPECT_TRUE(book.is_trusted("here"));
  EXPECT_TRUE(book.is_trusted("rack"));
  EXPECT_FALSE(book.is_trusted("cloud"));
  EXPECT_FALSE(book.is_trusted("nobody"));
}

TEST(RouteBook, OverflowsAndFallsBack) {
  const RouteBook book(house());
  RouteAsk ask = asking("r1");
  ask.local_load = 0.99;
  EXPECT_EQ(stages(book.plan(ask)).front(), "here");
  ask.local_load = 1;
  EXPECT_THAT(stages(book.plan(ask)), ElementsAre("rack", "cloud+cheap", "here"));
  EXPECT_THAT(book.plan(ask).reasons, HasSubstr("overflow"));
  ask.local_ready = false;
  EXPECT_THAT(stages(book.plan(ask)), ElementsAre("rack", "cloud+cheap"));
  Config alone = house();
  alone.backends.resize(1);
  EXPECT_THAT(stages(RouteBook(alone).plan(ask)), ElementsAre("here"));
}

TEST(RouteBook, WhatStaysStays) {
  Config config = house();
  config.routes = {route("out", {"cloud", "cheap"})};
  Screening screening;
  screening.labels = {"id_card"};
  screening.stays = true;
  screening.reason = "id_card";
  for (const Config& one : {house(), config}) {
    const RouteBook book(one);
    for (const double load : {0.0, 5.0}) {
      for (const bool ready : {true, false}) {
        RouteAsk ask = asking("r1");
        ask.screening = &screening;
        ask.local_load = load;
        ask.local_ready = ready;
        const RoutePlan plan = book.plan(ask);
        EXPECT_FALSE(plan.stages.empty());
        for (const RouteStage& stage : plan.stages) {
          for (const std::string& name : stage.backends) EXPECT_TRUE(book.is_trusted(name)) << name;
        }
        EXPECT_THAT(plan.reasons, HasSubstr("stays: id_card"));
      }
    }
  }
  Config outside = house();
  outside.backends.erase(outside.backends.begin(), outside.backends.begin() + 2);
  RouteAsk ask = asking("r1");
  ask.screening = &screening;
  const RoutePlan refused = RouteBook(outside).plan(ask);
  EXPECT_TRUE(refused.stages.empty());
  EXPECT_TRUE(refused.sensitive);
}

TEST(RouteBook, ConditionsMustAllHold) {
  Config config = house();
  RouteConfig one = route("one", {"cloud"});
  one.labels = {"email"};
  one.tenants = {"lab"};
  one.models = {"chat", "v3"};
  one.headers = {{"x-class", "public"}, {"x-any", "*"}};
  one.prompt_min = 10;
  one.prompt_max = 100;
  one.load_above = 0.5;
  RouteConfig clean = route("clean", {"cheap"});
  clean.clean = true;
  RouteConfig none;
  none.name = "none";
  none.refuse = true;
  config.routes = {one, clean, none};
  const RouteBook book(config);
  Screening found;
  found.labels = {"email"};
  const std::vector<net::Header> headers = {{"X-Class", "Public"}, {"X-Any", "1"}};
  RouteAsk ask = asking("v3");
  ask.asked = "chat";
  ask.tenant = "lab";
  ask.screening = &found;
  ask.headers = &headers;
  ask.prompt_tokens = 50;
  ask.local_load = 0.6;
  EXPECT_EQ(book.plan(ask).route, "one");
  const auto misses = [&](auto change) {
    RouteAsk other = ask;
    change(other);
    return book.plan(other).route != "one";
  };
  Screening nothing;
  const std::vector<net::Header> fewer = {{"X-Class", "Public"}};
  EXPECT_TRUE(misses([&](RouteAsk& a) { a.screening = &nothing; }));
  EXPECT_TRUE(misses([](RouteAsk& a) { a.screening = nullptr; }));
  EXPECT_TRUE(misses([](RouteAsk& a) { a.tenant = "other"; }));
  EXPECT_TRUE(misses([](RouteAsk& a) { a.asked = a.model = "r1"; }));
  EXPECT_TRUE(misses([&](RouteAsk& a) { a.headers = &fewer; }));
  EXPECT_TRUE(misses([](RouteAsk& a) { a.prompt_tokens = 9; }));
  EXPECT_TRUE(misses([](RouteAsk& a) { a.prompt_tokens = 101; }));
  EXPECT_TRUE(misses([](RouteAsk& a) { a.local_load = 0.5; }));
  ask.tenant = "other";
  EXPECT_EQ(book.plan(ask).route, "none");
  EXPECT_THAT(stages(book.plan(ask)), IsEmpty());
  EXPECT_FALSE(book.plan(ask).sensitive);
  ask.screening = &nothing;
  EXPECT_THAT(stages(book.plan(ask)), ElementsAre("cheap"));
}

TEST(RouteBook, GoesByPriceAtThisHour) {
  Config config = house();
  config.routes = {route("price", {"cloud", "cheap", "here"})};
  config.routes[0].order = "cheapest";
  const RouteBook book(config);
  RouteAsk ask = asking("r1");
  EXPECT_THAT(stages(book.plan(ask)), ElementsAre("here", "cheap", "cloud"));
  ask.now = kNight;
  EXPECT_THAT(stages(book.plan(ask)), ElementsAre("here", "cloud", "cheap"));
  config.routes[0].max_price = 0.8;
  EXPECT_THAT(stages(RouteBook(config).plan(ask)), ElementsAre("here", "cloud"));
  ask.now = kNoon;
  EXPECT_THAT(stages(RouteBook(config).plan(ask)), ElementsAre("here"));
}

TEST(RouteBook, KeepsToWhatARolloutChose) {
  const RouteBook book(house());
  const std::vector<std::string> only = {"cloud"};
  RouteAsk ask = asking("r1");
  ask.only = &only;
  EXPECT_THAT(stages(book.plan(ask)), ElementsAre("cloud"));
}

TEST(PriceTable, HoursGoOverMidnight) {
  const auto hours = parse_hours("16:30-00:30");
  ASSERT_TRUE(hours);
  EXPECT_TRUE(hours->holds(16 * 60 + 30));
  EXPECT_TRUE(hours->holds(0));
  EXPECT_TRUE(hours->holds(29));
  EXPECT_FALSE(hours->holds(30));
  EXPECT_FALSE(hours->holds(16 * 60 + 29));
  for (const char* bad : {"", "1:00-2:00", "16:30", "25:00-01:00", "12:60-13:00", "24:01-00:00"}) {
    EXPECT_FALSE(parse_hours(bad)) << bad;
  }
  EXPECT_TRUE(parse_hours("00:00-24:00")->holds(1439));
  const PriceTable table({{"16:30-00:30", 1, 2, 3}, {"08:00-09:00", 4, 1, 9}});
  EXPECT_EQ(table.at(kNight), (Price{1, 2, 3}));
  EXPECT_EQ(table.at(kNoon), (Price{4, 2, 9})) << "no window: the highest of each";
  EXPECT_EQ(table.at(kNight - 86'400 * 40), (Price{1, 2, 3})) << "before 1970, too";
}

TEST(AnswerBound, IsTheMostThatCanCome) {
  const auto bound = [](std::string body, const char* path = "/v1/chat/completions") {
    const auto made = bound_answer(path, &body, 100);
    return made ? std::to_string(made->output) + " " + body : "none";
  };
  EXPECT_EQ(bound(R"({"model":"m"})"), R"(100 {"max_tokens":100,"model":"m"})");
  EXPECT_EQ(bound(R"({"model":"m"})", "/v1/responses"),
            R"(100 {"max_output_tokens":100,"model":"m"})");
  EXPECT_EQ(bound(R"({"model":"m"})", "/v1/embeddings"), R"(0 {"model":"m"})");
  EXPECT_EQ(bound(R"({"max_tokens":7,"n":3})"), R"(21 {"max_tokens":7,"n":3})");
  EXPECT_EQ(bound(R"({"max_tokens":7,"max_completion_tokens":9})").substr(0, 2), "9 ");
  EXPECT_EQ(bound(R"({"max_tokens":7,"max_tokens":700})").substr(0, 4), "700 ");
  EXPECT_EQ(bound(R"({"prompt":["a","b",[1,2]],"max_tokens":5})", "/v1/completions").substr(0, 3),
            "15 ");
  EXPECT_EQ(bound(R"({"metadata":{"max_tokens":7},"x":1})").substr(0, 4), "100 ");
  for (const char* odd :
       {R"({"max_tokens":null})", R"({"max_tokens":"9"})", R"({"n":"9"})", R"({"max_tokens":-1})",
        R"({"max_tokens":1e30})", R"({"max_tokens":1000000000,"n":100})"}) {
    EXPECT_EQ(bound(odd), "none") << odd;
  }
}

}  // namespace
}  // namespace hadal::gateway
