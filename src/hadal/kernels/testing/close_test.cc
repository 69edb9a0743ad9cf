// The comparator itself: each planted error must be seen.
#include "hadal/kernels/testing/close.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "hadal/base/rng.h"

namespace hadal::kernels::testing {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int kColumns = 32;

std::vector<float> sample() {
  Rng rng(7);
  std::vector<float> values(8 * kColumns);
  for (float& x : values) x = static_cast<float>(rng.uniform() * 2 - 1);
  return values;
}

bool close(const std::vector<float>& expected, const std::vector<float>& actual) {
  return compare(expected, actual, 1e-3).close;
}

TEST(Close, AcceptsEqualAndNear) {
  std::vector<float> actual = sample();
  EXPECT_TRUE(close(sample(), actual));
  for (float& x : actual) x += 0.9e-3f;
  EXPECT_TRUE(close(sample(), actual));
}

TEST(Close, SeesOneElement) {
  for (size_t i = 0; i < sample().size(); ++i) {
    std::vector<float> actual = sample();
    actual[i] += 1.1e-3f;
    EXPECT_FALSE(close(sample(), actual)) << i;
  }
}

TEST(Close, SeesASign) {
  std::vector<float> actual = sample();
  actual[17] = -actual[17];
  EXPECT_FALSE(close(sample(), actual));
}

TEST(Close, SeesSwappedRows) {
  std::vector<float> actual = sample();
  std::swap_ranges(actual.begin(), actual.begin() + kColumns, actual.begin() + kColumns);
  EXPECT_FALSE(close(sample(), actual));
}

TEST(Close, SeesAShiftByOne) {
  std::vector<float> actual = sample();
  std::rotate(actual.begin(), actual.begin() + 1, actual.end());
  EXPECT_FALSE(close(sample(), actual));
}

TEST(Close, NanOnlyWhereExpected) {
  std::vector<float> with_nan = sample();
  with_nan[3] = kNan;
  EXPECT_FALSE(close(sample(), with_nan));
  EXPECT_FALSE(close(with_nan, sample()));
  EXPECT_TRUE(close(with_nan, with_nan));
  std::vector<float> elsewhere = sample();
  elsewhere[4] = kNan;
  EXPECT_FALSE(close(with_nan, elsewhere));
}

TEST(Close, InfinityOnlyWhereExpectedAndOfThatSign) {
  std::vector<float> with_infinity = sample();
  with_infinity[3] = kInfinity;
  std::vector<float> negative = sample();
  negative[3] = -kInfinity;
  EXPECT_FALSE(close(sample(), with_infinity));
  EXPECT_FALSE(close(with_infinity, sample()));
  EXPECT_FALSE(close(with_infinity, negative));
  EXPECT_TRUE(close(with_infinity, with_infinity));
}

TEST(Close, SeesSizesAndRefusesANanTolerance) {
  std::vector<float> shorter = sample();
  shorter.pop_back();
  EXPECT_FALSE(close(sample(), shorter));
  EXPECT_FALSE(compare(sample(), sample(), kNan).close);
}

TEST(Close, NamesTheWorstElement) {
  std::vector<float> actual = sample();
  actual[5] += 0.01f;
  actual[99] += 0.02f;
  EXPECT_NE(compare(sample(), actual, 1e-3).what.find("element 99 of 256"), std::string::npos);
}

}  // namespace
}  // namespace hadal::kernels::testing
