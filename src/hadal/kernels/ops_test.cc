// Every operation on matrices x every implementation of this machine x shapes x types, against the
// reference. Attention: attention_ops_test.cc; the gate's rules: gate_test.cc.
//
// Tolerances are measured, not chosen: the reference runs again on inputs that carry the errors an
// implementation may make (fixture.h, disturbed), and what that does to the outputs gives the
// tolerance (close.h, rounding_tolerance). A wrong weight or element changes more at these sizes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "hadal/kernels/ref/gate.h"
#include "hadal/kernels/testing/close.h"
#include "hadal/kernels/testing/fixture.h"

namespace hadal::kernels::testing {
namespace {

// What the roundings of a result to float may add.
constexpr double kOutputRounding = 0x1p-20;
constexpr float kEps = 1e-5f;

class Ops : public AgainstReference {};
INSTANTIATE_TEST_SUITE_P(Cpu, Ops, ::testing::ValuesIn(implementations(false)),
                         [](const auto& info) { return info.param; });

class AnyOps : public Ops {};
INSTANTIATE_TEST_SUITE_P(Cpu, AnyOps, ::testing::ValuesIn(implementations(true)),
                         [](const auto& info) { return info.param; });

std::vector<float> ones(int64_t count) {
  return std::vector<float>(static_cast<size_t>(count), 1.0f);
}

Activations project(Backend& backend, const Matrix& matrix, const Activations& x) {
  Activations out(x.rows, matrix.rows());
  LinearArgs args;
  args.x = x.view();
  args.projections[0].weight = &matrix;
  args.projections[0].out = out.view();
  args.projection_count = 1;
  backend.linear(args);
  return out;
}

Activations normalised(Backend& backend, const Activations& x, const std::vector<float>& weight) {
  Activations out(x.rows, x.cols);
  backend.rms_norm({x.view(), weight.data(), kEps, out.view()});
  return out;
}

struct Shape {
  int64_t rows, cols, count;
};

// Columns: below a block, one block, a few, and not a multiple of 64; the K-quants' block is 256.
std::vector<Shape> shapes_of(DType dtype) {
  const int64_t block = dtype_info(dtype).block_elements;
  if (block == 1) {
    return {{1, 1, 1},    {3, 5, 2},     {16, 32, 1},  {17, 33, 3},
            {40, 130, 5}, {129, 257, 2}, {33, 512, 70}};
  }
  if (block == 32) {
    return {{1, 32, 1}, {16, 64, 2}, {17, 96, 3}, {40, 160, 9}, {129, 352, 2}, {33, 512, 70}};
  }
  return {{1, 256, 1}, {17, 256, 3}, {40, 512, 9}, {129, 768, 2}, {33, 512, 70}};
}

TEST_P(Ops, Linear) {
  for (const DType dtype : weight_types()) {
    for (const Shape& shape : shapes_of(dtype)) {
      SCOPED_TRACE(std::string(dtype_name(dtype)) + " " + std::to_string(shape.rows) + "x" +
                   std::to_string(shape.cols) + " of " + std::to_string(shape.count));
      const Weights weights = make_weights(dtype, shape.rows, shape.cols, 1, 0.5f, 11);
      const Activations x = make_activations(shape.count, shape.cols, 1.0f, 12);
      const auto matrix = pack(backend(), weights);
      const auto ref_matrix = pack(ref(), weights);
      const Activations expected = project(ref(), *ref_matrix, x);
      const bool quantized = dtype_info(dtype).quantized;
      const double tolerance = rounding_tolerance(expected.values, [&](uint64_t seed) {
        return project(ref(), *ref_matrix, disturbed(x, quantized, seed)).values;
      });
      const Comparison result = compare(expected.values, project(backend(), *matrix, x).values,
                                        tolerance + kOutputRounding);
      EXPECT_TRUE(result.close) << result.what;
    }
  }
}

// Norm, bias, adding and several projections at once.
TEST_P(Ops, LinearWithEverything) {
  const Activations x = make_activations(5, 64, 2.0f, 21);
  const std::vector<float> norm = make_activations(1, 64, 1.0f, 22).values;
  const std::vector<float> bias = make_activations(1, 48, 1.0f, 23).values;
  const Weights wide = make_weights(DType::kF32, 48, 64, 1, 0.5f, 24);
  const Weights narrow = make_weights(DType::kF16, 7, 64, 1, 0.5f, 25);
  const Weights square = make_weights(DType::kBF16, 64, 64, 1, 0.5f, 26);
  const Activations before = make_activations(5, 64, 1.0f, 27);
  const auto run = [&](Backend& on) {
    const auto a = pack(on, wide);
    const auto b = pack(on, narrow);
    const auto c = pack(on, square);
    Activations out_a(5, 48);
    Activations out_b(5, 7);
    Activations out_c = before;
    LinearArgs args;
    args.x = x.view();
    args.norm_weight = norm.data();
    args.norm_eps = kEps;
    args.projections[0] = {a.get(), bias.data(), out_a.view(), false};
    args.projections[1] = {b.get(), nullptr, out_b.view(), false};
    args.projections[2] = {c.get(), nullptr, out_c.view(), true};
    args.projection_count = 3;
    on.linear(args);
    std::vector<float> all = out_a.values;
    all.insert(all.end(), out_b.values.begin(), out_b.values.end());
    all.insert(all.end(), out_c.values.begin(), out_c.values.end());
    return all;
  };
  // |h| <= 4 |norm|, so that sums of 64 terms stay below 64 * 4 * 0.5; 8 roundings a term at most.
  const Comparison result = compare(run(ref()), run(backend()), 128 * 8 * 0x1p-24 * 8);
  EXPECT_TRUE(result.close) << result.what;
}

// What a reader of all numbers would find.
Greatest found_in(const std::vector<float>& row) {
  Greatest best;
  for (size_t c = 0; c < row.size(); ++c) {
    if (row[c] > best.value) best = {row[c], static_cast<int32_t>(c)};
  }
  return best;
}

TEST_P(AnyOps, LinearTellsTheGreatest) {
  // 5000 rows of 512 numbers are shared out among threads.
  for (const Shape& shape : {Shape{1, 32, 1}, Shape{15, 64, 3}, Shape{100, 64, 20},
                             Shape{5000, 512, 1}, Shape{5001, 512, 9}}) {
    const auto matrix =
        pack(backend(), make_weights(DType::kQ8_0, shape.rows, shape.cols, 1, 0.5f, 61));
    const Activations x = make_activations(shape.count, shape.cols, 1.0f, 62);
    Activations out(x.rows, matrix->rows());
    std::vector<Greatest> greatest(static_cast<size_t>(x.rows));
    LinearArgs args{x.view(), nullptr, 0.0f, {}, 1, greatest.data()};
    args.projections[0] = {matrix.get(), nullptr, out.view(), false};
    backend().linear(args);
    for (int64_t r = 0; r < x.rows; ++r) {
      const float* row = out.view().row(r);
      const Greatest expected = found_in({row, row + out.cols});
      EXPECT_EQ(greatest[static_cast<size_t>(r)].index, expected.index) << r;
      EXPECT_EQ(greatest[static_cast<size_t>(r)].value, expected.value) << r;
    }
  }
}

TEST_P(AnyOps, TheGreatestIsTheFirstOfEqualsAndANumber) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr int64_t kRows = 75;
  const auto zeros = pack(backend(), make_weights(DType::kF32, kRows, 8, 1, 0.0f, 63));
  const Activations x(1, 8);
  const auto greatest_of = [&](const std::vector<float>& bias) {
    Activations out(1, kRows);
    Greatest greatest{1e30f, 7};  // of before: it must not count
    LinearArgs args{x.view(), nullptr, 0.0f, {}, 1, &greatest};
    args.projections[0] = {zeros.get(), bias.data(), out.view(), false};
    backend().linear(args);
    return greatest;
  };
  std::vector<float> bias(kRows, -2.0f);
  EXPECT_EQ(greatest_of(bias).index, 0);
  for (const size_t at : {74, 33, 17}) {
    bias[at] = 3.0f;
    EXPECT_EQ(greatest_of(bias).index, static_cast<int32_t>(at));
  }
  bias[2] = std::nanf("");
  EXPECT_EQ(greatest_of(bias).index, 17) << "NaN is not a number";
  bias[70] = kInfinity;
  EXPECT_EQ(greatest_of(bias).index, 70);
  bias.assign(kRows, -kInfinity);
  EXPECT_EQ(greatest_of(bias).index, -1);
  bias[5] = std::nanf("");
  EXPECT_EQ(greatest_of(bias).index, -1);
  EXPECT_EQ(greatest_of(bias).value, -kInfinity);
  bias[74] = -1e30f;
  EXPECT_EQ(greatest_of(bias).index, 74);
}

// Strided views: what lies between the rows stays.
TEST_P(AnyOps, LinearWritesOnlyItsColumns) {
  const Weights weights = make_weights(DType::kQ8_0, 20, 32, 1, 0.5f, 31);
  const auto matrix = pack(backend(), weights);
  const Activations x = make_activations(3, 40, 1.0f, 32);
  Activations out(3, 30);
  std::fill(out.values.begin(), out.values.end(), 77.0f);
  LinearArgs args;
  args.x = x.view().columns(8, 32);
  args.projections[0] = {matrix.get(), nullptr, out.view().columns(4, 20), false};
  args.projection_count = 1;
  backend().linear(args);
  for (int64_t r = 0; r < 3; ++r) {
    for (int64_t c = 0; c < 30; ++c) {
      EXPECT_EQ(out.row(r)[c] == 77.0f, c < 4 || c >= 24) << r << "," << c;
    }
  }
}

TEST_P(AnyOps, LinearRowsDoNotDependOnTheBatch) {
  for (const DType dtype : weight_types()) {
    const Weights weights = make_weights(dtype, 70, 512, 1, 0.5f, 41);
    const auto matrix = pack(backend(), weights);
    const Activations x = make_activations(37, 512, 1.0f, 42);
    const Activations together = project(backend(), *matrix, x);
    for (const int64_t r : {0, 1, 8, 36}) {
      Activations alone(1, 512);
      std::copy_n(x.row(r), 512, alone.row(0));
      const Activations out = project(backend(), *matrix, alone);
      EXPECT_EQ(std::memcmp(out.row(0), together.row(r), 70 * sizeof(float)), 0)
          << dtype_name(dtype) << " row " << r;
    }
  }
}

TEST_P(Ops, RmsNorm) {
  for (const int64_t cols : {1, 7, 16, 64, 100, 2048}) {
    const Activations x = make_activations(3, cols, 3.0f, 51);
    const std::vector<float> weight = make_activations(1, cols, 1.0f, 52).values;
    const Activations expected = normalised(ref(), x, weight);
    const Activations actual = normalised(backend(), x, weight);
    // |h| <= sqrt(cols) |weight|; the sum of squares is off by at most cols units, so h by half of
    // that.
    const double largest = std::sqrt(static_cast<double>(cols)) * 4;
    const double units = 0.5 * std::sqrt(static_cast<double>(cols)) + 4;
    const Comparison result = compare(expected.values, actual.values, largest * units * 0x1p-24);
    EXPECT_TRUE(result.close) << cols << ": " << result.what;
    Activations in_place = x;
    backend().rms_norm({in_place.view(), weight.data(), kEps, in_place.view()});
    EXPECT_EQ(in_place.values, actual.values);
  }
}

TEST_P(AnyOps, RmsNormOfZerosIsZeroAndNanStaysInItsRow) {
  Activations x(3, 64);
  x.row(1)[5] = std::nanf("");
  const Activations out = normalised(backend(), x, ones(64));
  for (int c = 0; c < 64; ++c) {
    EXPECT_EQ(out.row(0)[c], 0.0f);
    EXPECT_TRUE(std::isnan(out.row(1)[c]));
    EXPECT_EQ(out.row(2)[c], 0.0f);
  }
}

TEST_P(AnyOps, EmbedIsTheDecodedRow) {
  for (const DType dtype : weight_types()) {
    const Weights weights = make_weights(dtype, 19, 256, 1, 1.0f, 61);
    const auto table = pack(backend(), weights);
    const std::vector<int32_t> tokens = {18, 0, 7, 7, 16};
    Activations out(5, 256);
    backend().embed({table.get(), tokens, out.view()});
    for (int64_t i = 0; i < 5; ++i) {
      const float* expected = weights.values[0].data() + tokens[i] * 256;
      const Comparison result =
          compare({expected, 256}, {out.row(i), 256}, 4 * 0x1p-24);  // one rounding of |w| <= 1
      EXPECT_TRUE(result.close) << dtype_name(dtype) << " " << result.what;
    }
  }
}

TEST_P(AnyOps, GatherCopiesRows) {
  const Activations x = make_activations(6, 50, 1.0f, 71);
  const std::vector<int32_t> rows = {5, 0, 0, 3};
  Activations out(4, 50);
  backend().gather({x.view(), rows, out.view()});
  for (int64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(std::memcmp(out.row(i), x.row(rows[i]), 50 * sizeof(float)), 0) << i;
  }
}

struct FfnWeights {
  Weights gate, up, down;
};

FfnWeights make_ffn(DType dtype, DType down_dtype, int64_t hidden, int64_t inner, int64_t count,
                    uint64_t seed) {
  const float spread = 3.0f / std::sqrt(static_cast<float>(hidden));
  return {make_weights(dtype, inner, hidden, count, spread, seed),
          make_weights(dtype, inner, hidden, count, spread, seed + 1),
          make_weights(down_dtype, hidden, inner, count, spread, seed + 2)};
}

std::unique_ptr<Ffn> pack_ffn(Backend& backend, const FfnWeights& w) {
  auto packed = backend.pack_ffn(w.gate.source, w.up.source, w.down.source);
  EXPECT_TRUE(packed.has_value());
  return std::move(*packed);
}

// One part of an ffn from the reference's projections, with errors where an implementation makes
// them.
class FfnModel {
 public:
  FfnModel(Backend& ref, const FfnWeights& w, int64_t part)
      : ref_(ref),
        gate_(one(w.gate, part)),
        up_(one(w.up, part)),
        down_(one(w.down, part)),
        quantized_{dtype_info(w.gate.source.dtype).quantized,
                   dtype_info(w.down.source.dtype).quantized} {}

  double tolerance(const Activations& h) {
    const Activations exact = run(h, false, 0);
    const double errors =
        rounding_tolerance(exact.values, [&](uint64_t seed) { return run(h, true, seed).values; });
    return errors + kOutputRounding;
  }

 private:
  std::unique_ptr<Matrix> one(const Weights& all, int64_t part) {
    MatrixSource source = all.source;
    source.parts = {all.source.parts[part]};
    if (!source.fp8_scales.empty()) source.fp8_scales = {all.source.fp8_scales[part]};
    auto matrix = ref_.pack(source);
    EXPECT_TRUE(matrix.has_value());
    return std::move(*matrix);
  }
  Activations run(const Activations& h, bool noise, uint64_t seed) {
    const Activations in = noise ? disturbed(h, quantized_[0], 2 * seed) : h;
    Activations inner = project(ref_, *gate_, in);
    const Activations up = project(ref_, *up_, in);
    for (size_t i = 0; i < inner.values.size(); ++i) {
      const double gate = inner.values[i];
      inner.values[i] = static_cast<float>(gate / (1 + std::exp(-gate)) * up.values[i]);
    }
    return project(ref_, *down_, noise ? disturbed(inner, quantized_[1], 2 * seed + 1) : inner);
  }

  Backend& ref_;
  std::unique_ptr<Matrix> gate_, up_, down_;
  bool quantized_[2];
};

struct FfnCase {
  DType dtype, down_dtype;
  int64_t hidden, inner, count;
};

std::vector<FfnCase> ffn_cases() {
  return {{DType::kF32, DType::kF32, 48, 40, 3},      {DType::kBF16, DType::kBF16, 64, 96, 17},
          {DType::kF16, DType::kF16, 33, 50, 1},      {DType::kF8E4M3, DType::kF8E4M3, 256, 160, 5},
          {DType::kQ8_0, DType::kQ8_0, 64, 96, 7},    {DType::kQ4_0, DType::kQ4_0, 96, 64, 40},
          {DType::kQ4_K, DType::kQ5_0, 256, 352, 6},  {DType::kQ4_K, DType::kQ8_0, 256, 96, 1},
          {DType::kQ6_K, DType::kQ6_K, 256, 512, 19}, {DType::kIQ4_XS, DType::kIQ4_NL, 512, 96, 2},
          {DType::kMXFP4, DType::kMXFP4, 64, 64, 9},  {DType::kQ2_K, DType::kQ3_K, 256, 256, 4}};
}

TEST_P(Ops, Ffn) {
  for (const FfnCase& c : ffn_cases()) {
    SCOPED_TRACE(std::string(dtype_name(c.dtype)) + " " + std::string(dtype_name(c.down_dtype)));
    const FfnWeights weights = make_ffn(c.dtype, c.down_dtype, c.hidden, c.inner, 1, 91);
    const Activations x = make_activations(c.count, c.hidden, 1.0f, 92);
    const std::vector<float> norm = make_activations(1, c.hidden, 1.0f, 93).values;
    const auto run = [&](Backend& on) {
      const auto ffn = pack_ffn(on, weights);
      Activations out = x;  // in place, as a model uses it
      on.ffn({out.view(), norm.data(), kEps, ffn.get(), out.view()});
      return out;
    };
    const double tolerance = FfnModel(ref(), weights, 0).tolerance(normalised(ref(), x, norm));
    const Comparison result = compare(run(ref()).values, run(backend()).values, tolerance);
    EXPECT_TRUE(result.close) << result.what;
  }
}

struct MoeCase {
  FfnCase ffn;
  int64_t experts;
  GateConfig gate;
  bool bias, shared;
};

std::vector<MoeCase> moe_cases() {
  const GateConfig lite{GateFunction::kSoftmax, 3, 1, 1, false, 1.0f};
  const GateConfig v2{GateFunction::kSoftmax, 4, 4, 2, false, 16.0f};
  const GateConfig v3{GateFunction::kSigmoid, 4, 4, 2, true, 2.5f};
  return {{{DType::kF32, DType::kF32, 48, 40, 9}, 8, lite, false, true},
          {{DType::kBF16, DType::kBF16, 64, 32, 33}, 16, v2, false, true},
          {{DType::kQ8_0, DType::kQ8_0, 64, 96, 1}, 16, v3, true, true},
          {{DType::kQ4_K, DType::kQ5_0, 256, 96, 21}, 16, v3, true, true},
          {{DType::kQ4_0, DType::kQ4_0, 64, 64, 70}, 8, lite, false, false},
          {{DType::kF8E4M3, DType::kF8E4M3, 128, 128, 5}, 8, lite, true, true}};
}

// A mixture with its inputs; rows whose choice hangs on less than 1e-3 are drawn again, since there
// an implementation may rightly choose otherwise.
class MoeProblem {
 public:
  MoeProblem(Backend& ref, const MoeCase& c)
      : c_(c),
        experts_(
            make_ffn(c.ffn.dtype, c.ffn.down_dtype, c.ffn.hidden, c.ffn.inner, c.experts, 101)),
        shared_(make_ffn(c.ffn.dtype, c.ffn.down_dtype, c.ffn.hidden, c.ffn.inner, 1, 105)),
        router_(make_activations(c.experts, c.ffn.hidden, 0.3f, 108)),
        bias_(make_activations(1, c.experts, 0.1f, 109).values),
        norm_(make_activations(1, c.ffn.hidden, 1.0f, 110).values),
        x_(0, 0) {
    Activations pool = make_activations(c.ffn.count * 8, c.ffn.hidden, 1.0f, 111);
    const Activations h = normalised(ref, pool, norm_);
    x_ = Activations(c.ffn.count, c.ffn.hidden);
    int64_t found = 0;
    for (int64_t r = 0; r < pool.rows && found < c.ffn.count; ++r) {
      if (steady(h.row(r))) std::copy_n(pool.row(r), c.ffn.hidden, x_.row(found++));
    }
    EXPECT_EQ(found, c.ffn.count);
  }

  Activations run(Backend& on, const Activations& x, std::vector<uint64_t>* counts) const {
    const auto experts = pack_ffn(on, experts_);
    const auto shared = pack_ffn(on, shared_);
    Activations out = x;
    MoeArgs args;
    args.x = out.view();
    args.norm_weight = norm_.data();
    args.norm_eps = kEps;
    args.gate = c_.gate;
    args.router = router_.values.data();
    args.router_bias = c_.bias ? bias_.data() : nullptr;
    args.experts = experts.get();
    args.shared = c_.shared ? shared.get() : nullptr;
    args.out = out.view();
    args.expert_rows = counts != nullptr ? counts->data() : nullptr;
    on.moe(args);
    return out;
  }

  double tolerance(Backend& ref) const {
    const Activations h = normalised(ref, x_, norm_);
    double worst = 0;
    for (int64_t e = 0; e < c_.experts; ++e) {
      worst = std::max(worst, FfnModel(ref, experts_, e).tolerance(h));
    }
    // Normalised weights add up to `scale`; a softmax's to at most that.
    const bool sigmoid = c_.gate.function == GateFunction::kSigmoid && !c_.gate.normalize;
    const double weight = c_.gate.scale * (sigmoid ? c_.gate.experts_used : 1);
    return worst * (weight + (c_.shared ? 1 : 0));
  }

  const Activations& x() const { return x_; }

 private:
  bool steady(const float* h) const {
    const auto chosen = [&](double change) {
      std::vector<double> logits;
      for (int64_t e = 0; e < c_.experts; ++e) {
        double sum = e % 2 ? change : -change;
        for (int64_t i = 0; i < c_.ffn.hidden; ++i) sum += double{router_.row(e)[i]} * h[i];
        logits.push_back(sum);
      }
      const std::span<const float> bias =
          c_.bias ? std::span<const float>(bias_) : std::span<const float>();
      std::vector<int32_t> experts;
      for (const ref::Choice& choice :
           ref::choose_experts(c_.gate, ref::gate_scores(c_.gate.function, logits), bias)) {
        experts.push_back(choice.expert);
      }
      return experts;
    };
    return chosen(0) == chosen(1e-3) && chosen(0) == chosen(-1e-3);
  }

  MoeCase c_;
  FfnWeights experts_, shared_;
  Activations router_;
  std::vector<float> bias_, norm_;
  Activations x_;
};

TEST_P(Ops, Moe) {
  for (const MoeCase& c : moe_cases()) {
    SCOPED_TRACE(std::string(dtype_name(c.ffn.dtype)) + " rows " + std::to_string(c.ffn.count));
    const MoeProblem problem(ref(), c);
    std::vector<uint64_t> expected_counts(c.experts, 5);
    std::vector<uint64_t> counts(c.experts, 5);
    const Activations expected = problem.run(ref(), problem.x(), &expected_counts);
    const Activations actual = problem.run(backend(), problem.x(), &counts);
    const Comparison result = compare(expected.values, actual.values, problem.tolerance(ref()));
    EXPECT_TRUE(result.close) << result.what;
    EXPECT_EQ(counts, expected_counts);
  }
}

TEST_P(AnyOps, FfnAndMoeRowsDoNotDependOnTheBatch) {
  for (const MoeCase& c : moe_cases()) {
    SCOPED_TRACE(std::string(dtype_name(c.ffn.dtype)));
    const MoeProblem problem(*make_reference_backend(), c);
    const Activations together = problem.run(backend(), problem.x(), nullptr);
    for (const int64_t r : {int64_t{0}, c.ffn.count / 2, c.ffn.count - 1}) {
      Activations alone(1, c.ffn.hidden);
      std::copy_n(problem.x().row(r), c.ffn.hidden, alone.row(0));
      const Activations out = problem.run(backend(), alone, nullptr);
      EXPECT_EQ(std::memcmp(out.row(0), together.row(r), c.ffn.hidden * sizeof(float)), 0) << r;
    }
  }
}

// The test of the tests: a weight whose sign is wrong must be seen at the derived tolerance.
TEST(OpsTest, OneWrongWeightIsSeen) {
  const auto ref = make_reference_backend();
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kQ8_0, DType::kQ4_0}) {
    const Weights weights = make_weights(dtype, 33, 512, 1, 0.5f, 11);
    const Activations x = make_activations(70, 512, 1.0f, 12);
    const auto matrix = pack(*ref, weights);
    const Activations expected = project(*ref, *matrix, x);
    const bool quantized = dtype_info(dtype).quantized;
    const double tolerance = rounding_tolerance(expected.values, [&](uint64_t seed) {
      return project(*ref, *matrix, disturbed(x, quantized, seed)).values;
    });
    std::vector<float> broken = weights.values[0];
    float& largest = *std::max_element(broken.begin() + 5 * 512, broken.begin() + 6 * 512);
    largest = -largest;
    const Activations actual = project(*ref, *pack(*ref, exact_weights(33, 512, broken)), x);
    EXPECT_FALSE(compare(expected.values, actual.values, tolerance).close) << dtype_name(dtype);
  }
}

}  // namespace
}  // namespace hadal::kernels::testing
