// Activations as int8 with one scale for 256: what the kernels count on, against plain arithmetic.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "hadal/kernels/cpu/kernels.h"
#include "hadal/kernels/cpu/testing/weights.h"

namespace hadal::kernels::cpu {
namespace {

using Row = std::vector<float>;

struct Case {
  std::string name;
  Row x;  // [256]
};

std::vector<Case> cases() {
  std::vector<Case> all;
  const auto add = [&all](const std::string& name, auto value) {
    Row x(kSuperColumns);
    for (int64_t i = 0; i < kSuperColumns; ++i) x[static_cast<size_t>(i)] = value(i);
    all.push_back({name, x});
  };
  add("zeros", [](int64_t) { return 0.0f; });
  add("equal", [](int64_t) { return 1000.0f; });
  add("equal and negative", [](int64_t) { return -0.3f; });
  add("signs in turn", [](int64_t i) { return i % 2 == 0 ? 7.0f : -7.0f; });
  add("sixteen equal", [](int64_t i) { return i / 16 == 5 ? 3.0f : 0.01f; });
  add("just too much", [](int64_t i) { return i == 200 ? 1.0f : 0.507f; });
  add("halves", [](int64_t i) { return i == 0 ? 127.0f : 63.5f; });
  add("one outlier", [](int64_t i) { return i == 77 ? -500.0f : std::sin(static_cast<float>(i)); });
  add("huge", [](int64_t i) { return i % 3 == 0 ? 3e38f : -3e38f; });
  add("tiny", [](int64_t) { return 2e-35f; });
  add("too tiny", [](int64_t) { return 9e-36f; });
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    all.push_back({"random " + std::to_string(seed), random_floats(seed, kSuperColumns)});
  }
  return all;
}

std::vector<const KernelTable*> tables() {
  std::vector<const KernelTable*> found;
  for (const Isa isa : usable_sets()) {
    found.push_back(isa == Isa::kAvx2 ? &avx2_kernels() : &avx512_kernels());
  }
  return found;
}

// What rounding to `levels` steps gives: the sums of each 16 magnitudes stay in bounds.
int64_t most_of_16(const Row& x, double inverse) {
  int64_t most = 0;
  for (size_t i = 0; i < x.size(); i += 16) {
    int64_t sum = 0;
    for (size_t k = i; k < i + 16; ++k) sum += std::llabs(std::llrint(double{x[k]} * inverse));
    most = std::max(most, sum);
  }
  return most;
}

TEST(SuperBlocks, KeepWhatTheKernelsCountOn) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    double largest = 0;
    for (const float x : c.x) largest = std::max(largest, std::fabs(double{x}));
    for (const KernelTable* table : tables()) {
      ActQuarter quarters[4];
      table->quantize_supers(c.x.data(), kSuperColumns, quarters, 1);
      if (largest < 1e-35) {
        for (const ActQuarter& q : quarters) EXPECT_EQ(q.scale, 0.0f);
        continue;
      }
      const double levels = std::round(largest / double{quarters[0].scale});
      EXPECT_NEAR(largest / double{quarters[0].scale}, levels, 1e-4);
      EXPECT_GE(levels, 63);
      EXPECT_LE(levels, 127);
      // As many levels as there may be, but for the margin of rounding twice.
      if (most_of_16(c.x, 127 / largest) <= kSuperMost) {
        EXPECT_EQ(levels, 127);
      } else {
        EXPECT_GE(most_of_16(c.x, (levels + 2) / largest), kSuperMost - 40);
      }
      for (int q = 0; q < 4; ++q) {
        EXPECT_EQ(quarters[q].scale, quarters[0].scale);
        for (int part = 0; part < 4; ++part) {
          int sum = 0, magnitudes = 0;
          for (int k = 16 * part; k < 16 * part + 16; ++k) {
            const int code = quarters[q].codes[k];
            sum += code;
            magnitudes += std::abs(code);
            const double x = c.x[static_cast<size_t>(64 * q + k)];
            EXPECT_NEAR(code * double{quarters[q].scale}, x, largest / levels * 0.5001) << k;
          }
          EXPECT_LE(magnitudes, kSuperMost);
          EXPECT_EQ(quarters[q].sums[part], sum);
          EXPECT_EQ(quarters[q].negative_sums[part], -sum);
        }
        EXPECT_EQ(quarters[q].block_sums[0], quarters[q].sums[0] + quarters[q].sums[1]);
        EXPECT_EQ(quarters[q].block_sums[1], quarters[q].sums[2] + quarters[q].sums[3]);
      }
    }
  }
}

TEST(SuperBlocks, EqualNumbersStayExact) {
  for (const float value : {1.0f, -1000.0f, 0.037f}) {
    const Row x(kSuperColumns, value);
    for (const KernelTable* table : tables()) {
      ActQuarter quarters[4];
      table->quantize_supers(x.data(), kSuperColumns, quarters, 1);
      for (const ActQuarter& q : quarters) {
        for (const int8_t code : q.codes) {
          EXPECT_NEAR(static_cast<float>(code) * q.scale, value, std::fabs(value) * 1e-6f);
        }
      }
    }
  }
}

TEST(SuperBlocks, AreTheSameBytesOnEverySetAndLieWhereTheyShould) {
  const Row x = random_floats(3, 3 * kSuperColumns, 5.0f);
  constexpr int64_t kStride = 5;
  std::vector<ActQuarter> first;
  for (const KernelTable* table : tables()) {
    std::vector<ActQuarter> quarters(12 * kStride);
    std::memset(quarters.data(), 0x55, quarters.size() * sizeof(ActQuarter));
    table->quantize_supers(x.data(), 3 * kSuperColumns, quarters.data() + 2, kStride);
    if (first.empty()) first = quarters;
    EXPECT_EQ(0, std::memcmp(first.data(), quarters.data(), first.size() * sizeof(ActQuarter)));
    ActQuarter untouched;
    std::memset(&untouched, 0x55, sizeof(untouched));
    for (size_t i = 0; i < quarters.size(); ++i) {
      const bool same = std::memcmp(&quarters[i], &untouched, sizeof(untouched)) == 0;
      EXPECT_EQ(same, i % kStride != 2) << i;
    }
  }
}

TEST(SuperBlocks, TellOfNanAndInfinity) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
        std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
    Row x = random_floats(4, 2 * kSuperColumns);
    x[300] = bad;
    for (const KernelTable* table : tables()) {
      ActQuarter quarters[8];
      table->quantize_supers(x.data(), 2 * kSuperColumns, quarters, 1);
      for (int q = 0; q < 8; ++q) EXPECT_EQ(std::isfinite(quarters[q].scale), q < 4) << q;
    }
  }
}

}  // namespace
}  // namespace hadal::kernels::cpu
