#include "hadal/gateway/config.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hadal/base/file.h"

namespace hadal::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::StartsWith;

ConfigContext context() {
  return {[](const std::string& model) { return "name-of-" + model; }};
}

tl::expected<Config, ConfigErrors> read(std::string_view yaml) {
  return read_config(yaml, context());
}

std::string errors_of(std::string_view yaml) {
  const auto config = read(yaml);
  return config ? "none" : error_lines(config.error());
}

TEST(Config, EveryKindOfField) {
  const auto config = read(R"(
server:
  host: "::1"
  port: 0
  keys_file: keys
backends:
  - name: here
    model: embedded
    names: [tiny, small]
    engine: {context: 512, kv_memory: 64M, kv_type: int8, mla_prefill: naive, target_itl: 250ms, threads: 2}
  - name: far
    url: https://example.org/v1/
    models: {big: deepseek-chat, bigger: deepseek-reasoner}
    key_env: KEY
    weight: 3
    backup: true
    timeouts: {connect: 1s, first_byte: 2m}
aliases:
  gpt: tiny
  deepseek-chat: {model: big, thinking: false}
  deepseek-reasoner: {model: small, thinking: true, effort: high, listed: false}
)");
  ASSERT_TRUE(config) << config.error().front().what;
  EXPECT_EQ(config->server.host, "::1");
  EXPECT_EQ(config->server.port, 0);
  EXPECT_EQ(config->server.connections, 1024);
  ASSERT_EQ(config->backends.size(), 2u);
  const BackendConfig& here = config->backends[0];
  EXPECT_TRUE(here.is_local());
  EXPECT_EQ(config->local(), &here);
  EXPECT_THAT(here.names, ElementsAre("tiny", "small"));
  EXPECT_EQ(here.engine.context, 512);
  EXPECT_EQ(here.engine.kv_memory, 64u << 20);
  EXPECT_EQ(here.engine.kv_type, "int8");
  EXPECT_EQ(here.engine.mla_prefill, "naive");
  EXPECT_EQ(here.engine.target_itl, Millis(250));
  const BackendConfig& far = config->backends[1];
  EXPECT_THAT(far.models,
              ElementsAre(Pair("big", "deepseek-chat"), Pair("bigger", "deepseek-reasoner")));
  EXPECT_EQ(far.weight, 3);
  EXPECT_TRUE(far.backup);
  EXPECT_EQ(far.timeouts.connect, Millis(1'000));
  EXPECT_EQ(far.timeouts.first_byte, Millis(120'000));
  EXPECT_EQ(far.timeouts.idle, Millis(60'000));
  ASSERT_EQ(config->aliases.size(), 3u);
  EXPECT_EQ(config->aliases[0].model, "tiny");
  EXPECT_EQ(config->aliases[0].thinking, std::nullopt);
  EXPECT_EQ(config->aliases[1].thinking, false);
  EXPECT_EQ(config->aliases[2].thinking, true);
  EXPECT_FALSE(config->aliases[2].listed);
}

TEST(Config, LocalModelHasItsOwnNameUnlessSaid) {
  const auto config = read("backends: [{name: a, model: x.gguf}]");
  ASSERT_TRUE(config);
  EXPECT_THAT(config->backends[0].names, ElementsAre("name-of-x.gguf"));
}

constexpr const char* kGood = "backends:\n- {name: a, model: m, names: [tiny]}\n";

TEST(Config, EmptyValuesAreAsIfAbsent) {
  EXPECT_EQ(errors_of(std::string(kGood) + "aliases:\nserver:\n  port:\n  host: ~\n"), "none");
}

struct Bad {
  std::string yaml;
  std::string errors;
};

class BadConfig : public ::testing::TestWithParam<Bad> {};

TEST_P(BadConfig, IsRefusedWithItsPlace) {
  EXPECT_EQ(errors_of(GetParam().yaml), GetParam().errors);
}

const std::string kRemote = "backends:\n- name: u\n  url: http://h:1\n  models: {m: x}\n";

INSTANTIATE_TEST_SUITE_P(
    Form, BadConfig,
    ::testing::Values(
        Bad{"", "1:1: the configuration: 'backends' is missing"},
        Bad{"- 1\n", "1:1: the configuration: found a list of 1, expected a map of fields"},
        Bad{"backends: []\n", "1:1: backends: there must be one at least"},
        Bad{"backends: {}\n",
            "1:1: backends: there must be one at least\n"
            "1:11: backends: found a map of 0, expected a list"},
        Bad{std::string(kGood) + "sever: {}\n",
            "3:1: the configuration: there is no field 'sever'; did you mean 'server'?"},
        Bad{std::string(kGood) + "entirely_else: {}\n",
            "3:1: the configuration: there is no field 'entirely_else'; known: server, backends, "
            "aliases, cache, balancing, store, tenants, prices, queue, admin, sensitivity, "
            "routes, rollouts, batches, audit"},
        Bad{std::string(kGood) + "server:\n  prot: 80\n",
            "4:3: server: there is no field 'prot'; did you mean 'port'?"},
        Bad{std::string(kGood) + "server:\n  port: 65536\n",
            "4:9: server.port: found '65536', expected a whole number from 0 to 65535"},
        Bad{std::string(kGood) + "server:\n  port: '80'\n",
            "4:9: server.port: found the text '80', expected a whole number from 0 to 65535"},
        Bad{std::string(kGood) + "server:\n  port: [80]\n",
            "4:9: server.port: found a list of 1, expected a whole number from 0 to 65535"},
        Bad{std::string(kGood) + "server:\n  port: 1\n  port: 2\n",
            "5:3: 'port' is given twice, first in line 4"},
        Bad{std::string(kGood) + "aliases: {x: &a tiny}\n",
            "3:14: anchors (&name) are not read here"},
        Bad{std::string(kGood) + "---\nserver: {}\n",
            "3:1: a second document; a configuration is one"},
        Bad{std::string(kGood) + "? [a]\n: 1\n", "3:3: a key must be a plain name"},
        Bad{"a: [1\nb: 2", "2:2: not YAML: end of sequence flow not found"},
        Bad{std::string("backends: \n\0", 12), "2:1: a NUL byte"}));

INSTANTIATE_TEST_SUITE_P(
    Sense, BadConfig,
    ::testing::Values(
        Bad{"backends:\n- {model: m}\n", "2:3: backends[0]: 'name' is missing"},
        Bad{"backends:\n- {name: a}\n",
            "2:3: backends[0]: a backend has either 'model' (run here) or 'url' (asked over HTTP)"},
        Bad{"backends:\n- {name: a, model: m, url: 'http://h'}\n",
            "2:3: backends[0]: a backend has either 'model' (run here) or 'url' (asked over HTTP)"},
        Bad{"backends:\n- {name: a, model: m}\n- {name: b, model: n}\n",
            "3:13: backends[1].model: one process runs one model; another backend has 'model' "
            "already"},
        Bad{"backends:\n- {name: a, model: m, weight: 2}\n",
            "2:23: backends[0].weight: belongs to a backend with 'url'"},
        Bad{kRemote + "  engine: {threads: 1}\n",
            "5:3: backends[0].engine: belongs to a backend with 'model'"},
        Bad{kRemote + "- {name: u, model: m}\n",
            "5:4: backends[1].name: 'u' is the name of another backend, too"},
        Bad{"backends:\n- name: u\n  url: ftp://h\n  models: {m: x}\n",
            "3:3: backends[0].url: found 'ftp://h', expected http://... or https://..."},
        Bad{"backends:\n- {name: u, url: 'http://h'}\n",
            "2:3: backends[0]: 'models' is missing: the model names that this backend serves, each "
            "with the upstream's name for it"},
        Bad{kRemote + "  weight: 0\n",
            "5:3: backends[0].weight: all backends of 'm' have the weight 0"},
        Bad{kRemote + "  key_env: A\n  key_file: b\n",
            "5:3: backends[0].key_env: one of 'key_env' and 'key_file', not both"},
        Bad{kRemote + "  timeouts: {idle: 5}\n",
            "5:20: backends[0].timeouts.idle: found '5', expected a duration from 1ms to 1d, such "
            "as 5s or 250ms"},
        Bad{std::string(kGood) + "aliases: {x: tinny}\n",
            "3:11: aliases.x.model: no backend serves 'tinny'; did you mean 'tiny'?"},
        Bad{std::string(kGood) + "aliases:\n  x: tiny\n  y: x\n",
            "5:3: aliases.y.model: an alias names a model, not another alias: 'x'; served: tiny"},
        Bad{std::string(kGood) + "aliases: {tiny: tiny}\n",
            "3:11: aliases.tiny: a backend serves this name itself"},
        Bad{std::string(kGood) + "aliases: {x: {thinking: true}}\n",
            "3:14: aliases.x: 'model' is missing"},
        Bad{std::string(kGood) + "aliases: {x: {model: tiny, thinking: yes}}\n",
            "3:38: aliases.x.thinking: found 'yes', expected true or false"},
        Bad{std::string(kGood) + "aliases: {x: {model: tiny, effort: most}}\n",
            "3:36: aliases.x.effort: found 'most', expected one of low, high, max"}));

TEST(Config, ErrorsAreAllShownInTheOrderOfTheFile) {
  EXPECT_EQ(errors_of("server:\n  port: x\nbackends:\n- {name: a, model: m, names: [n]}\n"
                      "aliases: {q: z}\n"),
            "2:9: server.port: found 'x', expected a whole number from 0 to 65535\n"
            "5:11: aliases.q.model: no backend serves 'z'; did you mean 'n'?");
}

TEST(Config, LargeAndDeepFilesAreRefusedNotFollowed) {
  EXPECT_THAT(errors_of(std::string(kConfigBytesMax + 1, '#')), HasSubstr("at most"));
  EXPECT_THAT(errors_of("a: " + std::string(200, '[') + std::string(200, ']')), HasSubstr("deep"));
  EXPECT_NE(errors_of(std::string(100'000, '[')), "none");
  std::string wide = "[";
  for (size_t i = 0; i <= kConfigNodesMax; ++i) wide += "1,";
  EXPECT_THAT(errors_of(wide + "]"), HasSubstr("more than"));
}

TEST(Config, FileErrorsNameTheFileAndPathsAreTakenFromItsFolder) {
  const std::string folder = ::testing::TempDir();
  const std::string path = folder + "hadal_config_test.yaml";
  ASSERT_TRUE(write_file_atomic(path, "server: {port: x}\nbackends: [{name: a, model: m}]\n"));
  const auto bad = load_config(path, context());
  ASSERT_FALSE(bad);
  EXPECT_THAT(bad.error().what, StartsWith(path + ":1:16: server.port: "));
  ASSERT_TRUE(
      write_file_atomic(path, "server: {keys_file: k}\nbackends: [{name: a, model: /m}]\n"));
  const auto good = load_config(path, context());
  ASSERT_TRUE(good) << good.error().what;
  EXPECT_EQ(good->server.keys_file, folder + "k");
  EXPECT_EQ(good->backends[0].model, "/m");
  EXPECT_FALSE(load_config(folder + "no_such_file", context()));
}

TEST(Config, DocumentationIsWhatTheFieldsSay) {
  const auto page = read_file(HADAL_SOURCE_DIR "/docs/configuration.md", 1 << 20);
  ASSERT_TRUE(page);
  EXPECT_EQ(*page, config_markdown())
      << "write it again: hadal serve --print-config-docs > docs/configuration.md";
}

// The example that the page begins with.
TEST(Config, ExampleInTheDocumentationIsRight) {
  const std::string page = config_markdown();
  const size_t begin = page.find("```yaml\n") + 8;
  EXPECT_EQ(errors_of(page.substr(begin, page.find("```", begin) - begin)), "none");
}

TEST(Durations, AreReadAndWritten) {
  for (const auto& [text, millis] : {std::pair("0s", 0),
                                     {"250ms", 250},
                                     {"5s", 5'000},
                                     {"90s", 90'000},
                                     {"2m", 120'000},
                                     {"1h", 3'600'000},
                                     {"1d", 86'400'000}}) {
    EXPECT_EQ(parse_duration(text), Millis(millis)) << text;
    EXPECT_EQ(duration_text(Millis(millis)), text);
  }
  for (const char* text : {"", "5", "s", "-5s", "5 s", "5S", "1.5s", "99999999999999999999s",
                           "9223372036854775807d"}) {
    EXPECT_EQ(parse_duration(text), std::nullopt) << text;
  }
}

TEST(Sizes, AreReadAndWritten) {
  EXPECT_EQ(parse_size("512"), 512u);
  EXPECT_EQ(parse_size("4G"), 4ull << 30);
  EXPECT_EQ(parse_size("4GiB"), 4ull << 30);
  EXPECT_EQ(bytes_text(10ull << 30), "10G");
  EXPECT_EQ(bytes_text(1'000), "1000");
  for (const char* text : {"", "G", "4GB", "4g", "-1", "1.5G", "99999999999T"}) {
    EXPECT_EQ(parse_size(text), std::nullopt) << text;
  }
}

TEST(NearestName, IsNearOrNothing) {
  EXPECT_EQ(nearest_name("prot", {"host", "port"}), "port");
  EXPECT_EQ(nearest_name("max_in_fligt", {"models", "max_in_flight"}), "max_in_flight");
  EXPECT_EQ(nearest_name("zebra", {"host", "port"}), "");
  EXPECT_EQ(nearest_name(std::string(1'000, 'p'), {"port"}), "");
}

}  // namespace
}  // namespace hadal::gateway
