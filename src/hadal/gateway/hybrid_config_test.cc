// The sections sensitivity, routes and cost: what they say, and what is wrong with them.
#include <gtest/gtest.h>

#include <string>

#include "hadal/gateway/config.h"

namespace hadal::gateway {
namespace {

const ConfigContext kContext{[](const std::string& model) { return model; }};

constexpr const char* kBackends = R"(backends:
- {name: here, model: f, names: [m], overflow_at: 0.5}
- {name: cloud, url: 'http://h', models: {m: up}}
)";

std::string errors(const std::string& yaml) {
  const auto config = read_config(kBackends + yaml, kContext);
  return config ? "good" : error_lines(config.error());
}

TEST(HybridConfig, SaysAll) {
  const auto config = read_config(R"(store: {path: a.db}
backends:
- {name: here, model: f, names: [m], overflow_at: 0.5}
- name: cloud
  url: http://h
  models: {m: up}
  trusted: true
  cost: {prices: [{hours: "16:30-00:30", output: 1.5}, {input_miss: 2}], budget_per_month: 9}
sensitivity:
  detectors: [email, phone]
  mask: [email]
  allow: [opaque]
  classes: {top: {keywords: [绝密], patterns: ['a+'], headers: {x-c: top}}}
routes:
- {name: r, labels: [top, email], models: [m], tenants: [default], load_above: 0.5, to: [here]}
- {name: no, clean: true, refuse: true}
)",
                                  kContext);
  ASSERT_TRUE(config) << config.error().front().what;
  EXPECT_TRUE(config->sensitivity.on);
  EXPECT_EQ(config->sensitivity.detectors.size(), 2u);
  EXPECT_EQ(config->sensitivity.classes.front().name, "top");
  EXPECT_TRUE(config->backends[1].trusted);
  EXPECT_EQ(config->backends[1].cost.prices[1].input_miss, 2);
  EXPECT_EQ(config->backends[0].overflow_at, 0.5);
  EXPECT_EQ(config->routes[0].to, std::vector<std::string>{"here"});
  EXPECT_TRUE(config->routes[1].refuse);
}

TEST(HybridConfig, WithoutTheSectionNothingIsLookedFor) {
  const auto config = read_config(kBackends, kContext);
  ASSERT_TRUE(config);
  EXPECT_FALSE(config->sensitivity.on);
  EXPECT_EQ(errors("sensitivity: {}\n"), "good");
}

struct Wrong {
  const char* yaml;
  const char* error;
};
class HybridMistakes : public testing::TestWithParam<Wrong> {};
TEST_P(HybridMistakes, AreNamed) { EXPECT_EQ(errors(GetParam().yaml), GetParam().error); }

INSTANTIATE_TEST_SUITE_P(
    All, HybridMistakes,
    testing::Values(
        Wrong{"sensitivity: {detectors: [emial]}\n",
              "4:15: sensitivity.detectors: there is no detector 'emial'"},
        Wrong{"sensitivity: {mask: [emaill]}\n",
              "4:15: sensitivity.mask: there is no label 'emaill'; did you mean 'email'?"},
        Wrong{"sensitivity: {mask: [opaque]}\n",
              "4:15: sensitivity.mask: 'opaque' has no text to replace"},
        Wrong{"sensitivity: {mask: [email], allow: [email]}\n",
              "4:30: sensitivity.allow: 'email' is in 'mask', too"},
        Wrong{"sensitivity: {allow: [unreadable]}\n",
              "4:15: sensitivity.allow: what cannot be read is never sent on"},
        Wrong{"sensitivity: {classes: {Top: {keywords: [ab]}}}\n",
              "4:25: sensitivity.classes.Top: a class's name has 1 to 32 small letters, digits and "
              "'_', a letter first"},
        Wrong{"sensitivity: {classes: {email: {keywords: [ab]}}}\n",
              "4:25: sensitivity.classes.email: 'email' is a label of its own already"},
        Wrong{"sensitivity: {classes: {x: {patterns: ['(']}}}\n",
              "4:29: sensitivity.classes.x.patterns: missing closing parenthesis at byte 1 of the "
              "expression"},
        Wrong{"sensitivity: {classes: {x: {}}}\n",
              "4:25: sensitivity.classes.x: one of 'keywords', 'patterns' and 'headers' is needed"},
        Wrong{"routes: [{name: r, to: [clud]}]\n",
              "4:20: routes[0].to: there is no backend 'clud'; did you mean 'cloud'?"},
        Wrong{"routes: [{name: r}]\n", "4:10: routes[0]: one of 'to' and 'refuse: true' is needed"},
        Wrong{"routes: [{name: r, to: [here], refuse: true}]\n",
              "4:10: routes[0]: one of 'to' and 'refuse: true' is needed"},
        Wrong{"routes: [{name: r, labels: [email], to: [here]}]\n",
              "4:10: routes[0]: nothing is looked for: the section 'sensitivity' is missing"},
        Wrong{"sensitivity: {}\nroutes: [{name: r, labels: [emial], to: [here]}]\n",
              "5:20: routes[0].labels: there is no label 'emial'; did you mean 'email'?"},
        Wrong{"routes: [{name: r, models: [n], to: [here]}]\n",
              "4:20: routes[0].models: there is no model 'n'; did you mean 'm'?"},
        Wrong{"routes: [{name: r, tenants: [lab], to: [here]}]\n",
              "4:20: routes[0].tenants: there is no tenant 'lab'"},
        Wrong{"routes: [{name: r, to: [here]}, {name: r, to: [cloud]}]\n",
              "4:34: routes[1].name: 'r' is another route, too"},
        Wrong{"routes: [{name: r, prompt_min: 9, prompt_max: 8, to: [here]}]\n",
              "4:35: routes[0].prompt_max: is less than 'prompt_min'"},
        Wrong{
            "- {name: c, url: 'http://h', models: {m: u}, cost: {budget_per_month: 1}}\n",
            "4:53: backends[2].cost.budget_per_month: nothing costs anything: 'prices' is missing\n"
            "4:53: backends[2].cost.budget_per_month: has to be remembered: 'store.path' is "
            "missing"},
        Wrong{"- {name: c, url: 'http://h', models: {m: u}, cost: {prices: [{hours: noon}]}}\n",
              "4:63: backends[2].cost.prices[0].hours: found 'noon', expected two times of a day, "
              "such as 16:30-00:30"}));

}  // namespace
}  // namespace hadal::gateway
