// Attention: every implementation against the reference, the reference against plain attention and
// complex numbers, and every row against itself under other schedules.
#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <cstring>

#include "hadal/kernels/testing/close.h"
#include "hadal/kernels/testing/mla_session.h"
#include "hadal/kernels/testing/session.h"

namespace hadal::kernels::testing {
namespace {

constexpr double kOutputRounding = 0x1p-20;

struct GqaModel {
  int32_t heads, kv_heads, head_dim, v_dim;
  std::vector<float> q_norm, k_norm;  // or empty

  float scale() const { return 1 / std::sqrt(static_cast<float>(head_dim)); }
  std::vector<int64_t> stream_cols() const {
    return {int64_t{heads} * head_dim, int64_t{kv_heads} * head_dim, int64_t{kv_heads} * v_dim};
  }
};

class GqaSession final : public Session {
 public:
  GqaSession(Backend& backend, const GqaModel& model, const Inputs& inputs, CacheOptions cache)
      : Session(backend, inputs, cache,
                {int64_t{model.kv_heads} * model.head_dim, int64_t{model.kv_heads} * model.v_dim},
                int64_t{model.heads} * model.v_dim, model.kv_heads, 0),
        model_(model) {}

 private:
  void call(Backend& backend, std::vector<Activations>& streams, const RopeRows& rope,
            const std::vector<CachePages>& caches, const std::vector<Segment>& segments,
            View out) override {
    GqaArgs args{};
    args.q = streams[0].view();
    args.k = streams[1].view();
    args.v = streams[2].view();
    args.q_norm_weight = model_.q_norm.empty() ? nullptr : model_.q_norm.data();
    args.k_norm_weight = model_.k_norm.empty() ? nullptr : model_.k_norm.data();
    args.norm_eps = kNormEps;
    args.rope = rope;
    args.heads = model_.heads;
    args.kv_heads = model_.kv_heads;
    args.head_dim = model_.head_dim;
    args.v_dim = model_.v_dim;
    args.scale = model_.scale();
    args.k_cache = caches[0];
    args.v_cache = caches[1];
    args.segments = segments;
    args.out = out;
    backend.gqa(args);
  }

  const GqaModel& model_;
};

class AttentionOps : public AgainstReference {};
INSTANTIATE_TEST_SUITE_P(Cpu, AttentionOps, ::testing::ValuesIn(implementations(false)),
                         [](const auto& info) { return info.param; });

class AnyAttentionOps : public AttentionOps {};
INSTANTIATE_TEST_SUITE_P(Cpu, AnyAttentionOps, ::testing::ValuesIn(implementations(true)),
                         [](const auto& info) { return info.param; });

struct MlaCase {
  MlaShape shape;
  DType dtype;
  CacheOptions cache;
  int sequences;
  int64_t length;
};

// Heads below, at and above a vector of 16; ranks that are not multiples of it; every kind of
// weights and cache; the shape of DeepSeek-V2-Lite once.
std::vector<MlaCase> mla_cases() {
  return {
      {{1, 4, 2, 3, 1}, DType::kF32, {DType::kF32, 4}, 1, 5},
      {{3, 10, 6, 20, 12}, DType::kF32, {DType::kF32, 5}, 3, 17},
      {{16, 32, 16, 64, 32}, DType::kF32, {DType::kF32, 16}, 2, 40},
      {{20, 16, 8, 48, 16}, DType::kBF16, {DType::kF16, 32}, 2, 70},
      {{16, 32, 16, 64, 32}, DType::kF16, {DType::kBF16, 8}, 2, 33},
      {{8, 128, 64, 128, 128}, DType::kF8E4M3, {DType::kF16, 16}, 1, 20},
      {{16, 32, 16, 64, 32}, DType::kQ8_0, {DType::kF32, 16}, 2, 40},
      {{4, 64, 32, 96, 32}, DType::kQ4_0, {DType::kF16, 16}, 2, 20},
      {{4, 256, 32, 256, 32}, DType::kQ4_K, {DType::kF16, 32}, 1, 36},
      {{16, 128, 64, 512, 128}, DType::kBF16, {DType::kF16, 8}, 1, 18},
      {{16, 128, 64, 512, 128}, DType::kBF16, {DType::kBF16, 8}, 1, 18},
      {{16, 128, 64, 512, 128}, DType::kBF16, {DType::kI8, 8}, 1, 18},
      {{3, 10, 6, 20, 12}, DType::kF32, {DType::kI8, 5}, 3, 17},
      {{20, 16, 2, 83, 16}, DType::kF32, {DType::kI8, 32}, 2, 70},
  };
}

TEST_P(AttentionOps, Mla) {
  for (const MlaCase& c : mla_cases()) {
    SCOPED_TRACE(std::to_string(c.shape.heads) + " heads, rank " + std::to_string(c.shape.rank) +
                 ", " + std::string(dtype_name(c.dtype)) + " weights, " +
                 std::string(dtype_name(c.cache.dtype)) + " cache");
    const MlaModel model(c.shape, c.dtype);
    const Inputs inputs = make_inputs(c.sequences, c.length, c.shape.stream_cols(),
                                      RopeStyle::kInterleaved, c.shape.rope, 210);
    const std::vector<Step> steps = together(c.sequences, c.length, {7, 3, 1});
    const auto run = [&](Backend& on, const Inputs& with) {
      MlaSession session(on, model, with, c.cache);
      session.run(steps);
      return session.all_outputs();
    };
    const std::vector<float> expected = run(ref(), inputs);
    const double tolerance = rounding_tolerance(expected, [&](uint64_t seed) {
      return run(ref(), disturbed(inputs, {model.quantized(), false}, c.cache.dtype, seed));
    });
    const Comparison result =
        compare(expected, run(backend(), inputs),
                tolerance + last_projection_error(ref(), model, inputs) + kOutputRounding);
    EXPECT_TRUE(result.close) << result.what;
  }
}

// Without position 0 every row is the same as in a sequence that begins one later: angles are
// relative. Position 0 may hold anything, a NaN too.
TEST_P(AnyAttentionOps, MlaThatSkipsTheFirstPosition) {
  const MlaShape shape{20, 16, 8, 48, 16};
  const MlaModel model(shape, DType::kF32);
  for (const int64_t length : {2, 3, 40, 600}) {
    const Inputs inputs =
        make_inputs(2, length, shape.stream_cols(), RopeStyle::kInterleaved, shape.rope, 230);
    Inputs odd = inputs;
    Inputs later = inputs;
    for (int s = 0; s < 2; ++s) {
      std::fill_n(odd.streams[s][1].row(0), shape.rank, std::nanf(""));
      for (Activations& stream : later.streams[s]) {
        std::copy(stream.values.begin() + stream.cols, stream.values.end(), stream.values.begin());
      }
    }
    const auto run = [&](const Inputs& with, bool skip) {
      MlaSession session(backend(), model, with, {DType::kF32, 8}, skip);
      std::vector<Step> steps = together(2, 1, {1});
      for (const Step& step : together(2, length - 1, {7, 3, 1})) steps.push_back(step);
      session.run(steps);
      std::vector<float> rows;
      for (int s = 0; s < 2; ++s) {
        const auto& all = session.outputs(s).values;
        const int64_t cols = session.outputs(s).cols;
        rows.insert(rows.end(), all.begin() + (skip ? cols : 0), all.end() - (skip ? 0 : cols));
      }
      return rows;
    };
    const std::vector<float> skipped = run(inputs, true);
    EXPECT_EQ(run(odd, true), skipped) << length;
    const std::vector<float> expected = run(later, false);
    ASSERT_EQ(skipped.size(), expected.size());
    for (size_t i = 0; i < skipped.size(); ++i) {
      ASSERT_NEAR(skipped[i], expected[i], 2e-4) << length << " at " << i;
    }
  }
}

struct GqaCase {
  GqaModel model;
  RopeStyle style;
  int32_t rope_dims;
  CacheOptions cache;
  int sequences;
  int64_t length;
};

std::vector<float> norm_of(int64_t count, uint64_t seed) {
  return make_activations(1, count, 1.0f, seed).values;
}

std::vector<GqaCase> gqa_cases() {
  const RopeStyle pairs = RopeStyle::kInterleaved;
  const RopeStyle halves = RopeStyle::kHalves;
  return {
      {{1, 1, 2, 1, {}, {}}, pairs, 2, {DType::kF32, 1}, 1, 4},
      {{6, 2, 10, 10, {}, {}}, halves, 10, {DType::kF32, 5}, 3, 17},
      {{12, 2, 32, 32, {}, {}}, halves, 32, {DType::kF16, 16}, 2, 50},
      {{4, 4, 16, 24, {}, {}}, pairs, 8, {DType::kBF16, 8}, 2, 33},
      {{8, 1, 64, 64, {}, {}}, halves, 64, {DType::kF16, 32}, 1, 70},
      {{32, 8, 16, 16, norm_of(16, 301), norm_of(16, 302)}, halves, 16, {DType::kF32, 16}, 2, 20},
      {{3, 3, 20, 20, {}, {}}, halves, 0, {DType::kF32, 4}, 1, 9},
      {{40, 2, 24, 40, {}, norm_of(24, 303)}, pairs, 24, {DType::kF16, 7}, 2, 23},
      {{12, 2, 128, 128, {}, {}}, halves, 128, {DType::kBF16, 32}, 2, 70},
      {{12, 2, 128, 128, {}, {}}, halves, 128, {DType::kI8, 32}, 2, 70},
      {{6, 2, 10, 13, {}, {}}, halves, 10, {DType::kI8, 5}, 3, 17},
      {{40, 1, 80, 72, {}, {}}, halves, 80, {DType::kI8, 7}, 2, 23},
  };
}

TEST_P(AttentionOps, Gqa) {
  for (const GqaCase& c : gqa_cases()) {
    SCOPED_TRACE(std::to_string(c.model.heads) + "/" + std::to_string(c.model.kv_heads) +
                 " heads, " + std::string(dtype_name(c.cache.dtype)) + " cache");
    const Inputs inputs =
        make_inputs(c.sequences, c.length, c.model.stream_cols(), c.style, c.rope_dims, 310);
    const std::vector<Step> steps = together(c.sequences, c.length, {7, 3, 1});
    const auto run = [&](Backend& on, const Inputs& with) {
      GqaSession session(on, c.model, with, c.cache);
      session.run(steps);
      return session.all_outputs();
    };
    const std::vector<float> expected = run(ref(), inputs);
    const double tolerance = rounding_tolerance(expected, [&](uint64_t seed) {
      return run(ref(), disturbed(inputs, {false, false, false}, c.cache.dtype, seed));
    });
    const Comparison result =
        compare(expected, run(backend(), inputs), tolerance + kOutputRounding);
    EXPECT_TRUE(result.close) << result.what;
  }
}

// Plain attention over expanded keys and values, in double, from the definition of MLA in its
// paper: k = [k_up^T latent | k_rope], v = v_up latent. Only the reference's tolerance: one
// rounding.
TEST(AttentionReference, MlaIsPlainAttentionOfExpandedHeads) {
  const MlaShape s{2, 6, 4, 8, 5};
  const MlaModel model(s, DType::kF32);
  const int64_t length = 11;
  const Inputs inputs =
      make_inputs(1, length, s.stream_cols(), RopeStyle::kInterleaved, s.rope, 220);
  const auto ref = make_reference_backend();
  MlaSession session(*ref, model, inputs, {DType::kF32, 4});
  session.run(chunked(1, length, 3));

  const auto turned = [&](const float* x, int64_t position) {
    std::vector<double> y;
    for (int64_t j = 0; j < s.rope / 2; ++j) {
      const auto z = std::complex<double>(x[2 * j], x[2 * j + 1]) *
                     std::polar(kRopeMagnitude, rope_angle(position, j, s.rope));
      y.push_back(z.real());
      y.push_back(z.imag());
    }
    return y;
  };
  std::vector<std::vector<double>> latents;
  std::vector<std::vector<double>> k_ropes;
  for (int64_t t = 0; t < length; ++t) {
    const float* kv = inputs.streams[0][1].row(t);
    double mean = 0;
    for (int i = 0; i < s.rank; ++i) mean += double{kv[i]} * kv[i] / s.rank;
    latents.emplace_back();
    for (int i = 0; i < s.rank; ++i) {
      latents.back().push_back(kv[i] / std::sqrt(mean + kNormEps) * model.norm[i]);
    }
    k_ropes.push_back(turned(kv + s.rank, t));
  }
  for (int64_t p = 0; p < length; ++p) {
    for (int h = 0; h < s.heads; ++h) {
      const float* q = inputs.streams[0][0].row(p) + h * (s.nope + s.rope);
      const std::vector<double> q_rope = turned(q + s.nope, p);
      const float* k_up = model.k_up.values[h].data();
      const float* v_up = model.v_up.values[h].data();
      std::vector<double> out(s.v_dim);
      double sum = 0;
      for (int64_t t = 0; t <= p; ++t) {
        double score = 0;
        for (int d = 0; d < s.nope; ++d) {
          double key = 0;
          for (int c = 0; c < s.rank; ++c) key += double{k_up[c * s.nope + d]} * latents[t][c];
          score += q[d] * key;
        }
        for (int d = 0; d < s.rope; ++d) score += q_rope[d] * k_ropes[t][d];
        const double weight = std::exp(score * s.scale());
        sum += weight;
        for (int d = 0; d < s.v_dim; ++d) {
          double value = 0;
          for (int c = 0; c < s.rank; ++c) value += double{v_up[d * s.rank + c]} * latents[t][c];
          out[d] += weight * value;
        }
      }
      for (int d = 0; d < s.v_dim; ++d) {
        // The cache and the angles are rounded to float: a few units of the values' size.
        EXPECT_NEAR(session.outputs(0).row(p)[h * s.v_dim + d], out[d] / sum, 1e-5)
            << p << " " << h;
      }
    }
  }
}

// The rotated key is in the cache: pair j as a complex number, times the angle's.
TEST_P(AnyAttentionOps, RopeIsAMultiplicationOfComplexNumbers) {
  for (const RopeStyle style : {RopeStyle::kInterleaved, RopeStyle::kHalves}) {
    for (const int32_t dims : {2, 6, 16}) {
      const GqaModel model{2, 1, 16, 4, {}, {}};
      const Inputs inputs = make_inputs(1, 9, model.stream_cols(), style, dims, 320);
      GqaSession session(backend(), model, inputs, {DType::kF32, 4});
      session.run(chunked(1, 9, 5));
      for (int64_t p = 0; p < 9; ++p) {
        const float* k = inputs.streams[0][1].row(p);
        const std::vector<float> cached = session.cached(0, 0, p);
        for (int j = 0; j < dims / 2; ++j) {
          const int a = style == RopeStyle::kInterleaved ? 2 * j : j;
          const int b = style == RopeStyle::kInterleaved ? 2 * j + 1 : j + dims / 2;
          const auto z =
              std::complex<double>(k[a], k[b]) * std::polar(kRopeMagnitude, rope_angle(p, j, dims));
          EXPECT_NEAR(cached[a], z.real(), 2e-6) << p << " " << j;
          EXPECT_NEAR(cached[b], z.imag(), 2e-6) << p << " " << j;
        }
        for (int i = dims; i < 16; ++i) EXPECT_EQ(cached[i], k[i]) << "not rotated: " << i;
      }
    }
  }
}

// Schedules of the same rows: what each row gets, and what is cached, must be the same bits.
std::vector<std::vector<Step>> schedules(int sequences, int64_t length) {
  return {
      chunked(sequences, length, static_cast<int>(length)),
      chunked(sequences, length, 1),
      chunked(sequences, length, 7),
      together(sequences, length, {static_cast<int>(length)}),
      together(sequences, length, {1}),
      together(sequences, length, {5, 1, 13}),
  };
}

template <class MakeSession>
void expect_same_bits(int sequences, int64_t length, const std::string& name, MakeSession make) {
  std::vector<float> outputs;
  std::vector<std::byte> cache;
  const std::vector<std::vector<Step>> all = schedules(sequences, length);
  for (const int threads : {1, 3}) {
    const Implementation made = make_implementation(name, threads);
    // One thread takes every schedule, several only those with the most and the oddest rows.
    for (size_t number = 0; number < all.size(); ++number) {
      const std::vector<Step>& steps = all[number];
      if (threads > 1 && number % 5 != 0) continue;
      const std::unique_ptr<Session> session = make(*made.backend);
      session->run(steps);
      const std::vector<float> again = session->all_outputs();
      if (outputs.empty()) {
        outputs = again;
        cache = session->cache_bytes();
      }
      EXPECT_EQ(std::memcmp(outputs.data(), again.data(), outputs.size() * sizeof(float)), 0)
          << threads << " threads, schedule " << number;
      EXPECT_EQ(cache, session->cache_bytes()) << threads << " threads, schedule " << number;
      ++number;
    }
  }
}

TEST_P(AnyAttentionOps, MlaRowsDoNotDependOnTheSchedule) {
  for (const DType dtype : {DType::kBF16, DType::kQ8_0}) {
    for (const int32_t heads : {5, 16}) {
      const MlaModel model({heads, 32, 8, 32, 32}, dtype);
      const Inputs inputs =
          make_inputs(3, 37, model.shape.stream_cols(), RopeStyle::kInterleaved, 8, 230);
      for (const DType cache : {DType::kF16, DType::kBF16, DType::kI8}) {
        expect_same_bits(3, 37, GetParam(), [&](Backend& on) {
          return std::make_unique<MlaSession>(on, model, inputs, CacheOptions{cache, 8});
        });
      }
    }
  }
}

TEST_P(AnyAttentionOps, MlaInPartsGivesTheSameBits) {
  const MlaModel model({5, 32, 8, 32, 32}, DType::kQ8_0);
  const Inputs inputs =
      make_inputs(3, 37, model.shape.stream_cols(), RopeStyle::kInterleaved, 8, 230);
  for (const bool skip_first : {false, true}) {
    MlaSession whole(backend(), model, inputs, {DType::kI8, 8}, skip_first);
    MlaSession parts(backend(), model, inputs, {DType::kI8, 8}, skip_first, true);
    const std::vector<Step> steps = together(3, 37, {5, 1, 13});
    whole.run(steps);
    parts.run(steps);
    EXPECT_EQ(whole.all_outputs(), parts.all_outputs()) << skip_first;
    EXPECT_EQ(whole.cache_bytes(), parts.cache_bytes()) << skip_first;
  }
}

TEST_P(AnyAttentionOps, GqaRowsDoNotDependOnTheSchedule) {
  // Four sequences: enough for one thread to take all groups of a row at once.
  const GqaModel model{6, 2, 16, 24, norm_of(16, 331), norm_of(16, 332)};
  const Inputs inputs = make_inputs(4, 37, model.stream_cols(), RopeStyle::kHalves, 16, 330);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI8}) {
    expect_same_bits(4, 37, GetParam(), [&](Backend& on) {
      return std::make_unique<GqaSession>(on, model, inputs, CacheOptions{dtype, 16});
    });
  }
}

// Long enough for several chunks, which threads then share.
TEST_P(AttentionOps, LongContext) {
  for (const DType dtype : {DType::kF16, DType::kBF16, DType::kI8}) {
    SCOPED_TRACE(dtype_name(dtype));
    const int64_t length = 2100;
    const GqaModel model{4, 2, 8, 8, {}, {}};
    const Inputs inputs = make_inputs(1, length, model.stream_cols(), RopeStyle::kHalves, 8, 340);
    const std::vector<Step> prefill = chunked(1, length, 400);
    const auto run = [&](Backend& on, const Inputs& with, const std::vector<Step>& steps) {
      GqaSession session(on, model, with, {dtype, 32});
      session.run(steps);
      return session.all_outputs();
    };
    const std::vector<float> expected = run(ref(), inputs, prefill);
    const double tolerance = rounding_tolerance(expected, [&](uint64_t seed) {
      return run(ref(), disturbed(inputs, {false, false, false}, dtype, seed), prefill);
    });
    const std::vector<float> actual = run(backend(), inputs, prefill);
    const Comparison result = compare(expected, actual, tolerance + kOutputRounding);
    EXPECT_TRUE(result.close) << result.what;
    for (const int threads : {1, 2, 3}) {
      const Implementation made = make_implementation(GetParam(), threads);
      // Single rows late in the context are what threads share.
      const std::vector<Step> late = {{{0, 2097}}, {{0, 1}}, {{0, 1}}, {{0, 1}}};
      EXPECT_EQ(run(*made.backend, inputs, late), actual) << threads;
    }
    const Implementation alone = make_implementation(GetParam(), 1);
    EXPECT_EQ(run(*alone.backend, inputs, chunked(1, length, 1)), actual);
  }
}

// What is written is the rounded row, and nothing else is written.
TEST_P(AnyAttentionOps, CachesHoldTheRoundedRowsAndNothingElse) {
  const GqaModel model{2, 1, 8, 24, {}, {}};
  const Inputs inputs = make_inputs(2, 11, model.stream_cols(), RopeStyle::kHalves, 0, 350);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    GqaSession session(backend(), model, inputs, {dtype, 4});
    session.run(together(2, 7, {7, 2}));
    for (int s = 0; s < 2; ++s) {
      for (int64_t p = 0; p < 11; ++p) {
        for (const int cache : {0, 1}) {
          const std::vector<float> actual = session.cached(cache, s, p);
          const float* row = inputs.streams[s][1 + cache].row(p);
          for (size_t i = 0; i < actual.size(); ++i) {
            const double step = dtype == DType::kF32 ? 0 : dtype == DType::kF16 ? 0x1p-11 : 0x1p-8;
            const double expected = p < 7 ? row[i] : 0;
            EXPECT_NEAR(actual[i], expected, std::abs(expected) * step + 1e-7 * (step > 0));
          }
        }
      }
    }
  }
}

// A sequence whose numbers broke harms no other.
TEST_P(AnyAttentionOps, NanStaysInItsSequence) {
  for (const DType dtype : {DType::kF16, DType::kBF16, DType::kI8}) {
    const MlaModel model({4, 32, 8, 32, 32}, DType::kBF16);
    const Inputs good =
        make_inputs(3, 20, model.shape.stream_cols(), RopeStyle::kInterleaved, 8, 240);
    Inputs bad = good;
    bad.streams[1][1].row(6)[3] = std::nanf("");
    bad.streams[1][0].row(2)[3] = INFINITY;
    const auto run = [&](const Inputs& inputs) {
      auto session = std::make_unique<MlaSession>(backend(), model, inputs, CacheOptions{dtype, 8});
      session->run(together(3, 20, {20}));
      return session;
    };
    const auto expected = run(good);
    const auto actual = run(bad);
    for (const int s : {0, 2}) EXPECT_EQ(actual->outputs(s).values, expected->outputs(s).values);
    EXPECT_TRUE(std::isnan(actual->outputs(1).row(19)[0]));
  }
}

}  // namespace
}  // namespace hadal::kernels::testing
