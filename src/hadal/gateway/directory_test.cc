#include "hadal/gateway/directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hadal::gateway {
namespace {

using ::testing::ElementsAre;

TEST(Directory, WithoutAConfigurationKnowsTheNamesItIsGiven) {
  const Directory directory(std::vector<std::string>{"tiny", "other"});
  EXPECT_THAT(directory.listed(), ElementsAre("tiny", "other"));
  ASSERT_NE(directory.find("other"), nullptr);
  EXPECT_EQ(directory.find("other")->model, "other");
  EXPECT_EQ(directory.find("")->model, "tiny");
  EXPECT_EQ(directory.find("Tiny"), nullptr);
  EXPECT_TRUE(directory.has_local());
  EXPECT_FALSE(directory.has_remote());
  EXPECT_EQ(Directory(std::vector<std::string>{}).find(""), nullptr);
}

TEST(Directory, AliasesLeadToModelsHereAndElsewhere) {
  Config config;
  config.backends.resize(3);
  config.backends[0].names = {"tiny"};
  config.backends[1].url = config.backends[2].url = "http://h";
  config.backends[1].models = {{"big", "up"}};
  config.backends[2].models = {{"big", "up"}, {"bigger", "up"}};
  config.aliases.push_back({"chat", "big", false, {}, true});
  config.aliases.push_back({"think", "tiny", true, "max", false});
  const Directory directory(config);
  EXPECT_THAT(directory.listed(), ElementsAre("tiny", "big", "bigger", "chat"));
  EXPECT_EQ(directory.find("chat")->model, "big");
  EXPECT_EQ(directory.find("chat")->thinking, false);
  EXPECT_FALSE(directory.find("chat")->local);
  EXPECT_TRUE(directory.find("think")->local);
  EXPECT_EQ(directory.find("think")->effort, "max");
  EXPECT_EQ(directory.find("big")->thinking, std::nullopt);
  EXPECT_TRUE(directory.has_remote());
}

TEST(Directory, ANameMayBeServedHereAndElsewhere) {
  Config config;
  config.backends.resize(2);
  config.backends[0].url = "http://h";
  config.backends[0].models = {{"r1", "up"}, {"v3", "up"}};
  config.backends[1].names = {"r1"};
  const Directory directory(config);
  EXPECT_THAT(directory.listed(), ElementsAre("r1", "v3"));
  EXPECT_TRUE(directory.find("r1")->local);
  EXPECT_TRUE(directory.find("r1")->remote);
  EXPECT_FALSE(directory.find("v3")->local);
}

}  // namespace
}  // namespace hadal::gateway
