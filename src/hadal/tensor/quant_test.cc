#include "hadal/tensor/quant.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <random>
#include <sstream>
#include <vector>

#include "hadal/tensor/blocks.h"

namespace hadal {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<float> decode(DType dtype, const void* block) {
  std::vector<float> values(dtype_info(dtype).block_elements);
  dequantize(dtype, static_cast<const std::byte*>(block), values.data(), values.size());
  return values;
}

constexpr F16Bytes kOne = {0x00, 0x3C}, kTwo = {0x00, 0x40}, kHalf = {0x00, 0x38};

TEST(F16, KnownValues) {
  const std::vector<std::pair<uint16_t, float>> cases = {
      {0x0000, 0.0f},     {0x3C00, 1.0f},           {0xC000, -2.0f},           {0x7BFF, 65504.0f},
      {0x0400, 0x1p-14f}, {0x0001, 0x1p-24f},       {0x03FF, 1023 * 0x1p-24f}, {0x7C00, kInf},
      {0xFC00, -kInf},    {0x3555, 0.333251953125f}};
  for (const auto& [bits, value] : cases) {
    EXPECT_EQ(f16_to_f32(bits), value) << bits;
    EXPECT_EQ(f32_to_f16(value), bits) << value;
  }
  EXPECT_TRUE(std::signbit(f16_to_f32(0x8000)));
  EXPECT_EQ(f32_to_f16(-0.0f), 0x8000);
}

TEST(F16, RoundsHalvesToEvenAndOverflowsToInfinity) {
  EXPECT_EQ(f32_to_f16(1.0f + 0x1p-11f), 0x3C00);             // tie, down to even
  EXPECT_EQ(f32_to_f16(1.0f + 0x1.8p-10f), 0x3C02);           // tie, up to even
  EXPECT_EQ(f32_to_f16(1.0f + 0x1p-11f + 0x1p-20f), 0x3C01);  // above the tie
  EXPECT_EQ(f32_to_f16(65519.0f), 0x7BFF);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7C00);
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0x0000);  // tie with zero
  EXPECT_EQ(f32_to_f16(0x1.002p-25f), 0x0001);
  EXPECT_EQ(f32_to_f16(0x1.ffbp-15f), 0x03FF);
  EXPECT_EQ(f32_to_f16(0x1.ffcp-15f), 0x0400);  // carries from subnormal into normal
  EXPECT_EQ(f32_to_f16(1e-40f), 0x0000);
}

// Every code of the narrow floats comes back from its own value.
TEST(NarrowFloats, EveryCodeRoundTrips) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto code = static_cast<uint16_t>(bits);
    const float half = f16_to_f32(code);
    if (std::isnan(half)) {
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(half))));
    } else {
      ASSERT_EQ(f32_to_f16(half), code);
    }
    const float brain = bf16_to_f32(code);
    if (std::isnan(brain)) {
      EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(brain))));
    } else {
      ASSERT_EQ(f32_to_bf16(brain), code);
    }
  }
  for (int bits = 0; bits < 256; ++bits) {
    const auto code = static_cast<uint8_t>(bits);
    const float value = f8e4m3_to_f32(code);
    if ((bits & 0x7F) == 0x7F) {
      EXPECT_TRUE(std::isnan(value));
    } else {
      ASSERT_EQ(f32_to_f8e4m3(value), code);
    }
    if (bits < 255) {
      ASSERT_EQ(f32_to_ue8m0(ue8m0_to_f32(code)), code);
    }
  }
  EXPECT_TRUE(std::isnan(ue8m0_to_f32(255)));
}

TEST(NarrowFloats, NearestOfAllCodes) {
  std::mt19937 generator(3);
  std::uniform_real_distribution<float> exponent(-12.0f, 9.0f);
  for (int i = 0; i < 20000; ++i) {
    const float value = std::exp2(exponent(generator)) * (i % 2 ? 1.0f : -1.0f);
    const float eight = f8e4m3_to_f32(f32_to_f8e4m3(value));
    for (int bits = 0; bits < 256; ++bits) {
      const float other = f8e4m3_to_f32(static_cast<uint8_t>(bits));
      if (!std::isnan(other)) {
        ASSERT_LE(std::fabs(eight - value), std::fabs(other - value)) << value;
      }
    }
  }
}

TEST(NarrowFloats, Edges) {
  EXPECT_EQ(f8e4m3_to_f32(0x7E), 448.0f);
  EXPECT_EQ(f8e4m3_to_f32(0x01), 0x1p-9f);
  EXPECT_EQ(f8e4m3_to_f32(0x08), 0x1p-6f);
  EXPECT_EQ(f32_to_f8e4m3(1e9f), 0x7E);
  EXPECT_EQ(f32_to_f8e4m3(-kInf), 0xFE);
  EXPECT_EQ(f32_to_f8e4m3(kNaN) & 0x7F, 0x7F);
  EXPECT_EQ(f32_to_f8e4m3(17.0f), f32_to_f8e4m3(16.0f));  // tie to even
  EXPECT_EQ(f32_to_bf16(1.0f + 0x1p-8f), 0x3F80);         // tie to even
  EXPECT_EQ(f32_to_bf16(1.0f + 0x1.8p-7f), 0x3F82);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::max()), 0x7F80);
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(std::bit_cast<float>(0x7F800001u)))));
  EXPECT_EQ(f32_to_ue8m0(1.4f), 127);
  EXPECT_EQ(f32_to_ue8m0(1.5f), 128);
  EXPECT_EQ(f32_to_ue8m0(-1.0f), 0);
  EXPECT_EQ(f32_to_ue8m0(kInf), 254);
  EXPECT_EQ(f32_to_ue8m0(kNaN), 255);
}

TEST(Decode, Q4_0) {
  BlockQ4_0 block{kTwo, {}};
  block.codes[0] = 0xF1;  // element 0: 1, element 16: 15
  block.codes[15] = 0x8A;
  const auto values = decode(DType::kQ4_0, &block);
  EXPECT_EQ(values[0], -14.0f);
  EXPECT_EQ(values[16], 14.0f);
  EXPECT_EQ(values[15], 4.0f);
  EXPECT_EQ(values[31], 0.0f);
  EXPECT_EQ(values[1], -16.0f);
}

TEST(Decode, Q5HighBits) {
  BlockQ5_0 zero{kOne, {0x01, 0x00, 0x02, 0x80}, {}};  // high bits of elements 0, 17 and 31
  zero.codes[0] = 0x03;
  auto values = decode(DType::kQ5_0, &zero);
  EXPECT_EQ(values[0], 3.0f);  // 3 + 16 - 16
  EXPECT_EQ(values[17], 0.0f);
  EXPECT_EQ(values[31], 0.0f);
  EXPECT_EQ(values[16], -16.0f);
  BlockQ5_1 one{kOne, kHalf, {0x01, 0x00, 0x02, 0x80}, {}};
  one.codes[1] = 0x40;
  values = decode(DType::kQ5_1, &one);
  EXPECT_EQ(values[0], 16.5f);
  EXPECT_EQ(values[17], 20.5f);
  EXPECT_EQ(values[16], 0.5f);
}

TEST(Decode, Q2KPlacesCodesAndScales) {
  BlockQ2_K block{};
  block.scale = kTwo;
  block.minimum = kHalf;
  for (int s = 0; s < 16; ++s) block.scales[s] = static_cast<uint8_t>(s | (15 - s) << 4);
  block.codes[0] = 0b11'10'01'00;        // elements 0, 32, 64, 96
  block.codes[32 + 31] = 0b01'00'00'11;  // elements 159, 191, 223, 255
  const auto values = decode(DType::kQ2_K, &block);
  EXPECT_EQ(values[0], 2.0f * 0 * 0 - 0.5f * 15);
  EXPECT_EQ(values[32], 2.0f * 2 * 1 - 0.5f * 13);
  EXPECT_EQ(values[64], 2.0f * 4 * 2 - 0.5f * 11);
  EXPECT_EQ(values[96], 2.0f * 6 * 3 - 0.5f * 9);
  EXPECT_EQ(values[159], 2.0f * 9 * 3 - 0.5f * 6);
  EXPECT_EQ(values[255], 2.0f * 15 * 1 - 0.5f * 0);
}

TEST(Decode, KScaleMinimumOfEverySubBlock) {
  // Scales 1, 2, ... with upper bits in sub-blocks 4..7, written out by hand from the layout.
  BlockQ4_K block{};
  block.scale = kOne;
  block.minimum = kOne;
  block.scales = {
      0b10'000001, 0b01'000010, 0b11'000011, 0b00'000100,  // s0..s3 | s4..s7 upper bits
      0b00'000101, 0b01'000110, 0b10'000111, 0b11'001000,  // m0..m3 | m4..m7 upper bits
      0x21,        0x43,        0x65,        0x87};        // s4 m4, s5 m5, s6 m6, s7 m7 lower bits
  const int scales[8] = {1, 2, 3, 4, 0x21, 0x13, 0x35, 0x07};
  const int minima[8] = {5, 6, 7, 8, 0x02, 0x14, 0x26, 0x38};
  for (int s = 0; s < 8; ++s) {
    EXPECT_EQ(k_scale_minimum(block.scales, s).scale, scales[s]) << s;
    EXPECT_EQ(k_scale_minimum(block.scales, s).minimum, minima[s]) << s;
  }
  block.codes[0] = 0xA3;        // elements 0 and 32
  block.codes[96 + 31] = 0x5C;  // elements 223 and 255
  const auto values = decode(DType::kQ4_K, &block);
  EXPECT_EQ(values[0], 1.0f * 3 - 5);
  EXPECT_EQ(values[32], 2.0f * 10 - 6);
  EXPECT_EQ(values[223], 53.0f * 12 - 0x26);
  EXPECT_EQ(values[255], 7.0f * 5 - 0x38);
}

TEST(Decode, Q6KPlacesBits) {
  BlockQ6_K block{};
  block.scale = kHalf;
  for (int s = 0; s < 16; ++s) block.scales[s] = static_cast<int8_t>(s - 8);
  block.low[64 + 32 + 5] = 0x9E;  // half 1, l = 5, j = 1 (low) and j = 3 (high): elements 165, 229
  block.high[32 + 5] = 0b10'00'11'00;
  const auto values = decode(DType::kQ6_K, &block);
  EXPECT_EQ(values[165], 0.5f * (10 - 8) * ((14 | 3 << 4) - 32));
  EXPECT_EQ(values[229], 0.5f * (14 - 8) * ((9 | 2 << 4) - 32));
  EXPECT_EQ(values[0], 0.5f * -8 * -32);
}

TEST(Decode, Mxfp4IsHalfTheDoubledTable) {
  BlockMXFP4 block{127, {}};
  for (int i = 0; i < 16; ++i) block.codes[i] = static_cast<uint8_t>(i | (15 - i) << 4);
  const auto values = decode(DType::kMXFP4, &block);
  const float table[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, 0, -0.5f, -1, -1.5f, -2, -3, -4, -6};
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(values[i], table[i]) << i;
    EXPECT_EQ(values[16 + i], table[15 - i]) << i;
  }
  block.exponent = 0;
  EXPECT_EQ(decode(DType::kMXFP4, &block)[2], 0x1p-127f);
}

TEST(Decode, Iq4) {
  BlockIQ4_NL nl{kTwo, {}};
  nl.codes[3] = 0xF0;
  EXPECT_EQ(decode(DType::kIQ4_NL, &nl)[3], -254.0f);
  EXPECT_EQ(decode(DType::kIQ4_NL, &nl)[19], 226.0f);
  BlockIQ4_XS xs{};
  xs.scale = kOne;
  xs.scales_low[3] = 0x5F;  // sub-blocks 6 and 7
  xs.scales_high = {0, 0b10'01'0000};
  xs.codes[16 * 6] = 0x80;
  xs.codes[16 * 7 + 15] = 0x08;
  const auto values = decode(DType::kIQ4_XS, &xs);
  EXPECT_EQ(values[32 * 6], (31 - 32) * -127.0f);
  EXPECT_EQ(values[32 * 6 + 16], (31 - 32) * 1.0f);
  EXPECT_EQ(values[32 * 7 + 15], (37 - 32) * 1.0f);
  EXPECT_EQ(values[0], -32 * -127.0f);
}

std::vector<uint8_t> from_hex(const std::string& text) {
  std::vector<uint8_t> bytes(text.size() / 2);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<uint8_t>(std::stoi(text.substr(2 * i, 2), nullptr, 16));
  }
  return bytes;
}

// A second opinion: blocks of random bytes as another implementation decodes them, to the last bit.
TEST(Decode, AgreesWithGgml) {
  std::ifstream file(HADAL_SOURCE_DIR "/src/hadal/tensor/quant_golden.txt");
  ASSERT_TRUE(file);
  int types = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("#")) continue;
    std::istringstream fields(line);
    std::string name, block, wanted;
    fields >> name >> block >> wanted;
    const auto dtype = dtype_from_name(name);
    ASSERT_TRUE(dtype.has_value()) << name;
    const auto bytes = from_hex(block);
    ASSERT_EQ(bytes.size(), dtype_info(*dtype).block_bytes);
    const auto values = decode(*dtype, bytes.data());
    const auto bits = from_hex(wanted);
    ASSERT_EQ(bits.size(), values.size() * 4);
    for (size_t i = 0; i < values.size(); ++i) {
      const uint32_t expected = static_cast<uint32_t>(bits[4 * i]) << 24 |
                                static_cast<uint32_t>(bits[4 * i + 1]) << 16 |
                                static_cast<uint32_t>(bits[4 * i + 2]) << 8 | bits[4 * i + 3];
      ASSERT_EQ(std::bit_cast<uint32_t>(values[i]), expected) << name << " element " << i;
    }
    ++types;
  }
  EXPECT_EQ(types, 13);
}

struct ErrorBound {
  DType dtype;
  double normal;  // root of (squared error / squared value), over normally distributed values
};

// What ggml's own reference encoders leave on the same distribution, rounded up in the third digit,
// or ours where that is lower; a search that gets worse fails here.
constexpr ErrorBound kBounds[] = {
    {DType::kF16, 0.0003},  {DType::kBF16, 0.0025},   {DType::kF8E4M3, 0.03},
    {DType::kQ4_0, 0.082},  {DType::kQ4_1, 0.073},    {DType::kQ5_0, 0.041},
    {DType::kQ5_1, 0.036},  {DType::kQ8_0, 0.0055},   {DType::kQ2_K, 0.27},
    {DType::kQ3_K, 0.146},  {DType::kQ4_K, 0.0725},   {DType::kQ5_K, 0.0365},
    {DType::kQ6_K, 0.0176}, {DType::kIQ4_NL, 0.0745}, {DType::kIQ4_XS, 0.075},
    {DType::kMXFP4, 0.113},
};

std::vector<float> normal_values(size_t count, float deviation, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> distribution(0, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = distribution(generator);
  return values;
}

std::vector<float> round_trip(DType dtype, const std::vector<float>& values) {
  std::vector<std::byte> bytes(row_bytes(dtype, values.size()));
  quantize(dtype, values.data(), bytes.data(), values.size());
  std::vector<float> back(values.size());
  dequantize(dtype, bytes.data(), back.data(), back.size());
  return back;
}

double relative_error(const std::vector<float>& values, const std::vector<float>& back) {
  double error = 0, power = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += (values[i] - back[i]) * static_cast<double>(values[i] - back[i]);
    power += values[i] * static_cast<double>(values[i]);
  }
  return std::sqrt(error / power);
}

TEST(RoundTrip, ErrorIsWithinBounds) {
  for (const ErrorBound& bound : kBounds) {
    const auto values = normal_values(64 * 256, 1.0f, 11);
    EXPECT_LT(relative_error(values, round_trip(bound.dtype, values)), bound.normal)
        << dtype_name(bound.dtype);
  }
}

TEST(RoundTrip, DoesNotDependOnScale) {
  for (const ErrorBound& bound : kBounds) {
    if (!dtype_info(bound.dtype).quantized) continue;
    for (const float deviation : {0.01f, 100.0f}) {
      const auto values = normal_values(16 * 256, deviation, 12);
      EXPECT_LT(relative_error(values, round_trip(bound.dtype, values)), 1.1 * bound.normal)
          << dtype_name(bound.dtype) << " at " << deviation;
    }
  }
}

TEST(RoundTrip, DegenerateBlocks) {
  const std::map<std::string, std::vector<float>> blocks = {
      {"zeros", std::vector<float>(256, 0.0f)},
      {"constant", std::vector<float>(256, 0.75f)},
      {"negative constant", std::vector<float>(256, -0.75f)},
      {"positive",
       [] {
         auto v = normal_values(256, 1, 5);
         for (float& x : v) x = 3 + std::fabs(x);
         return v;
       }()},
      {"negative",
       [] {
         auto v = normal_values(256, 1, 6);
         for (float& x : v) x = -3 - std::fabs(x);
         return v;
       }()},
      {"one spike",
       [] {
         std::vector<float> v(256, 0.0f);
         v[77] = -4;
         return v;
       }()},
  };
  for (const ErrorBound& bound : kBounds) {
    for (const auto& [name, values] : blocks) {
      const auto back = round_trip(bound.dtype, values);
      for (const float x : back) ASSERT_TRUE(std::isfinite(x)) << dtype_name(bound.dtype) << name;
      if (name == "zeros") {
        for (const float x : back) ASSERT_EQ(x, 0.0f) << dtype_name(bound.dtype);
      } else {
        // MXFP4 has only powers of two as scales, and Q2_K three steps.
        const double limit = bound.dtype == DType::kMXFP4  ? 0.26
                             : bound.dtype == DType::kQ2_K ? 0.2
                                                           : 0.1;
        EXPECT_LT(relative_error(values, back), limit) << dtype_name(bound.dtype) << " " << name;
      }
    }
  }
}

// Neither a crash nor a NaN, whatever comes in.
TEST(Encode, HostileValuesStayFinite) {
  const float hostile[] = {kNaN, kInf, -kInf, 3e38f, -3e38f, 1e-45f, 1e-38f, 0.0f, -0.0f, 1.0f};
  std::mt19937 generator(17);
  for (const ErrorBound& bound : kBounds) {
    if (!dtype_info(bound.dtype).quantized) continue;
    for (int trial = 0; trial < 50; ++trial) {
      std::vector<float> values(256);
      for (float& value : values) value = hostile[generator() % std::size(hostile)];
      for (const float x : round_trip(bound.dtype, values)) {
        ASSERT_FALSE(std::isnan(x)) << dtype_name(bound.dtype);
      }
    }
  }
}

TEST(Encode, IsDeterministicPerBlock) {
  const auto values = normal_values(1024, 1, 21);
  for (const ErrorBound& bound : kBounds) {
    const size_t block = dtype_info(bound.dtype).quantized ? 256 : 1;
    std::vector<std::byte> whole(row_bytes(bound.dtype, 1024));
    quantize(bound.dtype, values.data(), whole.data(), 1024);
    std::vector<std::byte> pieces(whole.size());
    const size_t step = row_bytes(bound.dtype, block);
    for (size_t i = 0; i < 1024 / block; ++i) {
      quantize(bound.dtype, values.data() + i * block, pieces.data() + i * step, block);
    }
    EXPECT_EQ(whole, pieces) << dtype_name(bound.dtype);
  }
}

TEST(QuantDeathTest, PartialBlocksAndIntegersAreBugs) {
  std::vector<float> values(256);
  std::vector<std::byte> bytes(2048);
  EXPECT_DEATH(quantize(DType::kQ4_K, values.data(), bytes.data(), 255), "q4_k of 255");
  EXPECT_DEATH(dequantize(DType::kQ8_0, bytes.data(), values.data(), 31), "q8_0 of 31");
  EXPECT_DEATH(dequantize(DType::kI32, bytes.data(), values.data(), 1), "i32");
}

}  // namespace
}  // namespace hadal
