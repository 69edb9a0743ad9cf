#include "hadal/gateway/rollout_probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hadal/gateway/body_scan.h"

namespace hadal::gateway {
namespace {

using ::testing::HasSubstr;

TEST(Probes, AreReadFromALine) {
  const auto probes = read_probes(
      "- {prompt: 'What is 17 + 25?', contains: '42'}\n"
      "- {prompt: Say yes, exact: 'yes', max_tokens: 3}\n"
      "- {prompt: A digit, regex: '^\\s*[0-9]$'}\n");
  ASSERT_TRUE(probes) << probes.error().what;
  ASSERT_EQ(probes->size(), 3u);
  EXPECT_EQ((*probes)[1], (Probe{"Say yes", "", "yes", "", 3}));
}

TEST(Probes, MistakesAreShownWithTheirPlace) {
  const std::pair<const char*, const char*> kBad[] = {
      {"{a: b}", "1:1: probes: found a map of 1, expected a list of questions"},
      {"[]", "there must be one question at least"},
      {"- {contains: x}", "1:3: [0]: 'prompt' is missing"},
      {"- {prompt: x}", "1:3: [0]: one of 'contains', 'exact' and 'regex' is needed"},
      {"- {prompt: x, contains: a, exact: a}", "one of"},
      {"- {prompt: x, contains: a}\n- {prompt: x, regex: '('}", "2:15: [1].regex: "},
      {"- {prompt: x, contain: a}", "there is no field 'contain'; did you mean 'contains'?"},
  };
  for (const auto& [yaml, wanted] : kBad) {
    const auto probes = read_probes(yaml);
    ASSERT_FALSE(probes) << yaml;
    EXPECT_THAT(probes.error().what, HasSubstr(wanted));
  }
  EXPECT_FALSE(load_probes("/no/such/file"));
}

TEST(Probes, Pass) {
  EXPECT_TRUE(passes({"", "42"}, "It is 42."));
  EXPECT_FALSE(passes({"", "42"}, "It is 4 2."));
  EXPECT_TRUE(passes({"", "", "yes"}, " yes\n"));
  EXPECT_FALSE(passes({"", "", "yes"}, "yes."));
  EXPECT_TRUE(passes({"", "", "", "[0-9]{2}"}, "It is 42."));
  EXPECT_FALSE(passes({"", "", "", "^[0-9]{2}"}, "It is 42."));
  // A long answer neither overflows the stack nor takes long.
  EXPECT_FALSE(passes({"", "", "", "x*y"}, std::string(kProbeAnswerMax, 'z')));
  EXPECT_FALSE(passes({"", "", "", ".*y"}, std::string(kProbeAnswerMax, 'x')));
}

TEST(Probes, BodyIsJsonWhateverThePromptSays) {
  const auto scan = scan_body(probe_body({"a \"b\"\\\n\x01 你", "x"}, "m\"odel"));
  ASSERT_TRUE(scan) << scan.error().what;
  EXPECT_EQ(scan->model, "m\"odel");
  EXPECT_EQ(scan->max_tokens, 256);
}

}  // namespace
}  // namespace hadal::gateway
