#include "hadal/apps/answer_cache.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

namespace hadal::apps {
namespace {

gateway::Config config_of(const std::string& yaml) {
  gateway::ConfigContext context;
  context.model_name = [](const std::string&) { return std::string("tiny"); };
  auto config = gateway::read_config(yaml, context);
  EXPECT_TRUE(config) << yaml;
  return config ? *config : gateway::Config();
}

constexpr const char* kYaml = R"(
backends:
  - {name: here, model: embedded}
  - {name: there, url: "http://a.example/v1", models: {big: large}}
aliases:
  fast: {model: tiny, thinking: false}
cache: {enabled: true}
)";

class AnswerCacheTest : public ::testing::Test {
 protected:
  AnswerCacheTest() {
    auto made = AnswerCache::make(
        config_of(kYaml),
        [](net::HttpRequest, net::ResponseWriter writer) { writer.respond(200, {}, "{}"); }, clock_,
        std::make_shared<obs::Registry>(), {});
    EXPECT_TRUE(made);
    cache_ = std::move(*made);
  }
  // What a request for `model` was told, once it is answered.
  std::string ask(const std::string& model, const std::string& with = R"("temperature":0)",
                  std::vector<net::Header> headers = {}) {
    const auto exchange = std::make_shared<net::Exchange>(1 << 20, [] {});
    cache_->handle({"POST", "/v1/chat/completions", "", std::move(headers),
                    R"({"model":")" + model + R"(","messages":[],)" + with + "}"},
                   net::ResponseWriter(exchange));
    for (int i = 0; i < 10'000; ++i) {
      const auto taken = exchange->take();
      if (taken.head) return std::string(net::find_header(taken.head->headers, "x-hadal-cache"));
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return "no answer";
  }

  FakeClock clock_;
  std::unique_ptr<AnswerCache> cache_;
};

TEST_F(AnswerCacheTest, EachKeyHasItsOwn) {
  EXPECT_EQ(ask("tiny"), "miss");
  EXPECT_EQ(ask("tiny"), "hit");
  EXPECT_EQ(ask("tiny", R"("temperature":0)", {{"Authorization", "Bearer a"}}), "miss");
  EXPECT_EQ(ask("tiny", R"("temperature":0)", {{"Authorization", "Bearer b"}}), "miss");
  EXPECT_EQ(ask("tiny", R"("temperature":0)", {{"x-api-key", "b"}}), "miss");
  EXPECT_EQ(ask("tiny", R"("temperature":0)", {{"authorization", "Bearer a"}}), "hit");
}

// A request with two headers may have been let in for either.
TEST_F(AnswerCacheTest, AnAuthorizationThatIsNoKeyHidesNone) {
  const net::Header basic = {"Authorization", "Basic eA=="};
  EXPECT_EQ(ask("tiny", R"("temperature":0)", {basic, {"x-api-key", "a"}}), "miss");
  EXPECT_EQ(ask("tiny", R"("temperature":0)", {basic, {"x-api-key", "b"}}), "miss");
  EXPECT_EQ(ask("tiny", R"("temperature":0)", {basic, {"x-api-key", "a"}}), "hit");
}

TEST_F(AnswerCacheTest, ASeedCountsForTheModelHere) {
  EXPECT_EQ(ask("tiny", R"("seed":1)"), "miss");
  EXPECT_EQ(ask("tiny", R"("seed":1)"), "hit");
  EXPECT_EQ(ask("big", R"("seed":1)"), "bypass");
  EXPECT_EQ(ask("nobody"), "bypass");
}

TEST_F(AnswerCacheTest, AnotherModelBehindANameIsAskedAnew) {
  for (const char* name : {"big", "fast", "tiny"}) EXPECT_EQ(ask(name), "miss") << name;
  for (const char* name : {"big", "fast", "tiny"}) EXPECT_EQ(ask(name), "hit") << name;
  std::string other = kYaml;
  other.replace(other.find("a.example"), 9, "b.example");
  cache_->configure(config_of(other));
  EXPECT_EQ(ask("big"), "miss");
  EXPECT_EQ(ask("tiny"), "hit");
  other.replace(other.find("false"), 5, "true");
  cache_->configure(config_of(other));
  EXPECT_EQ(ask("fast"), "miss");
  EXPECT_EQ(ask("big"), "hit");
  clock_.advance(std::chrono::hours(23));  // another day: prompts may hold the date
  EXPECT_EQ(ask("big"), "hit");
  clock_.advance(std::chrono::minutes(59));
  EXPECT_EQ(ask("tiny"), "miss");
}

TEST(LocalIdentity, FollowsTheFiles) {
  const std::string folder = testing::TempDir() + "identity_model";
  std::filesystem::create_directories(folder);
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(folder + "/" + name) << text;
  };
  write("a.safetensors", "1");
  gateway::BackendConfig backend;
  backend.model = folder;
  const std::string before = local_identity(backend);
  EXPECT_EQ(local_identity(backend), before);
  write("a.safetensors", "12");
  const std::string after = local_identity(backend);
  EXPECT_NE(after, before);
  backend.engine.quantize = "q8_0";
  EXPECT_NE(local_identity(backend), after);
}

}  // namespace
}  // namespace hadal::apps
