// What names mean once there is a configuration, and that it can be replaced under requests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hadal/apps/testing/service_fixture.h"

namespace hadal::apps {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

class AliasTest : public ServiceTest {
 protected:
  void configure(std::vector<gateway::AliasConfig> aliases, bool remote = false,
                 std::vector<std::string> keys = {}) {
    gateway::Config config;
    config.backends.resize(1);
    config.backends[0].names = {"tiny"};
    if (remote) {
      config.backends.emplace_back().url = "http://h";
      config.backends.back().models = {{"far", "x"}};
    }
    config.aliases = std::move(aliases);
    auto access = std::make_shared<Access>();
    access->tenants =
        std::make_shared<gateway::TenantPolicy>(config.tenants, std::move(keys), nullptr);
    access->directory = std::make_shared<gateway::Directory>(config);
    service_->configure(std::move(access));
  }
  // The end of the prompt that a chat with these fields makes: whether thinking is open.
  std::string prompt_end(const std::string& fields) {
    send("POST", "/v1/chat/completions", chat(fields));
    const std::vector<TokenId>& prompt = engine_.requests.back().prompt;
    return prompt.back() == 260 ? "<think>" : prompt.back() == 261 ? "</think>" : "other";
  }
};

TEST_F(AliasTest, DefaultsCountWhereTheRequestSaysNothing) {
  configure({{"deepseek-chat", "tiny", false, "", true},
             {"deepseek-reasoner", "tiny", true, "", true},
             {"plain", "tiny", std::nullopt, "", true}});
  const std::string on = R"(, "thinking": {"type": "enabled"})";
  const std::string off = R"(, "thinking": {"type": "disabled"})";
  const std::string chat_model = R"("model": "deepseek-chat")";
  const std::string reasoner = R"("model": "deepseek-reasoner")";
  EXPECT_EQ(prompt_end(chat_model), "</think>");
  EXPECT_EQ(prompt_end(reasoner), "<think>");
  EXPECT_EQ(prompt_end(chat_model + on), "<think>");
  EXPECT_EQ(prompt_end(reasoner + off), "</think>");
  EXPECT_EQ(prompt_end(reasoner + R"(, "reasoning_effort": "none")"), "</think>");
  EXPECT_EQ(prompt_end(R"("model": "plain")"), prompt_end(R"("model": "tiny")"));
}

TEST_F(AliasTest, TheAnswerCarriesTheNameThatWasAskedFor) {
  configure({{"gpt-4o", "tiny", std::nullopt, "", true}});
  engine_.at_submit = [&](RequestId id) {
    engine_.say(id, "x");
    engine_.end(id);
  };
  EXPECT_THAT(ask("POST", "/v1/chat/completions", chat(R"("model": "gpt-4o")")).body,
              HasSubstr(R"("model":"gpt-4o")"));
  EXPECT_THAT(ask("POST", "/v1/completions", R"({"model": "gpt-4o", "prompt": "x"})").body,
              HasSubstr(R"("model":"gpt-4o")"));
  EXPECT_THAT(ask("POST", "/v1/chat/completions", chat()).body, HasSubstr(R"("model":"tiny")"));
  const Seen unknown = ask("POST", "/v1/chat/completions", chat(R"("model": "gpt-5")"));
  EXPECT_EQ(unknown.status, 404);
  EXPECT_THAT(unknown.body, HasSubstr("served: tiny, gpt-4o"));
}

TEST_F(AliasTest, AreListed) {
  configure({{"gpt-4o", "tiny", std::nullopt, "", true}, {"hidden", "tiny", {}, "", false}});
  const std::string all = ask("GET", "/v1/models").body;
  EXPECT_THAT(all, HasSubstr(R"("id":"gpt-4o","object":"model")"));
  EXPECT_THAT(all, HasSubstr(R"("root":"tiny")"));
  EXPECT_THAT(all, Not(HasSubstr("hidden")));
  EXPECT_EQ(ask("GET", "/v1/models/gpt-4o").status, 200);
  EXPECT_EQ(ask("GET", "/v1/models/hidden").status, 200);
  EXPECT_EQ(ask("GET", "/v1/models/other").status, 404);  // the model's own list counts no more
}

TEST_F(AliasTest, ANewConfigurationCountsFromTheNextRequestOn) {
  configure({{"a", "tiny", std::nullopt, "", true}});
  const auto running =
      send("POST", "/v1/chat/completions", chat(R"("model": "a", "stream": true)"));
  configure({{"b", "tiny", std::nullopt, "", true}}, false, {"key"});
  EXPECT_EQ(ask("GET", "/v1/models").status, 401);
  EXPECT_EQ(ask("GET", "/v1/models/a", {}, {{"Authorization", "Bearer key"}}).status, 404);
  EXPECT_EQ(ask("GET", "/v1/models/b", {}, {{"Authorization", "Bearer key"}}).status, 200);
  engine_.say(1, "still here");
  engine_.end(1);
  Seen seen;
  look(*running, &seen);
  EXPECT_TRUE(seen.finished);
  EXPECT_THAT(seen.body, HasSubstr("still here"));
  EXPECT_THAT(seen.body, EndsWith("data: [DONE]\n\n"));
}

TEST_F(AliasTest, ModelsOfOtherBackendsAreListedBeforeTheLocalOneIsLoaded) {
  restart({});
  configure({}, true);
  EXPECT_THAT(ask("GET", "/v1/models").body,
              AllOf(HasSubstr(R"("id":"tiny")"), HasSubstr(R"("id":"far")"),
                    HasSubstr(R"("max_model_len":null)")));
  EXPECT_EQ(ask("GET", "/health").status, 503);
  EXPECT_EQ(ask("POST", "/v1/chat/completions", chat(R"("model": "tiny")")).status, 503);
  publish();
  EXPECT_EQ(ask("GET", "/health").status, 200);
  EXPECT_EQ(ask("POST", "/tokenize", R"({"model": "far", "prompt": "x"})").status, 400);
}

}  // namespace
}  // namespace hadal::apps
