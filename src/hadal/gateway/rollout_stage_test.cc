#include "hadal/gateway/rollout_stage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <map>
#include <set>

#include "hadal/base/file.h"
#include "hadal/base/testing/temporary_folder.h"
#include "hadal/net/io.h"

namespace hadal::gateway {
namespace {

using std::chrono::minutes;
using ::testing::HasSubstr;

// A stage over a `go` that keeps what it is given; clients' answers are written by the test.
class RolloutStageTest : public ::testing::Test {
 protected:
  struct Errand {
    net::HttpRequest request;
    net::ResponseWriter writer;
    Choice choice;
  };
  struct Client {
    std::shared_ptr<net::Exchange> exchange;
    std::unique_ptr<net::ResponseWriter> writer;
    std::shared_ptr<Journey> journey;
    std::string header;  // X-Hadal-Rollout of the answer
  };

  void SetUp() override {
    ASSERT_TRUE(write_file_atomic(folder_ + "/probes.yaml",
                                  "- {prompt: a, contains: '1'}\n- {prompt: b, contains: '2'}\n"));
    caller_.tenant = std::make_shared<TenantConfig>();
  }
  void TearDown() override {
    stage_.reset();
    errands_.clear();
  }

  Config read(const std::string& rollouts) {
    auto config = read_config("store: {path: " + folder_ +
                                  "/s.db}\n"
                                  "backends:\n"
                                  "- {name: here, model: m, names: [tiny]}\n"
                                  "- {name: one, url: 'http://h:1', models: {r1: x, r2: y}}\n"
                                  "- {name: two, url: 'http://h:2', models: {r1: x}}\n"
                                  "aliases: {gpt: r1}\n"
                                  "rollouts:\n" +
                                  rollouts,
                              {[](const std::string& model) { return model; }});
    EXPECT_TRUE(config) << config.error().front().what;
    return *config;
  }
  void start(const std::string& rollouts) {
    stage_.reset();
    auto stage = RolloutStage::make(
        read(rollouts), {io_.context(), clock_, std::make_shared<obs::Registry>(), nullptr,
                         [this](net::HttpRequest request, net::ResponseWriter writer) {
                           const Choice choice = Journey::of(request)->choice();
                           errands_.push_back({std::move(request), std::move(writer), choice});
                         },
                         false});
    ASSERT_TRUE(stage) << stage.error().what;
    stage_ = std::move(*stage);
  }
  static std::string body(const std::string& model, const std::string& user) {
    return R"({"model":")" + model + R"(","user":")" + user + R"(","messages":[]})";
  }
  Client arrive(const std::string& body, std::vector<net::Header> headers = {},
                const std::string& label = {}, Choice chosen = {},
                const std::string& path = "/v1/chat/completions") {
    Client client;
    client.exchange = std::make_shared<net::Exchange>(1 << 20, [] {});
    client.writer = std::make_unique<net::ResponseWriter>(client.exchange);
    client.journey = std::make_shared<Journey>("id", clock_.now(), 0, "192.0.2.1",
                                               std::make_shared<const Caller>(caller_));
    if (!label.empty()) client.journey->note_label(label);
    client.journey->choose(std::move(chosen));
    net::HttpRequest request{"POST", path, {}, std::move(headers), body};
    request.notes = client.journey;
    stage_->arrive(request, *client.writer, *client.journey);
    return client;
  }
  // Ends a request; the arm that it went to, or "".
  std::string answer(Client client, int status = 200,
                     const std::string& body = R"({"choices":[{"text":"an answer"}]})",
                     std::vector<net::Header> headers = {}) {
    client.writer->respond(status, std::move(headers), body);
    return std::string(net::find_header(client.exchange->take().head->headers, "x-hadal-rollout"));
  }
  RolloutView view(const std::string& name = "next") {
    auto found = stage_->find(name);
    EXPECT_TRUE(found);
    return std::move(*found);
  }
  // Two hundred clients; the candidate's get an error, until it is rolled back.
  void fail_the_candidate() {
    for (int i = 0; i < 200; ++i) {
      Client client = arrive(body("r1", std::to_string(i)));
      const bool bad = client.journey->choice().model == "r2";
      answer(std::move(client), bad ? 500 : 200);
    }
    stage_->tick(std::chrono::minutes(1));
    EXPECT_EQ(view().state.control.phase, RolloutPhase::kRolledBack);
  }
  std::vector<Errand> take_errands() {
    stage_->tick(Millis(0));
    return std::exchange(errands_, {});
  }

  const hadal::testing::TemporaryFolder temporary_;
  const std::string folder_ = temporary_.path();
  FakeClock clock_;
  net::IoThreads io_;
  Caller caller_;
  std::vector<Errand> errands_;
  std::unique_ptr<RolloutStage> stage_;
};

constexpr const char* kHalf =
    "  next: {model: r1, candidate: {model: r2, backends: [one]}, steps: [50]}\n";

TEST_F(RolloutStageTest, UsersStayInTheirArmHoweverTheyAreKnown) {
  start(kHalf);
  std::set<std::string> arms;
  for (int i = 0; i < 64; ++i) {
    const std::string user = std::to_string(i);
    Client client = arrive(body("r1", user));
    const Choice choice = client.journey->choice();
    const std::string arm = answer(std::move(client));
    EXPECT_EQ(choice.model, arm == "next=candidate" ? "r2" : "");
    EXPECT_EQ(choice.backends.size(), arm == "next=candidate" ? 1u : 0u);
    arms.insert(arm);
    EXPECT_EQ(answer(arrive(body("gpt", user))), arm);  // an alias of the model
    EXPECT_EQ(answer(arrive(R"({"model":"r1","metadata":{"user_id":")" + user + "\"}}")), arm);
    EXPECT_EQ(answer(arrive(body("r1", user), {{"X-Session", "other"}})), arm);
  }
  EXPECT_EQ(arms, (std::set<std::string>{"next=baseline", "next=candidate"}));
  // Without a user: by session, else by key, else by address, which is one arm each.
  std::map<std::string, std::set<std::string>> kinds;
  for (int i = 0; i < 40; ++i) {
    const std::string plain = R"({"model":"r1"})";
    caller_.key.id = "";
    kinds["peer"].insert(answer(arrive(plain)));
    kinds["sessions"].insert(answer(arrive(plain, {{"x-session", std::to_string(i)}})));
    caller_.key.id = "k" + std::to_string(i);
    kinds["keys"].insert(answer(arrive(plain)));
    kinds["session"].insert(answer(arrive(plain, {{"x-session", "s"}})));
  }
  EXPECT_EQ(kinds["peer"].size(), 1u);
  EXPECT_EQ(kinds["session"].size(), 1u);
  EXPECT_EQ(kinds["keys"].size(), 2u);
  EXPECT_EQ(kinds["sessions"].size(), 2u);
}

TEST_F(RolloutStageTest, OtherRequestsAreLeftAlone) {
  start(kHalf);
  EXPECT_EQ(answer(arrive(body("r2", "u"))), "");
  EXPECT_EQ(answer(arrive(body("nobody", "u"))), "");
  EXPECT_EQ(answer(arrive("not JSON")), "");
  EXPECT_EQ(answer(arrive(body("r1", "u"), {}, "", {}, "/v1/embeddings")), "");
  // Another stage has decided already.
  Client client = arrive(body("r1", "u"), {}, "", {"", {"two"}, ""});
  EXPECT_EQ(client.journey->choice().backends, std::vector<std::string>{"two"});
  EXPECT_EQ(answer(std::move(client)), "");
  EXPECT_EQ(view().state.arms[0].requests + view().state.arms[1].requests, 0);
}

TEST_F(RolloutStageTest, WhatIsSensitiveGoesNowhereNew) {
  start(kHalf);
  for (int i = 0; i < 32; ++i) {
    Client client = arrive(body("r1", std::to_string(i)), {}, "phone");
    EXPECT_EQ(client.journey->choice().model, "");
    EXPECT_NE(answer(std::move(client)), "next=candidate");
  }
}

TEST_F(RolloutStageTest, AnswersAreMeasured) {
  start("  next: {model: r1, candidate: {model: r2}, steps: [100]}\n");
  const auto arm = [&] { return view().state.arms[1]; };
  answer(arrive(body("r1", "u")));
  EXPECT_EQ(arm().requests, 1);
  EXPECT_EQ(arm().length.count(), 1);
  answer(arrive(body("r1", "u")), 500);
  answer(arrive(body("r1", "u")), 404);
  EXPECT_EQ(arm().errors, 2);
  answer(arrive(body("r1", "u")), 429, "{}", {{"X-Hadal-Limit", "concurrent"}});
  answer(arrive(body("r1", "u")), 403);
  EXPECT_EQ(arm().requests, 3);
  answer(arrive(body("r1", "u")), 200, R"({"choices":[{"text":"I'm sorry, but I can't."}]})");
  EXPECT_EQ(arm().refusals, 1);
  {  // from a cache
    Client client = arrive(body("r1", "u"));
    client.journey->note_cache("memory");
    answer(std::move(client));
  }
  EXPECT_EQ(arm().requests, 4);
  {  // a stream of three tokens, the first after 2 s, then each 100 ms
    Client client = arrive(body("r1", "u"));
    client.writer->start_stream(200, {});
    clock_.advance(std::chrono::seconds(2));
    for (int i = 0; i < 3; ++i) {
      client.writer->write("data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n");
      clock_.advance(std::chrono::milliseconds(100));
    }
    client.writer->finish();
  }
  EXPECT_NEAR(arm().first_token.quantile(1), 2, 0.02);
  EXPECT_NEAR(arm().between_tokens.quantile(1), 0.1, 0.001);
  {  // the upstream broke off
    Client client = arrive(body("r1", "u"));
    client.writer->start_sized(200, {}, 100);
    client.writer->write("{");
    client.writer.reset();
  }
  EXPECT_EQ(arm().errors, 3);
  {  // the client left, before anything came
    Client client = arrive(body("r1", "u"));
    clock_.advance(std::chrono::seconds(9));
    client.exchange->client_gone();
    client.writer.reset();
  }
  EXPECT_EQ(arm().errors, 3);
  EXPECT_NEAR(arm().first_token.quantile(1), 9, 0.1);
}

TEST_F(RolloutStageTest, JudgesRemembersAndGoesOnAfterARestart) {
  start(kHalf);
  fail_the_candidate();
  EXPECT_THAT(view().events.front().what, HasSubstr("rolled back: worse: errors"));
  const RolloutState before = view().state;
  start(kHalf);
  EXPECT_EQ(view().state, before);
  EXPECT_EQ(answer(arrive(body("r1", "1"))), "");
  ASSERT_TRUE(stage_->command("next", RolloutCommand::kStart));
  EXPECT_NE(answer(arrive(body("r1", "1"))), "");
  // Another rollout under the same name is not confused with it.
  start("  next: {model: r1, candidate: {backends: [two]}, steps: [50]}\n");
  EXPECT_EQ(view().state.control.phase, RolloutPhase::kRunning);
  EXPECT_EQ(view().state.arms[0].requests, 0);
}

TEST_F(RolloutStageTest, WhatCannotBeWrittenDoesNotHappenButForGoingBack) {
  start(kHalf);
  {
    auto other = Database::open(folder_ + "/s.db", Sync::kProcess);
    ASSERT_TRUE(other);
    ASSERT_TRUE(other->execute("DROP TABLE rollouts"));
  }
  EXPECT_FALSE(stage_->command("next", RolloutCommand::kPromote));
  EXPECT_FALSE(stage_->command("next", RolloutCommand::kPause));
  EXPECT_EQ(view().state.control.phase, RolloutPhase::kRunning);
  fail_the_candidate();
  EXPECT_EQ(answer(arrive(body("r1", "1"))), "");
}

TEST_F(RolloutStageTest, AReloadKeepsWhatIsTheSameAndEndsWhatIsGone) {
  start(kHalf);
  answer(arrive(body("r1", "1")));
  const auto counted = [&] {
    return view().state.arms[0].requests + view().state.arms[1].requests;
  };
  stage_->configure(
      read("  next: {model: r1, candidate: {model: r2, backends: [one]}, steps: [50], "
           "alpha: 0.01}\n"));
  EXPECT_EQ(view().config.alpha, 0.01);
  EXPECT_EQ(counted(), 1);
  stage_->configure(read("  other: {model: r2, candidate: {backends: [one]}}\n"));
  EXPECT_FALSE(stage_->find("next"));
  EXPECT_EQ(answer(arrive(body("r1", "1"))), "");
  stage_->configure(
      read("  next: {model: r1, candidate: {model: r2}, probes: {file: /no/such/file}}\n"));
  EXPECT_TRUE(stage_->list().empty());  // what cannot be judged as it should be does not begin
}

TEST_F(RolloutStageTest, OneThatIsNotDeclared) {
  start("  other: {kind: experiment, model: r2, arms: {a: {}, b: {}}}\n");
  const std::string text = R"({"model":"r1","candidate":{"model":"r2"},"steps":[100]})";
  ASSERT_TRUE(stage_->create("mine", text));
  EXPECT_FALSE(stage_->create("mine", text));
  const auto rival = stage_->create("rival", text);
  ASSERT_FALSE(rival);
  EXPECT_THAT(rival.error().what, HasSubstr("'mine' has the requests of 'r1'"));
  EXPECT_EQ(answer(arrive(body("r1", "1"))), "mine=candidate");
  start("  other: {kind: experiment, model: r2, arms: {a: {}, b: {}}}\n");
  EXPECT_FALSE(view("mine").declared);
  EXPECT_EQ(answer(arrive(body("r1", "1"))), "mine=candidate");
  EXPECT_FALSE(stage_->forget("mine"));
  EXPECT_FALSE(stage_->forget("other"));
  ASSERT_TRUE(stage_->command("mine", RolloutCommand::kAbort));
  ASSERT_TRUE(stage_->create("rival", text));
  EXPECT_FALSE(stage_->command("mine", RolloutCommand::kStart));
  ASSERT_TRUE(stage_->forget("mine"));
  EXPECT_FALSE(stage_->find("mine"));
  EXPECT_FALSE(stage_->command("mine", RolloutCommand::kStart));
}

TEST_F(RolloutStageTest, ShadowsAreBoundedUnchargedAndOfNoEffect) {
  start(
      "  copy: {kind: shadow, model: r1, candidate: {backends: [two]}, share: 100, "
      "in_flight: 2}\n");
  std::vector<Client> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(arrive(body("r1", "u")));
  EXPECT_TRUE(clients[0].journey->choice().backends.empty());
  auto errands = take_errands();
  ASSERT_EQ(errands.size(), 2u);
  EXPECT_EQ(errands[0].request.body, body("r1", "u"));
  EXPECT_EQ(errands[0].choice.backends, std::vector<std::string>{"two"});
  EXPECT_EQ(Journey::of(errands[0].request)->caller()->tenant->name, kRolloutTenant);
  for (Client& client : clients) EXPECT_EQ(answer(std::move(client)), "");
  errands[0].writer.respond(200, {}, "{}");
  errands[1].writer.respond(500, {}, "{}");
  const auto arms = view("copy").state.arms;
  EXPECT_EQ(arms[0].requests, 2);
  EXPECT_EQ(arms[1].requests, 2);
  EXPECT_EQ(arms[1].errors, 1);
  // There is room again, but what is sensitive is not copied to elsewhere.
  arrive(body("r1", "u"), {}, "phone");
  answer(arrive(body("r1", "v")));
  const auto more = take_errands();
  ASSERT_EQ(more.size(), 1u);
  EXPECT_EQ(more[0].request.body, body("r1", "v"));
}

TEST_F(RolloutStageTest, AShadowThatIsHereGetsWhatIsSensitiveToo) {
  start("  copy: {kind: shadow, model: r1, candidate: {model: tiny}, share: 100}\n");
  arrive(body("r1", "u"), {}, "phone");
  EXPECT_EQ(take_errands().size(), 1u);
}

TEST_F(RolloutStageTest, ProbesAreAskedOfBothArms) {
  start("  next: {model: r1, candidate: {model: r2}, probes: {file: " + folder_ +
        "/probes.yaml, every: 1s}}\n");
  for (const std::string prompt : {"a", "b"}) {
    stage_->tick(std::chrono::seconds(1));
    auto errands = take_errands();
    ASSERT_EQ(errands.size(), 2u);
    stage_->tick(std::chrono::seconds(5));  // nothing new before these are answered
    for (Errand& errand : errands) {
      EXPECT_THAT(errand.request.body, HasSubstr("\"content\":\"" + prompt + "\""));
      const bool candidate = errand.choice.model == "r2";
      errand.writer.respond(200, {},
                            R"({"choices":[{"message":{"content":")" +
                                std::string(candidate ? "It is 2" : "1 or 2") + R"("}}]})");
    }
  }
  stage_->tick(Millis(1));
  EXPECT_EQ(view().state.probes, (std::vector<ProbeResults>{"11", "01"}));
  EXPECT_EQ(view().state.arms[0].requests, 0);  // questions of ours are no users' requests
}

TEST_F(RolloutStageTest, AProbeThatFindsNobodyIsAskedAgainAndErrorsCountAtLast) {
  start("  next: {model: r1, candidate: {model: r2}, probes: {file: " + folder_ +
        "/probes.yaml, every: 1s}}\n");
  int asked = 0;
  for (const int status : {503, 429, 500, 500, 500}) {
    stage_->tick(std::chrono::seconds(1));
    auto errands = take_errands();
    ASSERT_FALSE(errands.empty()) << asked;
    ++asked;
    for (Errand& errand : errands) {
      const bool candidate = errand.choice.model == "r2";
      errand.writer.respond(candidate ? status : 200, {}, R"({"text":"1"})");
    }
  }
  stage_->tick(Millis(1));
  EXPECT_EQ(view().state.probes, (std::vector<ProbeResults>{"1?", "0?"}));
}

}  // namespace
}  // namespace hadal::gateway
