// Who is let in, what hooks see and decide, and what a journey says at its end.
#include "hadal/apps/front.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hadal/apps/testing/service_fixture.h"

namespace hadal::apps {
namespace {

class FrontTest : public ServiceTest {
 protected:
  FrontTest() {
    gateway::Config config;
    config.backends.resize(1);
    config.backends[0].names = {"tiny", "other"};
    config.aliases = {{"quick", "other", false, "", true}};
    auto access = std::make_shared<Access>();
    access->tenants = std::make_shared<gateway::TenantPolicy>(
        config.tenants, std::vector<std::string>{"secret"}, nullptr);
    access->directory = std::make_shared<gateway::Directory>(config);
    service_->configure(std::move(access));
    front_.on_arrival(
        [this](net::HttpRequest& request, net::ResponseWriter&, gateway::Journey& journey) {
          ++arrived_;
          notes_ = request.notes;
          journey.choose(choice_);
          return false;
        });
    engine_.at_submit = [&](RequestId id) {
      engine_.say(id, "abc");
      engine_.end(id);
    };
  }
  Seen ask_front(const std::string& body, const std::string& key = "secret") {
    const auto exchange = std::make_shared<net::Exchange>(1 << 20, [] {});
    front_.handle({"POST",
                   "/v1/chat/completions",
                   {},
                   {{"Authorization", "Bearer " + key}},
                   body,
                   "192.0.2.7"},
                  net::ResponseWriter(exchange));
    Seen seen;
    look(*exchange, &seen);
    return seen;
  }
  const gateway::Journey& journey() const { return dynamic_cast<const gateway::Journey&>(*notes_); }

  Front front_{*service_, clock_};
  gateway::Choice choice_;
  int arrived_ = 0;
  std::shared_ptr<net::RequestNotes> notes_;
};

TEST_F(FrontTest, HooksSeeOnlyWhoIsLetIn) {
  front_.open();
  EXPECT_EQ(ask_front(chat(), "wrong").status, 401);
  EXPECT_EQ(arrived_, 0);
  EXPECT_EQ(ask_front(chat()).status, 200);
  EXPECT_EQ(arrived_, 1);
  service_->drain();
  EXPECT_EQ(ask_front(chat()).status, 503);
  EXPECT_EQ(arrived_, 1);
}

TEST_F(FrontTest, BeforeItIsOpenTheServiceAnswers) {
  EXPECT_EQ(ask_front(chat(), "wrong").status, 401);
  EXPECT_EQ(ask_front(chat()).status, 200);
  EXPECT_EQ(arrived_, 0);
}

TEST_F(FrontTest, AJourneyEndsKnowingWhatWasAskedAndUsed) {
  front_.open();
  ask_front(chat(R"("model": "quick")"));
  const auto facts = journey().facts();
  EXPECT_EQ(journey().peer(), "192.0.2.7");
  EXPECT_EQ(journey().caller()->tenant->name, "default");
  EXPECT_EQ(facts.asked, "quick");
  EXPECT_EQ(facts.model, "other");
  EXPECT_TRUE(facts.settled);
  EXPECT_EQ(facts.used.output, 3);
  EXPECT_EQ(facts.used.input_hit, 1);
  EXPECT_GT(facts.used.input_miss, 1);
}

TEST_F(FrontTest, AChoiceOverrulesWhatTheNameMeans) {
  front_.open();
  choice_.model = "quick";
  const Seen seen = ask_front(chat(R"("model": "tiny")"));
  EXPECT_EQ(seen.status, 200);
  EXPECT_THAT(seen.body, ::testing::HasSubstr(R"("model":"tiny")"));  // as it was asked
  EXPECT_EQ(journey().facts().model, "other");
  EXPECT_EQ(engine_.requests.back().prompt.back(), 261);  // the alias's thinking: off
}

TEST_F(FrontTest, AHookMayAnswer) {
  front_.on_arrival([](net::HttpRequest&, net::ResponseWriter& writer, gateway::Journey&) {
    writer.respond(418, {}, "no");
    return true;
  });
  front_.open();
  EXPECT_EQ(ask_front(chat()).status, 418);
  EXPECT_TRUE(engine_.requests.empty());
}

}  // namespace
}  // namespace hadal::apps
