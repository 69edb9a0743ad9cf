// Reports on real small models: numbers that can be counted by hand, and text that parses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <filesystem>

#include "hadal/tools/bench.h"
#include "hadal/tools/inspect.h"
#include "hadal/tools/report_text.h"

namespace hadal {
namespace {

using testing::HasSubstr;

std::string golden(const char* name) {
  return std::string(HADAL_SOURCE_DIR) + "/../shared/golden/" + name;
}

#define SKIP_WITHOUT_GOLDEN(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no golden data: ../shared/golden is absent"

TEST(ReportText, HumanNumbers) {
  EXPECT_EQ(human_bytes(0), "0 bytes");
  EXPECT_EQ(human_bytes(999), "999 bytes");
  EXPECT_EQ(human_bytes(31'104), "31.1 KB");
  EXPECT_EQ(human_bytes(9'500'000'000), "9.5 GB");
  EXPECT_EQ(human_count(15'700'000'000), "15.7 B");
  EXPECT_EQ(human_count(671'000'000'000), "671 B");
  EXPECT_EQ(human_count(12), "12");
}

TEST(ReportText, JsonStringsEscape) {
  EXPECT_EQ(json_string("a\"b\\c\n\x01"), "\"a\\\"b\\\\c\\u000a\\u0001\"");
}

TEST(Inspect, CountsWhatIsInAFolder) {
  const std::string path = golden("deepseek-v3-tiny-bf16");
  SKIP_WITHOUT_GOLDEN(path);
  const auto files = open_model(path);
  ASSERT_TRUE(files) << files.error().what;
  InspectOptions options;
  options.context = 100;
  options.sequences = 3;
  const auto report = inspect_model(*files, options);
  ASSERT_TRUE(report) << report.error().what;
  // The architecture's arithmetic and the file agree on every parameter.
  int64_t elements = 0;
  for (const TensorGroup& group : report->groups) elements += group.elements;
  EXPECT_EQ(report->config.parameters_total(), static_cast<uint64_t>(elements));
  EXPECT_LT(report->config.parameters_active(), report->config.parameters_total());
  // 4 layers of 64 bytes, 16 values of 2 bytes and two scales.
  EXPECT_EQ(report->memory.kv_per_token, 4u * (64 + 16 * 2 + 8));
  EXPECT_EQ(report->memory.kv, 3u * 128 * report->memory.kv_per_token);  // blocks of 32
  EXPECT_THAT(inspect_text(*report), HasSubstr("routed experts"));
  const auto json = boost::json::parse(inspect_json(*report));
  EXPECT_EQ(json.at("experts").as_int64(), 16);
  EXPECT_EQ(json.at("memory").at("sequences").as_int64(), 3);
  EXPECT_EQ(json.at("groups").as_array().size(), report->groups.size());
}

TEST(Inspect, Fp8ScalesAreAGroupOfTheirOwn) {
  const std::string path = golden("deepseek-v3-tiny-fp8");
  SKIP_WITHOUT_GOLDEN(path);
  const auto files = open_model(path);
  ASSERT_TRUE(files) << files.error().what;
  const auto report = inspect_model(*files, {});
  ASSERT_TRUE(report) << report.error().what;
  int64_t weights = 0;
  bool scales = false;
  for (const TensorGroup& group : report->groups) {
    scales |= group.name == "FP8 scales";
    if (group.name != "FP8 scales") weights += group.elements;
  }
  EXPECT_TRUE(scales);
  EXPECT_EQ(report->config.parameters_total(), static_cast<uint64_t>(weights));
}

struct LoadedModel {
  ThreadPool pool{2};
  SystemClock clock;
  std::unique_ptr<kernels::Backend> backend;
  std::unique_ptr<Model> model;

  void load(const std::string& path) {
    const auto files = open_model(path);
    ASSERT_TRUE(files) << files.error().what;
    auto made = kernels::make_cpu_backend("", cpu_features(), pool);
    ASSERT_TRUE(made) << made.error().what;
    backend = std::move(*made);
    auto read = load_model(*files, *backend, {});
    ASSERT_TRUE(read) << read.error().what;
    model = std::move(*read);
  }
};

TEST(Bench, MeasuresEveryRowAndReportsShares) {
  const std::string path = golden("deepseek-v2-tiny-bf16");
  SKIP_WITHOUT_GOLDEN(path);
  LoadedModel loaded;
  ASSERT_NO_FATAL_FAILURE(loaded.load(path));
  BenchOptions options;
  options.prefill_tokens = 16;
  options.decode_tokens = 2;
  options.batches = {1, 3};
  options.depths = {600, 0};
  options.repeats = 1;
  std::vector<std::string> steps;
  const auto report =
      run_bench(*loaded.model, *loaded.backend, loaded.pool, loaded.clock, cpu_features(), options,
                [&](const std::string& step) { steps.push_back(step); });
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_THAT(steps,
              testing::ElementsAre("machine ceilings", "prefill 16", "decode x 1", "decode x 3"));
  ASSERT_EQ(report->results.size(), 5u);
  EXPECT_EQ(report->results[3].name, "decode x 3 at 600");
  EXPECT_EQ(report->results[3].depth, 600);
  // More rows to read, less speed at best.
  EXPECT_LT(report->results[3].bandwidth_ceiling, report->results[4].bandwidth_ceiling);
  for (const BenchResult& result : report->results) {
    EXPECT_GT(result.tokens_per_second, 0) << result.name;
    EXPECT_LE(result.slowest, result.fastest) << result.name;
    EXPECT_GT(result.share(), 0) << result.name;
  }
  const auto json = boost::json::parse(bench_json(*report));
  EXPECT_EQ(json.at("results").as_array().size(), 5u);
  EXPECT_FALSE(json.at("same_token").as_bool());
  EXPECT_THAT(bench_text(*report), HasSubstr("decode x 3"));
  EXPECT_THAT(bench_text(*report), Not(HasSubstr("same token")));
  // The type that nobody chose is the model's own, and is told.
  EXPECT_EQ(report->kv_dtype, DType::kI8);
  EXPECT_EQ(json.at("kv_type").as_string(), "int8");
  EXPECT_LE(report->slowest_read, report->read_bandwidth);
  EXPECT_LE(report->read_bandwidth, report->fastest_read);
}

// All experts of a step that chooses all of them; the embedding is looked up, not read.
TEST(Bench, AStepReadsWhatItsRowsChoose) {
  const std::string path = golden("deepseek-v2-tiny-bf16");
  SKIP_WITHOUT_GOLDEN(path);
  LoadedModel loaded;
  ASSERT_NO_FATAL_FAILURE(loaded.load(path));
  const Model& model = *loaded.model;
  const ModelConfig& config = model.config();
  ASSERT_FALSE(config.tied_embeddings);
  const uint64_t all = model.step_bytes(config.moe.experts);
  const uint64_t none = model.step_bytes(0);
  EXPECT_EQ(model.step_bytes(2.0 * config.moe.experts), all);
  // Packed as they are, in bf16.
  const auto embedding = static_cast<uint64_t>(config.vocabulary) * config.hidden * 2;
  EXPECT_EQ(all, model.weight_bytes() - embedding);
  const auto layers = static_cast<uint64_t>(config.layers - config.moe.dense_layers);
  const uint64_t expert = uint64_t{3} * config.hidden * config.moe.inner * 2;
  EXPECT_NEAR(all - none, layers * config.moe.experts * expert, 0.05 * (all - none));
  EXPECT_EQ(model.step_bytes(config.moe.experts / 2.0) - none, (all - none) / 2);
}

// Sequences that decode one token read the experts of one row: the ceiling by bandwidth grows with
// the batch, while drawn tokens touch more experts with every sequence.
TEST(Bench, OneTokenForAllTouchesOneRowsExperts) {
  const std::string path = golden("deepseek-v2-tiny-bf16");
  SKIP_WITHOUT_GOLDEN(path);
  LoadedModel loaded;
  ASSERT_NO_FATAL_FAILURE(loaded.load(path));
  BenchOptions options;
  options.prefill_tokens = 0;
  options.decode_tokens = 1;
  options.batches = {1, 8};
  options.repeats = 1;
  const auto growth = [&](bool same_token) {
    options.same_token = same_token;
    const auto report = run_bench(*loaded.model, *loaded.backend, loaded.pool, loaded.clock,
                                  cpu_features(), options, [](const std::string&) {});
    EXPECT_EQ(report->same_token, same_token);
    EXPECT_EQ(boost::json::parse(bench_json(*report)).at("same_token").as_bool(), same_token);
    EXPECT_EQ(bench_text(*report).find("same token") != std::string::npos, same_token);
    return report->results[1].bandwidth_ceiling / report->results[0].bandwidth_ceiling;
  };
  EXPECT_NEAR(growth(true), 8.0, 1e-9);
  EXPECT_LT(growth(false), 7.0);
}

}  // namespace
}  // namespace hadal
