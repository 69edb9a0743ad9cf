// The promise of storm_test.cc with real models on real kernels: whatever runs beside a request,
// however its prompt is cut, and whether or not it was pre-empted, its tokens and log-probabilities
// are the same bits.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "hadal/base/threads.h"
#include "hadal/engine/testing/fake_model.h"
#include "hadal/engine/testing/storm.h"
#include "hadal/hw/cpu.h"
#include "hadal/obs/registry.h"

namespace hadal {
namespace {

using testing::Answer;
using testing::Job;

struct Variant {
  std::string path;  // from the source tree
  std::string implementation;
  std::optional<DType> quantize;
};

class RealModel : public ::testing::TestWithParam<Variant> {
 protected:
  std::unique_ptr<Engine> make_engine(const EngineOptions& options, const Clock& clock) {
    const Variant& setup = GetParam();
    auto files = open_model(fmt::format("{}/{}", HADAL_SOURCE_DIR, setup.path));
    EXPECT_TRUE(files) << files.error().what;
    LoadOptions load;
    load.quantize = setup.quantize;
    load.drafts = options.speculate != Speculate::kOff;
    auto model = load_model(*files, *backend_, load);
    EXPECT_TRUE(model) << model.error().what;
    auto engine =
        Engine::make(std::move(*model), tokenizer_, *backend_, pool_, options, metrics_, clock, {});
    EXPECT_TRUE(engine) << engine.error().what;
    return std::move(*engine);
  }

  // A crowd that guesses as `speculate` says against each request alone, without.
  void run(Speculate speculate, const Clock& clock) {
    const Variant& setup = GetParam();
    const auto path = std::filesystem::path(HADAL_SOURCE_DIR) / setup.path;
    if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not here";
    auto backend = kernels::make_cpu_backend(setup.implementation, cpu_features(), pool_);
    if (!backend) GTEST_SKIP() << backend.error().what;
    backend_ = std::move(*backend);

    const std::vector<Job> jobs = testing::make_jobs(11, 20);
    EngineOptions roomy;
    roomy.context = 256;
    roomy.sequences_max = 1;
    roomy.speculate = Speculate::kOff;
    EngineOptions tight = roomy;
    std::vector<Answer> alone;
    {
      const auto engine = make_engine(roomy, clock);
      alone = testing::run_alone(jobs, *engine);
      const KvLayout layout = engine->config().kv_layout(roomy.kv_dtype, roomy.block_tokens);
      tight.kv_bytes = 12 * layout.block_bytes();
    }
    tight.sequences_max = 20;
    tight.step_rows_max = 48;
    tight.prefill_rows_with_decode = 5;
    tight.speculate = speculate;
    const auto engine = make_engine(tight, clock);
    const std::vector<Answer> crowd = testing::run_together(jobs, *engine);
    for (size_t i = 0; i < jobs.size() && !HasFailure(); ++i) {
      SCOPED_TRACE(fmt::format("request {}", i));
      testing::expect_same(crowd[i], alone[i]);
    }
  }

  ThreadPool pool_{2};
  std::unique_ptr<kernels::Backend> backend_;
  Tokenizer tokenizer_ = testing::fake_tokenizer();  // the golden models have none
  EngineMetrics metrics_{"golden"};
};

TEST_P(RealModel, ACrowdChangesNoBit) { run(Speculate::kOff, SystemClock()); }

// By n-gram, and with the embedded model by its next-token layer too. A clock that stands still
// lets every guess run.
TEST_P(RealModel, GuessingChangesNoBit) {
  run(Speculate::kAuto, FakeClock());
  // The golden models write noise, in which n-grams seldom recur.
  if (IsSkipped() || HasFailure() || !GetParam().path.ends_with("hadal-tiny.gguf")) return;
  const std::string metrics = exposition(*metrics_.registry());
  EXPECT_EQ(metrics.find("vllm:spec_decode_num_draft_tokens_total{model_name=\"golden\"} 0\n"),
            std::string::npos)
      << "nothing was guessed";
}

std::string name_of(const ::testing::TestParamInfo<Variant>& info) {
  const Variant& setup = info.param;
  const auto family = [&] {
    for (const char* name : {"v2", "v3", "tiny"}) {
      if (setup.path.find(name) != std::string::npos) return name;
    }
    return "other";
  };
  return fmt::format("{}_{}_{}", family(),
                     setup.implementation.empty() ? "best" : setup.implementation,
                     setup.quantize ? std::string(dtype_name(*setup.quantize)) : "stored");
}

constexpr const char* kV2 = "../shared/golden/deepseek-v2-tiny-bf16";
constexpr const char* kV3 = "../shared/golden/deepseek-v3-tiny-bf16";
constexpr const char* kV3Fp8 = "../shared/golden/deepseek-v3-tiny-fp8";

INSTANTIATE_TEST_SUITE_P(
    Golden, RealModel,
    ::testing::Values(Variant{kV2, "", std::nullopt}, Variant{kV3, "", std::nullopt},
                      Variant{kV3Fp8, "avx2", std::nullopt}, Variant{kV3, "", DType::kQ8_0},
                      Variant{"models/tiny/hadal-tiny.gguf", "", std::nullopt},
                      Variant{"models/tiny/hadal-tiny.gguf", "avx2", std::nullopt}),
    name_of);

}  // namespace
}  // namespace hadal
