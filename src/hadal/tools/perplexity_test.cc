// Perplexity of the embedded model on text of its own world, and what the cache's type does to it.
#include "hadal/tools/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "hadal/base/file.h"
#include "hadal/hw/cpu.h"

namespace hadal {
namespace {

class PerplexityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string folder = HADAL_SOURCE_DIR "/models/tiny/";
    auto files = open_model(folder + "hadal-tiny.gguf");
    ASSERT_TRUE(files) << files.error().what;
    auto backend = kernels::make_cpu_backend("", cpu_features(), pool_);
    ASSERT_TRUE(backend);
    backend_ = std::move(*backend);
    auto tokenizer = Tokenizer::make(*files->vocab());
    ASSERT_TRUE(tokenizer);
    tokenizer_.emplace(std::move(*tokenizer));
    auto model = load_model(*files, *backend_, {});
    ASSERT_TRUE(model) << model.error().what;
    model_ = std::move(*model);
    auto text = read_file(folder + "sample.txt", 1 << 20);
    ASSERT_TRUE(text);
    text_ = std::move(*text);
  }

  Result<PerplexityReport> measure(std::string_view text, const PerplexityOptions& options) {
    return measure_perplexity(*model_, *backend_, *tokenizer_, text, options);
  }

  ThreadPool pool_{2};
  std::unique_ptr<kernels::Backend> backend_;
  std::optional<Tokenizer> tokenizer_;
  std::unique_ptr<Model> model_;
  std::string text_;
};

TEST_F(PerplexityTest, TypesOfTheCacheCostAtMostATenthOfAPercent) {
  std::map<DType, double> perplexity;
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI8}) {
    PerplexityOptions options;
    options.kv_dtype = dtype;
    const auto report = measure(text_, options);
    ASSERT_TRUE(report) << report.error().what;
    EXPECT_GT(report->tokens, 5000);
    perplexity[dtype] = report->perplexity();
    RecordProperty(std::string(kv_type_name(dtype)), std::to_string(report->perplexity()));
  }
  // A model that knew nothing would be as unsure as its vocabulary is large.
  EXPECT_LT(perplexity[DType::kF32], 2.5);
  // Rounding may land on the better side as well, by as much: that is no cost.
  for (const auto& [dtype, value] : perplexity) {
    EXPECT_LT(value / perplexity[DType::kF32], 1.0 + 1e-3) << kv_type_name(dtype);
    EXPECT_GT(value / perplexity[DType::kF32], 1.0 - 5e-3) << kv_type_name(dtype);
  }
}

// The naive form of latent attention, for every row.
TEST_F(PerplexityTest, TheFormOfAttentionCostsAtMostATenthOfAPercent) {
  const double absorbed = measure(text_, {})->perplexity();
  LoadOptions load;
  load.naive_rows_min = 1;
  auto naive =
      load_model(*open_model(HADAL_SOURCE_DIR "/models/tiny/hadal-tiny.gguf"), *backend_, load);
  ASSERT_TRUE(naive) << naive.error().what;
  const bool has_it = (*naive)->weight_bytes() > model_->weight_bytes();
  model_ = std::move(*naive);
  const double found = measure(text_, {})->perplexity();
  EXPECT_LT(found / absorbed, 1.0 + 1e-3);
  EXPECT_GT(found / absorbed, 1.0 - 5e-3);
  EXPECT_EQ(found != absorbed, has_it);
  RecordProperty("naive", std::to_string(found));
}

// Every document is foreseen alone, and questions are not counted.
TEST_F(PerplexityTest, DocumentsDoNotMeetAndOnlyAnswersCount) {
  const std::string mark = "<｜begin▁of▁sentence｜>";
  const size_t second = text_.find(mark, 1);
  const size_t third = text_.find(mark, second + 1);
  const std::string a = text_.substr(0, second);
  const std::string b = text_.substr(second, third - second);
  const auto first = measure(a, {});
  const auto last = measure(b, {});
  const auto both = measure(a + b, {});
  ASSERT_TRUE(first && last && both);
  EXPECT_EQ(both->tokens, first->tokens + last->tokens);
  EXPECT_NEAR(both->entropy * both->tokens,
              first->entropy * first->tokens + last->entropy * last->tokens, 1e-9);
  const std::string answer = a.substr(a.find("<｜Assistant｜>") + sizeof("<｜Assistant｜>") - 1);
  EXPECT_EQ(first->tokens, static_cast<int64_t>(tokenizer_->encode(answer, {false, true}).size()));
  EXPECT_DOUBLE_EQ(first->perplexity(), std::exp(first->entropy));
}

// However a window is cut into steps, a token's probability is the same.
TEST_F(PerplexityTest, StepsDoNotChangeIt) {
  const std::string text = text_.substr(0, 3000);
  PerplexityOptions options;
  options.kv_dtype = DType::kI8;
  const auto whole = measure(text, options);
  options.step_rows = 7;
  const auto cut = measure(text, options);
  ASSERT_TRUE(whole && cut);
  EXPECT_EQ(whole->entropy, cut->entropy);
}

TEST_F(PerplexityTest, PlainTextCountsWhole) {
  const auto report = measure("one two three", {});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->tokens, static_cast<int64_t>(tokenizer_->encode("one two three", {}).size()));
}

TEST_F(PerplexityTest, RefusesWhatItCannotMeasure) {
  EXPECT_EQ(measure("", {}).error().code, Code::kInvalidInput);
  PerplexityOptions options;
  options.window = 1 << 20;
  EXPECT_EQ(measure("one two three", options).error().code, Code::kInvalidInput);
}

}  // namespace
}  // namespace hadal
