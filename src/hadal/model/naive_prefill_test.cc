// LoadOptions::naive_rows_min: which steps it changes, and by how much.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "hadal/format/testing/files.h"
#include "hadal/model/testing/small_model.h"

namespace hadal {
namespace {

using testing::small_gguf;
using testing::TempFolder;

const std::vector<int32_t> kTokens = {7, 1, 30, 30, 2,  47, 0,  19, 5,  11, 40,
                                      3, 8, 9,  6,  21, 4,  33, 2,  17, 25, 0};

// Of its weights at random, a model may choose another expert for a row whose last bits changed.
double median_difference(const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<double> differences;
  for (size_t i = 0; i < a.size(); ++i) differences.push_back(std::abs(double{a[i]} - b[i]));
  std::ranges::nth_element(differences, differences.begin() + differences.size() / 2);
  return differences[differences.size() / 2];
}

class NaivePrefill : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto backend = kernels::make_cpu_backend(GetParam(), cpu_features(), pool_);
    if (!backend) GTEST_SKIP() << backend.error().what;
    backend_ = std::move(*backend);
  }
  std::unique_ptr<Model> load(Architecture architecture, int32_t naive_rows_min) {
    small_gguf(architecture).write(folder_ / "m.gguf");
    LoadOptions options;
    options.naive_rows_min = naive_rows_min;
    options.log = [this](LogLevel, std::string_view message) { log_ += message; };
    auto model = load_model(*open_model(folder_ / "m.gguf"), *backend_, options);
    EXPECT_TRUE(model) << model.error().what;
    return std::move(*model);
  }
  // In steps of `rows` tokens; 0: in one.
  std::vector<float> logits(Model& model, int32_t rows = 0) {
    return testing::all_logits(model, *backend_, kTokens, {std::byte{0}, rows});
  }

  TempFolder folder_;
  ThreadPool pool_{2};
  std::unique_ptr<kernels::Backend> backend_;
  std::string log_;
};
INSTANTIATE_TEST_SUITE_P(Cpu, NaivePrefill, ::testing::Values("avx512", "avx2", "ref"),
                         [](const auto& info) { return info.param; });

TEST_P(NaivePrefill, ChangesLastBitsOfLongStepsAlone) {
  const auto absorbed = load(Architecture::kDeepseek2, 0);
  const std::vector<float> expected = logits(*absorbed);
  EXPECT_EQ(log_, "");
  const auto naive = load(Architecture::kDeepseek2, 6);
  if (GetParam() != "avx512") {
    EXPECT_NE(log_.find("has none"), std::string::npos) << log_;
    EXPECT_EQ(logits(*naive), expected);
    return;
  }
  const uint64_t bytes = naive->weight_bytes() - absorbed->weight_bytes();
  EXPECT_GT(bytes, 0);
  EXPECT_EQ(log_, "naive form of attention for pieces of prompts from 6 rows, " +
                      std::to_string(bytes) + " bytes more");
  EXPECT_EQ(logits(*naive, 5), expected);
  for (const int32_t rows : {0, 7}) {
    const std::vector<float> found = logits(*naive, rows);
    EXPECT_NE(found, expected) << rows;
    EXPECT_LT(median_difference(found, expected), 0.05) << rows;
  }
}

TEST_P(NaivePrefill, OfOtherAttentionIsNothing) {
  const auto absorbed = load(Architecture::kLlama, 0);
  EXPECT_EQ(log_, "");
  const auto naive = load(Architecture::kLlama, 1);
  EXPECT_NE(log_.find("not latent"), std::string::npos) << log_;
  EXPECT_EQ(logits(*naive), logits(*absorbed));
  EXPECT_EQ(naive->weight_bytes(), absorbed->weight_bytes());
}

}  // namespace
}  // namespace hadal
