// The naive form of latent attention against the reference, which is absorbed, and against itself.
#include <gtest/gtest.h>

#include <cmath>

#include "hadal/kernels/testing/mla_session.h"

namespace hadal::kernels::testing {
namespace {

class NaiveAttention : public AgainstReference {
 protected:
  void SetUp() override {
    const MlaModel model({1, 4, 2, 4, 4}, DType::kF32);
    const auto k_up = pack(backend(), model.k_up);
    const auto v_up = pack(backend(), model.v_up);
    if (*backend().pack_expansion(*k_up, *v_up) == nullptr) {
      GTEST_SKIP() << GetParam() << " has no naive form";
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Cpu, NaiveAttention, ::testing::ValuesIn(implementations(true)),
                         [](const auto& info) { return info.param; });

Inputs mla_inputs(const MlaShape& shape, int sequences, int64_t length) {
  return make_inputs(sequences, length, shape.stream_cols(), RopeStyle::kInterleaved, shape.rope,
                     410);
}

// Errors twice: beside queries and weights of the softmax, keys and values are rounded as well.
template <class Run>
double naive_tolerance(std::span<const float> expected, const Inputs& inputs, Run run) {
  return rounding_tolerance(expected, [&](uint64_t seed) {
    const Inputs once = disturbed(inputs, {true, false}, DType::kI8, 2 * seed);
    return run(disturbed(once, {false, false}, DType::kI8, 2 * seed + 1));
  });
}

struct NaiveCase {
  MlaShape shape;
  DType weights;
  CacheOptions cache;
  int sequences;
  int64_t length;
  std::vector<int> rows;  // of the steps
};

// Around the edges of a word of 4, a block of 32 outputs, a tile of 16 rows, a span of 128, 512
// expanded positions, 1024 rows of a piece; every type of cache; V2-Lite's shape.
std::vector<NaiveCase> naive_cases() {
  return {
      {{1, 4, 2, 3, 1}, DType::kF32, {DType::kI8, 4}, 1, 5, {2}},
      {{3, 10, 6, 20, 12}, DType::kF32, {DType::kI8, 5}, 3, 33, {17, 3, 1}},
      {{2, 33, 1, 83, 31}, DType::kF32, {DType::kI8, 7}, 2, 40, {15, 16}},
      {{20, 16, 2, 64, 65}, DType::kBF16, {DType::kI8, 32}, 2, 70, {33, 64}},
      {{4, 32, 16, 64, 32}, DType::kQ8_0, {DType::kI8, 16}, 2, 150, {127, 129, 2}},
      {{2, 32, 8, 32, 16}, DType::kQ4_0, {DType::kI8, 32}, 1, 700, {511, 2, 100}},
      {{1, 8, 4, 16, 8}, DType::kF32, {DType::kI8, 32}, 1, 1400, {1100}},
      {{3, 24, 8, 40, 20}, DType::kF32, {DType::kF32, 16}, 2, 60, {40}},
      {{3, 24, 8, 40, 20}, DType::kF16, {DType::kF16, 16}, 2, 60, {40}},
      {{3, 24, 8, 40, 20}, DType::kF16, {DType::kBF16, 8}, 2, 60, {21}},
      {{16, 128, 64, 512, 128}, DType::kBF16, {DType::kI8, 8}, 1, 34, {34}},
  };
}

TEST_P(NaiveAttention, IsTheReferences) {
  for (const NaiveCase& c : naive_cases()) {
    SCOPED_TRACE(std::to_string(c.shape.heads) + " heads, rank " + std::to_string(c.shape.rank) +
                 ", " + std::to_string(c.length) + " rows, " + std::string(dtype_name(c.weights)) +
                 " weights, " + std::string(dtype_name(c.cache.dtype)) + " cache");
    const MlaModel model(c.shape, c.weights);
    const Inputs inputs = mla_inputs(c.shape, c.sequences, c.length);
    const std::vector<Step> steps = together(c.sequences, c.length, c.rows);
    const auto run = [&](Backend& on, const Inputs& with) {
      MlaSession session(on, model, with, c.cache, false, false, 1);
      session.run(steps);
      return session.all_outputs();
    };
    const std::vector<float> expected = run(ref(), inputs);
    const double tolerance =
        naive_tolerance(expected, inputs, [&](const Inputs& with) { return run(ref(), with); });
    const Comparison result = compare(expected, run(backend(), inputs), tolerance);
    EXPECT_TRUE(result.close) << result.what;
  }
}

// Rows of short segments are the absorbed form's, bit by bit, whatever is beside them; those of
// long ones are the same whatever the cut, the company and the number of threads.
TEST_P(NaiveAttention, OnlyLongSegmentsAndTheirRowsDependOnNothingElse) {
  const MlaModel model({3, 32, 8, 32, 32}, DType::kQ8_0);
  const Inputs inputs = mla_inputs(model.shape, 3, 600);
  for (const DType dtype : {DType::kI8, DType::kBF16}) {
    const auto run = [&](Backend& on, const std::vector<Step>& steps, int32_t rows_min) {
      auto session = std::make_unique<MlaSession>(on, model, inputs, CacheOptions{dtype, 8}, false,
                                                  true, rows_min);
      session->run(steps);
      return session;
    };
    const auto absorbed = run(backend(), chunked(3, 600, 600), 0);
    const auto naive = run(backend(), chunked(3, 600, 600), 1);
    EXPECT_NE(naive->outputs(0).values, absorbed->outputs(0).values);
    // Sequence 1 in short pieces between long ones of the others, behind a prefix in the cache.
    std::vector<Step> mixed = {{{0, 64}, {1, 19}, {2, 100}}};
    for (int i = 0; i < 14; ++i) mixed.push_back({{2, 20}, {1, 19}, {0, 30}});
    mixed.push_back({{1, 5}, {0, 116}, {2, 220}});
    for (const int threads : {1, 2, 7}) {
      const Implementation made = make_implementation(GetParam(), threads);
      const auto some = run(*made.backend, mixed, 20);
      for (const int s : {0, 1, 2}) {
        const auto& expected = s == 1 ? absorbed->outputs(s) : naive->outputs(s);
        const auto& found = some->outputs(s);
        const auto rows = s == 1 ? 290 : 600;
        EXPECT_TRUE(std::equal(found.row(0), found.row(0) + rows * found.cols, expected.row(0)))
            << threads << " threads, sequence " << s;
      }
    }
  }
}

// Position 0 may hold anything, a NaN too.
TEST_P(NaiveAttention, SkipsTheFirstPosition) {
  const MlaShape shape{3, 16, 8, 48, 16};
  const MlaModel model(shape, DType::kF32);
  for (const int64_t length : {3, 40, 600}) {
    const Inputs inputs = mla_inputs(shape, 2, length);
    Inputs odd = inputs;
    for (int s = 0; s < 2; ++s) {
      for (float& x : std::span(odd.streams[s][1].row(0), shape.rank)) x = std::nanf("");
    }
    const auto run = [&](Backend& on, const Inputs& with, bool skip) {
      MlaSession session(on, model, with, {DType::kI8, 8}, skip, true, 1);
      std::vector<Step> steps = together(2, 1, {1});
      for (const Step& step : together(2, length - 1, {70, 3})) steps.push_back(step);
      session.run(steps);
      std::vector<float> rows;
      for (int s = 0; s < 2; ++s) {
        const Activations& out = session.outputs(s);
        rows.insert(rows.end(), out.row(1), out.row(0) + out.rows * out.cols);
      }
      return rows;
    };
    const std::vector<float> skipped = run(backend(), inputs, true);
    EXPECT_EQ(run(backend(), odd, true), skipped) << length;
    const std::vector<float> expected = run(ref(), inputs, true);
    const double tolerance = naive_tolerance(
        expected, inputs, [&](const Inputs& with) { return run(ref(), with, true); });
    const Comparison result = compare(expected, skipped, tolerance);
    EXPECT_TRUE(result.close) << length << ": " << result.what;
    EXPECT_FALSE(compare(expected, run(backend(), inputs, false), tolerance).close) << length;
  }
}

// A sequence whose numbers broke harms no other.
TEST_P(NaiveAttention, NanStaysInItsSequence) {
  const MlaModel model({4, 32, 8, 32, 32}, DType::kBF16);
  for (const DType dtype : {DType::kF16, DType::kBF16, DType::kI8}) {
    const Inputs good = mla_inputs(model.shape, 3, 20);
    Inputs bad = good;
    bad.streams[1][1].row(6)[3] = std::nanf("");
    bad.streams[1][0].row(2)[3] = INFINITY;
    const auto run = [&](const Inputs& inputs) {
      auto session = std::make_unique<MlaSession>(backend(), model, inputs, CacheOptions{dtype, 8},
                                                  false, true, 1);
      session->run(together(3, 20, {20}));
      return session;
    };
    const auto expected = run(good);
    const auto actual = run(bad);
    for (const int s : {0, 2}) EXPECT_EQ(actual->outputs(s).values, expected->outputs(s).values);
    EXPECT_TRUE(std::isnan(actual->outputs(1).row(2)[0]));
    EXPECT_TRUE(std::isnan(actual->outputs(1).row(19)[0]));
  }
}

}  // namespace
}  // namespace hadal::kernels::testing
