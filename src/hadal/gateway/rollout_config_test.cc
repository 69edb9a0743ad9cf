#include "hadal/gateway/rollout_config.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hadal/base/file.h"
#include "hadal/gateway/config.h"

namespace hadal::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kBase =
    "store: {path: s.db}\n"
    "backends:\n"
    "- {name: one, url: 'http://h:1', models: {r1: x, r2: y}}\n"
    "- {name: two, url: 'http://h:2', models: {r1: x}}\n"
    "aliases: {gpt: r1}\n"
    "rollouts:\n";

tl::expected<Config, ConfigErrors> read(std::string_view yaml) {
  return read_config(yaml, {[](const std::string& model) { return model; }});
}

std::string errors_of(const std::string& rollouts) {
  const auto config = read(std::string(kBase) + rollouts);
  return config ? "none" : error_lines(config.error());
}

TEST(RolloutConfig, EveryField) {
  const auto config = read(std::string(kBase) + R"(
  next:
    kind: canary
    model: gpt
    baseline: {backends: [one]}
    candidate: {model: r2, backends: [one]}
    steps: [0.5, 10, 100]
    window: 1h
    windows: 3
    samples: 50
    alpha: 0.01
    margins: {errors: 0.1, refusals: 0.2, first_token: 0.3, between_tokens: 0.4, length: 0.5, score: 0.6}
    probes: {file: p.yaml, every: 5s}
    refusal_openings: ["I will not"]
    autostart: false
  test:
    kind: experiment
    model: r1
    arms:
      plain: {}
      other: {weight: 3, target: {backends: [two]}}
  copy: {kind: shadow, model: r1, candidate: {model: r2}, share: 2.5, in_flight: 7}
)");
  ASSERT_TRUE(config) << config.error().front().what;
  ASSERT_EQ(config->rollouts.size(), 3u);
  const RolloutConfig& next = config->rollouts[0];
  EXPECT_EQ(next.name, "next");
  EXPECT_TRUE(next.is_judged());
  EXPECT_THAT(next.steps, ElementsAre(0.5, 10, 100));
  EXPECT_EQ(next.candidate, (RolloutTarget{"r2", {"one"}}));
  EXPECT_EQ(next.margins, (RolloutMargins{0.1, 0.2, 0.3, 0.4, 0.5, 0.6}));
  EXPECT_EQ(next.probes, (RolloutProbes{"p.yaml", Millis(5'000)}));
  EXPECT_FALSE(next.autostart);
  EXPECT_EQ(config->rollouts[1].what(), RolloutKind::kExperiment);
  EXPECT_EQ(config->rollouts[1].arms[1], (RolloutArm{"other", 3, RolloutTarget{"", {"two"}}}));
  EXPECT_EQ(config->rollouts[2].share, 2.5);
}

struct Bad {
  std::string rollouts;
  std::string errors;
};
class BadRollout : public ::testing::TestWithParam<Bad> {};
TEST_P(BadRollout, IsRefusedWithItsPlace) {
  EXPECT_EQ(errors_of(GetParam().rollouts), GetParam().errors);
}
INSTANTIATE_TEST_SUITE_P(
    All, BadRollout,
    ::testing::Values(
        Bad{"  a: {candidate: {model: r2}}\n", "7:6: rollouts.a: 'model' is missing"},
        Bad{"  a: {model: r3, candidate: {model: r2}}\n",
            "7:7: rollouts.a.model: no backend or alias is called 'r3'; did you mean 'r1'?"},
        Bad{"  a: {model: r1, candidate: {model: rr2}}\n",
            "7:30: rollouts.a.candidate.model: no backend or alias is called 'rr2'; did you mean "
            "'r2'?"},
        Bad{"  a: {model: r1, candidate: {backends: [tow]}}\n",
            "7:41: rollouts.a.candidate.backends[0]: there is no backend 'tow'; did you mean "
            "'two'?"},
        Bad{"  a: {model: r1, candidate: {model: r2, backends: [two]}}\n",
            "7:52: rollouts.a.candidate.backends[0]: backend 'two' does not serve 'r2'"},
        Bad{"  a: {model: gpt, candidate: {backends: [one]}, baseline: {backends: [one]}}\n",
            "7:19: rollouts.a.candidate: is the same as the baseline"},
        Bad{"  a: {model: r1}\n",
            "7:3: rollouts.a.candidate: 'model' or 'backends' is missing: where the share goes"},
        Bad{"  a: {model: r1, candidate: {model: r2}, steps: [1, 5, 5]}\n",
            "7:56: rollouts.a.steps[2]: the steps must rise"},
        Bad{"  a: {model: r1, candidate: {model: r2}, steps: [0]}\n",
            "7:50: rollouts.a.steps[0]: found '0', expected a number from 0.01 to 100"},
        Bad{"  a: {model: r1, candidate: {model: r2}, steps: []}\n",
            "7:42: rollouts.a.steps: there must be one at least"},
        Bad{"  a: {kind: blue-green, model: r1, candidate: {model: r2}, steps: [50]}\n",
            "7:60: rollouts.a.steps: belongs to a canary"},
        Bad{"  a: {kind: experiment, model: r1, arms: {x: {}}}\n",
            "7:36: rollouts.a.arms: an experiment has two arms or more"},
        Bad{"  a: {kind: experiment, model: r1, arms: {x: {weight: 0}, y: {weight: 0}}}\n",
            "7:36: rollouts.a.arms: all weights are 0"},
        Bad{"  a: {model: r1, candidate: {model: r2}, share: 5}\n",
            "7:42: rollouts.a.share: belongs to a shadow"},
        Bad{"  'a b': {model: r1, candidate: {model: r2}}\n",
            "7:3: rollouts.a b: a rollout's name has 1 to 64 letters, digits, '-', '_' or '.'"},
        Bad{"  a: {model: r1, candidate: {model: r2}}\n"
            "  s: {kind: shadow, model: r1, candidate: {model: r2}}\n"
            "  b: {kind: experiment, model: r1, arms: {x: {}, y: {}}}\n",
            "9:25: rollouts.b.model: rollout 'a' has the requests of 'r1' already"}));

TEST(RolloutConfig, NeedsAPlaceWhereItIsKept) {
  const std::string yaml = std::string(kBase.substr(kBase.find('\n') + 1)) +
                           "  a: {model: r1, candidate: {model: r2}}\n";
  const auto config = read(yaml);
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().front().what, HasSubstr("'store.path' is missing"));
}

TEST(RolloutConfig, OneThatIsNotDeclaredIsReadAsJsonOrYaml) {
  const auto config = read(std::string(kBase) + "  x: {model: r1, candidate: {model: r2}}\n");
  ASSERT_TRUE(config);
  const auto read_one = read_rollout(
      "mine", R"({"model": "r1", "candidate": {"model": "r2"}, "steps": [10]})", *config);
  ASSERT_TRUE(read_one) << read_one.error().what;
  EXPECT_EQ(read_one->name, "mine");
  EXPECT_EQ(read_one->steps, std::vector<double>{10});
  const auto bad = read_rollout("mine", "model: r1\ncandidate: {model: r9}\n", *config);
  ASSERT_FALSE(bad);
  EXPECT_THAT(bad.error().what, HasSubstr("2:13: candidate.model: no backend or alias is called"));
  EXPECT_FALSE(read_rollout("mine", "{", *config));
  EXPECT_FALSE(read_rollout("../x", "model: r1\ncandidate: {model: r2}\n", *config));
}

TEST(RolloutConfig, IdentityChangesWithWhatIsComparedNotWithHow) {
  RolloutConfig one;
  one.model = "r1";
  one.candidate.model = "r2";
  RolloutConfig other = one;
  other.alpha = 0.01;
  other.window = Millis(1);
  EXPECT_EQ(one.identity(), other.identity());
  other.candidate.backends = {"two"};
  EXPECT_NE(one.identity(), other.identity());
  other = one;
  other.steps.push_back(60);
  EXPECT_NE(one.identity(), other.identity());
}

}  // namespace
}  // namespace hadal::gateway
