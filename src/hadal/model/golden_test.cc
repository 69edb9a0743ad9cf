// Logits against DeepSeek's own published model code (float32), from the folder and from each
// generation of GGUF that it can be converted to.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "hadal/base/threads.h"
#include "hadal/hw/cpu.h"
#include "hadal/model/model.h"
#include "hadal/model/testing/convert.h"

namespace hadal {
namespace {

constexpr double kLogitTolerance = 1e-2;

std::string golden_root() { return std::string(HADAL_SOURCE_DIR) + "/../shared/golden/"; }

struct Expected {
  std::vector<int32_t> tokens;
  std::vector<float> logits;  // [tokens, vocabulary]
};

Expected read_expected(const std::string& folder) {
  auto file = open_safetensors({folder + "/expected.safetensors"});
  EXPECT_TRUE(file) << file.error().what;
  const TensorRecord* ids = file->find("input_ids");
  const TensorRecord* logits = file->find("logits");
  Expected expected;
  for (int64_t i = 0; i < ids->elements(); ++i) {
    int64_t id = 0;
    std::memcpy(&id, ids->data.data() + i * 8, 8);
    expected.tokens.push_back(static_cast<int32_t>(id));
  }
  expected.logits.resize(static_cast<size_t>(logits->elements()));
  std::memcpy(expected.logits.data(), logits->data.data(), logits->data.size());
  return expected;
}

// All logits of `tokens`, fed in chunks of `chunk` rows.
std::vector<float> run(Model& model, kernels::Backend& backend, const std::vector<int32_t>& tokens,
                       int32_t chunk) {
  const auto count = static_cast<int32_t>(tokens.size());
  auto arena = KvArena::make(model.config().kv_layout(DType::kF32, 16), count / 16 + 2, backend);
  EXPECT_TRUE(arena) << arena.error().what;
  EXPECT_TRUE(model.prepare(chunk, chunk));
  std::vector<int32_t> blocks;
  for (int32_t b = count / 16 + 1; b >= 0; --b) blocks.push_back(b);  // not in memory order
  std::vector<float> all;
  for (int32_t position = 0; position < count; position += chunk) {
    const int32_t rows = std::min(chunk, count - position);
    const kernels::Segment segment{0, rows, position, blocks};
    std::vector<int32_t> wanted;
    for (int32_t r = 0; r < rows; ++r) wanted.push_back(r);
    const ConstView logits = model.forward(
        {std::span(tokens).subspan(static_cast<size_t>(position), static_cast<size_t>(rows)),
         std::span(&segment, 1), wanted},
        *arena);
    for (int32_t r = 0; r < rows; ++r) {
      all.insert(all.end(), logits.row(r), logits.row(r) + logits.cols);
    }
  }
  return all;
}

void expect_close(const std::vector<float>& found, const std::vector<float>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  double worst = 0.0;
  for (size_t i = 0; i < found.size(); ++i) {
    ASSERT_TRUE(std::isfinite(found[i])) << i;
    worst = std::max(worst, std::abs(static_cast<double>(found[i]) - expected[i]));
  }
  EXPECT_LT(worst, kLogitTolerance);
  testing::Test::RecordProperty("worst", std::to_string(worst));
  std::cout << "[ worst    ] " << worst << "\n";
}

class Golden : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  void SetUp() override {
    folder_ = golden_root() + std::get<0>(GetParam());
    if (!std::filesystem::exists(folder_)) {
      GTEST_SKIP() << "no golden data: ../shared/golden is absent";
    }
    auto backend = kernels::make_cpu_backend(std::get<1>(GetParam()), cpu_features(), pool_);
    if (!backend) GTEST_SKIP() << backend.error().what;
    backend_ = std::move(*backend);
  }

  void check(const std::string& path) {
    const Expected expected = read_expected(folder_);
    auto files = open_model(path);
    ASSERT_TRUE(files) << files.error().what;
    auto model = load_model(*files, *backend_, options_);
    ASSERT_TRUE(model) << model.error().what;
    const auto count = static_cast<int32_t>(expected.tokens.size());
    const std::vector<float> whole = run(**model, *backend_, expected.tokens, count);
    expect_close(whole, expected.logits);
    // The same bits one token at a time and in uneven chunks.
    EXPECT_EQ(run(**model, *backend_, expected.tokens, 1), whole);
    EXPECT_EQ(run(**model, *backend_, expected.tokens, 7), whole);
  }

  std::string folder_;
  LoadOptions options_;
  ThreadPool pool_{2};
  std::unique_ptr<kernels::Backend> backend_;
};

TEST_P(Golden, FolderMatchesPublishedCode) { check(folder_); }

TEST_P(Golden, PackedFilesMatchPublishedCode) {
  const std::string cache = testing::TempDir() + "hadal_golden_packed_" + std::to_string(getpid());
  options_.pack_cache = {.folder = cache, .bytes_min = 0, .settled_ns = 0};
  check(folder_);  // writes it
  EXPECT_EQ(std::filesystem::exists(cache), !backend_->weight_layout().empty());
  check(folder_);
  std::filesystem::remove_all(cache);
}

TEST_P(Golden, EachGgufGenerationMatchesPublishedCode) {
  for (const GgufGeneration generation :
       {GgufGeneration::kJoined, GgufGeneration::kSplit, GgufGeneration::kBoth}) {
    const std::string path =
        testing::TempDir() + "hadal_golden_" + std::to_string(getpid()) + ".gguf";
    auto files = open_model(folder_);
    ASSERT_TRUE(files) << files.error().what;
    const Status written = convert_to_gguf(*files, generation, path);
    ASSERT_TRUE(written) << written.error().what;
    check(path);
    std::filesystem::remove(path);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Golden,
                         testing::Combine(testing::Values("deepseek-v2-tiny-bf16",
                                                          "deepseek-v3-tiny-bf16",
                                                          "deepseek-v3-tiny-fp8"),
                                          testing::Values("ref", "avx2", "avx512")),
                         [](const auto& info) {
                           std::string name =
                               std::get<0>(info.param) + "_" + std::get<1>(info.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace hadal
