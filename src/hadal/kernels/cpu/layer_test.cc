// Projections, feed-forward blocks and mixtures of experts against the reference, and the promises
// about batches and threads.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "hadal/base/threads.h"
#include "hadal/kernels/backend.h"
#include "hadal/kernels/cpu/testing/weights.h"

namespace hadal::kernels::cpu {
namespace {

std::vector<std::string_view> fast_implementations() {
  std::vector<std::string_view> names = cpu_implementations(cpu_features());
  std::erase(names, "ref");
  return names;
}

std::unique_ptr<Backend> backend_named(std::string_view name, ThreadPool& pool) {
  auto backend = make_cpu_backend(name, cpu_features(), pool);
  EXPECT_TRUE(backend.has_value()) << backend.error().what;
  return std::move(*backend);
}

// `count` matrices with one view of all.
struct Stack {
  Stack(DType dtype, int64_t rows, int64_t cols, int64_t count, uint64_t seed) {
    for (int64_t i = 0; i < count; ++i) parts.emplace_back(dtype, rows, cols, seed + i);
  }
  MatrixSource source() const {
    MatrixSource all = parts[0].source();
    for (size_t i = 1; i < parts.size(); ++i) {
      all.parts.push_back(std::span(parts[i].bytes));
      if (!parts[i].scales.empty()) all.fp8_scales.push_back(parts[i].scales);
    }
    return all;
  }
  std::vector<Weights> parts;
};

std::unique_ptr<Ffn> pack_ffn(Backend& backend, const Stack& gate, const Stack& up,
                              const Stack& down) {
  auto ffn = backend.pack_ffn(gate.source(), up.source(), down.source());
  EXPECT_TRUE(ffn.has_value()) << ffn.error().what;
  return std::move(*ffn);
}

double relative_error(const std::vector<float>& values, const std::vector<float>& exact) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    error += (values[i] - exact[i]) * (values[i] - exact[i]);
    norm += exact[i] * exact[i];
  }
  return std::sqrt(error / norm);
}

// Activations rounded to int8 cost about 0.5 % of a product's norm; a SwiGLU rounds twice.
double tolerance(DType dtype) { return dtype_info(dtype).quantized ? 0.02 : 2e-5; }

// A mixture with a shared expert, a dense block and a projection with a norm: everything that an
// implementation may batch, on one input.
struct Layer {
  DType dtype;
  int64_t hidden, inner, experts;
  GateConfig gate;
  Stack gates, ups, downs, shared_gate, shared_up, shared_down, first, second;
  std::vector<float> router, router_bias, norm, bias;

  static constexpr int64_t kOutputs = 37;

  Layer(DType type, int64_t h, int64_t i, int64_t e, DType down_type)
      : dtype(type),
        hidden(h),
        inner(i),
        experts(e),
        gates(type, i, h, e, 100),
        ups(type, i, h, e, 200),
        downs(down_type, h, i, e, 300),
        shared_gate(type, 2 * i, h, 1, 400),
        shared_up(type, 2 * i, h, 1, 500),
        shared_down(down_type, h, 2 * i, 1, 600),
        first(type, kOutputs, h, 1, 700),
        second(type, h, h, 1, 800),
        router(random_floats(1, e * h, 0.3f)),
        router_bias(random_floats(2, e, 0.01f)),
        norm(random_floats(3, h)),
        bias(random_floats(4, kOutputs)) {
    gate.experts_used = 3;
    gate.normalize = true;
    gate.scale = 1.5f;
  }
};

struct Outputs {
  std::vector<float> moe, ffn, first, second;
  std::vector<uint64_t> expert_rows;
};

class Runner {
 public:
  Runner(const Layer& layer, std::string_view implementation, int threads)
      : layer_(layer), pool_(threads), backend_(backend_named(implementation, pool_)) {
    experts_ = pack_ffn(*backend_, layer.gates, layer.ups, layer.downs);
    shared_ = pack_ffn(*backend_, layer.shared_gate, layer.shared_up, layer.shared_down);
    first_ = std::move(*backend_->pack(layer.first.source()));
    second_ = std::move(*backend_->pack(layer.second.source()));
  }

  Outputs run(const std::vector<float>& x) {
    const int64_t hidden = layer_.hidden;
    const auto n = static_cast<int64_t>(x.size()) / hidden;
    Outputs out;
    out.moe = x;  // in place: out may be x itself
    out.expert_rows.resize(static_cast<size_t>(layer_.experts));
    MoeArgs moe;
    moe.x = view(out.moe, hidden);
    moe.norm_weight = layer_.norm.data();
    moe.norm_eps = 1e-6f;
    moe.gate = layer_.gate;
    moe.router = layer_.router.data();
    moe.router_bias = layer_.router_bias.data();
    moe.experts = experts_.get();
    moe.shared = shared_.get();
    moe.out = view(out.moe, hidden);
    moe.expert_rows = out.expert_rows.data();
    backend_->moe(moe);

    out.ffn = x;
    FfnArgs ffn;
    ffn.x = view(out.ffn, hidden);
    ffn.norm_weight = layer_.norm.data();
    ffn.norm_eps = 1e-6f;
    ffn.ffn = shared_.get();
    ffn.out = view(out.ffn, hidden);
    backend_->ffn(ffn);

    out.first.assign(static_cast<size_t>(n * Layer::kOutputs), 0.5f);
    out.second.assign(x.size(), 0.25f);
    LinearArgs linear;
    linear.x = view(x, hidden);
    linear.norm_weight = layer_.norm.data();
    linear.norm_eps = 1e-6f;
    linear.projections[0] = {first_.get(), layer_.bias.data(), view(out.first, Layer::kOutputs),
                             false};
    linear.projections[1] = {second_.get(), nullptr, view(out.second, hidden), true};
    linear.projection_count = 2;
    backend_->linear(linear);
    return out;
  }

 private:
  const Layer& layer_;
  ThreadPool pool_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Ffn> experts_, shared_;
  std::unique_ptr<Matrix> first_, second_;
};

struct Case {
  DType dtype;
  int64_t hidden, inner, experts;
  DType down;
};

const Case kCases[] = {
    {DType::kF32, 96, 40, 8, DType::kF32},         {DType::kBF16, 160, 96, 8, DType::kBF16},
    {DType::kF8E4M3, 320, 136, 8, DType::kF8E4M3}, {DType::kQ8_0, 64, 96, 8, DType::kQ8_0},
    {DType::kQ4_K, 256, 160, 16, DType::kQ5_0},    {DType::kQ4_K, 256, 256, 8, DType::kQ6_K},
    {DType::kIQ4_XS, 512, 64, 8, DType::kF16},     {DType::kF16, 62, 64, 8, DType::kQ4_0},
    {DType::kBF16, 30, 33, 6, DType::kBF16},
};

std::string name_of(const Case& c) {
  return std::string(dtype_name(c.dtype)) + "_" + std::string(dtype_name(c.down)) + "_" +
         std::to_string(c.hidden) + "x" + std::to_string(c.inner);
}

class EveryLayer : public ::testing::TestWithParam<Case> {
 protected:
  Layer layer() const {
    return {GetParam().dtype, GetParam().hidden, GetParam().inner, GetParam().experts,
            GetParam().down};
  }
  double allowed() const {
    return std::max(tolerance(GetParam().dtype), tolerance(GetParam().down));
  }
};

TEST_P(EveryLayer, AgreesWithTheReference) {
  const Layer layer = this->layer();
  Runner reference(layer, "ref", 1);
  for (const std::string_view name : fast_implementations()) {
    Runner fast(layer, name, 2);
    for (const int64_t n : {1, 2, 5, 70}) {
      const std::vector<float> x = random_floats(40 + n, n * layer.hidden);
      const Outputs expected = reference.run(x);
      const Outputs out = fast.run(x);
      EXPECT_EQ(out.expert_rows, expected.expert_rows) << name << " " << n;
      EXPECT_LT(relative_error(out.moe, expected.moe), allowed()) << name << " " << n;
      EXPECT_LT(relative_error(out.ffn, expected.ffn), allowed()) << name << " " << n;
      EXPECT_LT(relative_error(out.first, expected.first), allowed()) << name << " " << n;
      EXPECT_LT(relative_error(out.second, expected.second), allowed()) << name << " " << n;
    }
  }
}

void expect_same_bits(const std::vector<float>& a, const float* b) {
  ASSERT_EQ(0, std::memcmp(a.data(), b, a.size() * sizeof(float)));
}

TEST_P(EveryLayer, RowsDoNotDependOnTheirBatchTheThreadsOrTheSet) {
  const Layer layer = this->layer();
  constexpr int64_t kRows = 75;
  const std::vector<float> x = random_floats(6, kRows * layer.hidden);
  Runner one(layer, fast_implementations()[0], 1);
  const Outputs all = one.run(x);
  for (const int64_t n : {1, 2, 3, 66}) {
    for (const int64_t begin : {int64_t{0}, int64_t{31}, kRows - n}) {
      if (begin + n > kRows) continue;
      const std::vector<float> some(x.begin() + begin * layer.hidden,
                                    x.begin() + (begin + n) * layer.hidden);
      const Outputs out = one.run(some);
      expect_same_bits(out.moe, all.moe.data() + begin * layer.hidden);
      expect_same_bits(out.ffn, all.ffn.data() + begin * layer.hidden);
      expect_same_bits(out.first, all.first.data() + begin * Layer::kOutputs);
      expect_same_bits(out.second, all.second.data() + begin * layer.hidden);
    }
  }
  for (const std::string_view name : fast_implementations()) {
    for (const int threads : {1, 2, 3, 5}) {
      const Outputs out = Runner(layer, name, threads).run(x);
      expect_same_bits(out.moe, all.moe.data());
      expect_same_bits(out.ffn, all.ffn.data());
      expect_same_bits(out.first, all.first.data());
      expect_same_bits(out.second, all.second.data());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, EveryLayer, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return name_of(info.param); });

TEST(Linear, AddsToItsOwnInput) {
  const Weights weights(DType::kBF16, 64, 64, 5);
  for (const std::string_view name : fast_implementations()) {
    ThreadPool pool(2);
    const auto backend = backend_named(name, pool);
    const auto matrix = std::move(*backend->pack(weights.source()));
    const std::vector<float> x = random_floats(1, 9 * 64);
    std::vector<float> apart = x;
    std::vector<float> in_place = x;
    LinearArgs args;
    args.projection_count = 1;
    args.x = view(x, 64);
    args.projections[0] = {matrix.get(), nullptr, view(apart, 64), true};
    backend->linear(args);
    args.x = view(in_place, 64);
    args.projections[0].out = view(in_place, 64);
    backend->linear(args);
    EXPECT_EQ(apart, in_place);
  }
}

TEST(Linear, WritesOnlyItsColumnsOfAWiderBuffer) {
  const Weights weights(DType::kQ8_0, 21, 64, 5);
  for (const std::string_view name : fast_implementations()) {
    ThreadPool pool(2);
    const auto backend = backend_named(name, pool);
    const auto matrix = std::move(*backend->pack(weights.source()));
    const std::vector<float> x = random_floats(1, 3 * 64);
    std::vector<float> wide(3 * 50, 99.0f);
    LinearArgs args;
    args.projection_count = 1;
    args.x = view(x, 64);
    args.projections[0] = {matrix.get(), nullptr, view(wide, 50).columns(7, 21), false};
    backend->linear(args);
    for (int64_t r = 0; r < 3; ++r) {
      for (int64_t c = 0; c < 50; ++c) {
        EXPECT_EQ(wide[r * 50 + c] == 99.0f, c < 7 || c >= 28) << r << ", " << c;
      }
    }
  }
}

TEST(Embed, ATiedTableGivesRowsAndLogits) {
  const Weights weights(DType::kQ6_K, 70, 256, 5);
  for (const std::string_view name : fast_implementations()) {
    ThreadPool pool(2);
    const auto backend = backend_named(name, pool);
    const auto table = std::move(*backend->pack(weights.source()));
    const std::vector<int32_t> tokens = {0, 69, 16, 15, 69};
    std::vector<float> out(5 * 256);
    backend->embed({table.get(), tokens, view(out, 256)});
    for (size_t i = 0; i < tokens.size(); ++i) {
      for (int64_t c = 0; c < 256; ++c) {
        const float wanted = weights.decoded[tokens[i] * 256 + c];
        EXPECT_NEAR(out[i * 256 + c], wanted, std::fabs(wanted) * 1e-6);
      }
    }
    std::vector<float> picked(2 * 256);
    backend->gather({view(std::as_const(out), 256), std::vector<int32_t>{4, 2}, view(picked, 256)});
    EXPECT_TRUE(std::equal(picked.begin(), picked.begin() + 256, out.begin() + 256));
    EXPECT_TRUE(std::equal(picked.begin() + 256, picked.end(), out.begin() + 512));
  }
}

TEST(RmsNorm, AgreesWithDoubleAtEveryWidth) {
  for (const std::string_view name : fast_implementations()) {
    ThreadPool pool(2);
    const auto backend = backend_named(name, pool);
    for (const int64_t cols : {1, 7, 16, 63, 64, 65, 160, 2048, 7168}) {
      std::vector<float> x = random_floats(cols, 3 * cols, 50.0f);
      const std::vector<float> original = x;
      const std::vector<float> weight = random_floats(1, cols);
      backend->rms_norm({view(std::as_const(x), cols), weight.data(), 1e-6f, view(x, cols)});
      for (int64_t r = 0; r < 3; ++r) {
        double squares = 0;
        for (int64_t c = 0; c < cols; ++c) squares += std::pow(double{original[r * cols + c]}, 2);
        const double factor = 1.0 / std::sqrt(squares / static_cast<double>(cols) + 1e-6);
        for (int64_t c = 0; c < cols; ++c) {
          const double wanted = original[r * cols + c] * factor * weight[c];
          ASSERT_NEAR(x[r * cols + c], wanted, std::fabs(wanted) * 1e-6) << cols;
        }
      }
    }
  }
}

}  // namespace
}  // namespace hadal::kernels::cpu
