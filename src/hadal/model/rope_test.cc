// Frequencies against numbers computed apart, with numpy in double precision, from the formulas as
// they were published:
//   YaRN    DeepSeek's modeling code: yarn_find_correction_range and yarn_linear_ramp_mask over
//           base^(-2j/dim) and the same divided by factor
//   Llama 3 Meta's apply_scaling: by wavelength 2 pi / f, in the branches of the original
#include "hadal/model/rope.h"

#include <gtest/gtest.h>

#include <cmath>

namespace hadal {
namespace {

void expect_near(const std::vector<float>& found, const std::vector<double>& expected,
                 size_t first = 0) {
  ASSERT_LE(first + expected.size(), found.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(found[first + i], expected[i], expected[i] * 1e-6) << "pair " << first + i;
  }
}

TEST(Rope, PlainFrequencies) {
  expect_near(rope_frequencies(8, 10000.0), {1, 0.1, 0.01, 0.001});
  EXPECT_EQ(rope_frequencies(128, 1e6).size(), 64u);
}

struct YarnCase {
  const char* name;
  int32_t dims;
  double theta;
  YarnParams params;
  std::vector<double> expected;
};

const YarnCase kYarnCases[] = {
    {"DeepSeek-V3: ramp over pairs 10 to 23",
     64,
     10000.0,
     {40.0, 4096, 32.0, 1.0},
     {1,
      0.749894209,
      0.562341325,
      0.421696503,
      0.316227766,
      0.237137371,
      0.177827941,
      0.133352143,
      0.1,
      0.0749894209,
      0.0562341325,
      0.0390069266,
      0.0268793601,
      0.0183781462,
      0.0124479559,
      0.00833450895,
      0.0055,
      0.00356199749,
      0.0022493653,
      0.00137051364,
      0.000790569415,
      0.000414990398,
      0.000177827941,
      3.33380358e-05,
      2.5e-05,
      1.87473552e-05,
      1.40585331e-05,
      1.05424126e-05,
      7.90569415e-06,
      5.92843426e-06,
      4.44569853e-06,
      3.33380358e-06}},
    {"a short original context: the ramp begins before the first pair and is cut there",
     16,
     10000.0,
     {4.0, 32, 32.0, 1.0},
     {1, 0.197642354, 0.025, 0.00790569415, 0.0025, 0.000790569415, 0.00025, 7.90569415e-05}},
    {"ramp of no width: a step", 8, 10000.0, {8.0, 6, 32.0, 1.0}, {1, 0.0125, 0.00125, 0.000125}},
    {"Qwen's base",
     16,
     1e6,
     {4.0, 32768, 32.0, 1.0},
     {1, 0.177827941, 0.0316227766, 0.00421755994, 0.0005, 4.44569853e-05, 7.90569415e-06,
      1.40585331e-06}},
    {"a factor of 1 changes nothing", 8, 10000.0, {1.0, 4096, 32.0, 1.0}, {1, 0.1, 0.01, 0.001}},
};

TEST(Rope, Yarn) {
  for (const YarnCase& test : kYarnCases) {
    SCOPED_TRACE(test.name);
    std::vector<float> frequencies = rope_frequencies(test.dims, test.theta);
    apply_yarn(frequencies, test.theta, test.params);
    expect_near(frequencies, test.expected);
  }
}

TEST(Rope, YarnMagnitude) {
  EXPECT_NEAR(yarn_magnitude(40.0, 1.0), 1.3688879454113936, 1e-12);
  EXPECT_NEAR(yarn_magnitude(40.0, 0.707), 1.2608037774058554, 1e-12);
  EXPECT_EQ(yarn_magnitude(40.0, 0.0), 1.0);
  EXPECT_EQ(yarn_magnitude(1.0, 1.0), 1.0);
  EXPECT_EQ(yarn_magnitude(0.5, 1.0), 1.0);
}

TEST(Rope, Llama3) {
  std::vector<float> llama31 = rope_frequencies(128, 500000.0);
  apply_llama3(llama31, {8.0, 1.0, 4.0, 8192});
  expect_near(llama31,
              {0.0165604401,   0.0134904199,   0.0109895285,   0.00895225934,  0.00729266474,
               0.00594073038,  0.00483942135,  0.00394227603,  0.00321144599,  0.00216657076,
               0.00137189357,  0.000856751413, 0.000524846161, 0.00031269375,  0.000178507813,
               9.55621235e-05, 7.78465527e-05, 6.34151435e-05, 5.16590687e-05, 4.20823677e-05},
              20);
  std::vector<float> llama32 = rope_frequencies(64, 500000.0);
  apply_llama3(llama32, {32.0, 1.0, 4.0, 8192});
  expect_near(llama32,
              {0.00483942135, 0.00321144599, 0.00129054793, 0.000429556797, 9.7082878e-05,
               1.94616382e-05, 1.29147672e-05},
              13);
  EXPECT_EQ(llama32[0], 1.0f);
  EXPECT_NEAR(llama32[31], 9.41830673e-08, 1e-13);
}

TEST(Rope, RowsCarryTheMagnitude) {
  const RopeConfig rope{6, kernels::RopeStyle::kHalves, {1.0f, 0.1f, 0.001f}, 1.25f};
  for (const int32_t position : {0, 1, 77, 163839}) {
    std::vector<float> cos(3), sin(3);
    rope_row(rope, position, cos.data(), sin.data());
    for (size_t j = 0; j < 3; ++j) {
      const double angle = static_cast<float>(position) * rope.frequencies[j];
      EXPECT_NEAR(cos[j], 1.25 * std::cos(angle), 1e-6) << position << " pair " << j;
      EXPECT_NEAR(sin[j], 1.25 * std::sin(angle), 1e-6) << position << " pair " << j;
    }
  }
}

TEST(Rope, RememberedAnglesAreTheSame) {
  const RopeConfig rope{.dims = 8, .frequencies = rope_frequencies(8, 10000.0), .magnitude = 1.25f};
  RopeAngles angles(rope);
  for (const int32_t position : {0, 3, 3, 259, 3, 515, 0, 256, 100'000, 3}) {
    float cos[4], sin[4], expected_cos[4], expected_sin[4];
    angles.row(position, cos, sin);
    rope_row(rope, position, expected_cos, expected_sin);
    for (int j = 0; j < 4; ++j) {
      EXPECT_EQ(cos[j], expected_cos[j]) << position;
      EXPECT_EQ(sin[j], expected_sin[j]) << position;
    }
  }
}

}  // namespace
}  // namespace hadal
