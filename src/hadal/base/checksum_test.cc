#include "hadal/base/checksum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "hadal/base/rng.h"

namespace hadal {
namespace {

std::string text_of(size_t size) {
  Rng rng(size + 1);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(rng.next() >> 56);
  return text;
}

TEST(Checksum, EveryBitLengthAndSeedCounts) {
  std::set<uint64_t> seen;
  size_t inputs = 0;
  for (const size_t size : {0u, 1u, 7u, 8u, 9u, 63u, 64u, 65u, 200u}) {
    std::string text = text_of(size);
    for (const uint64_t seed : {0u, 1u}) {
      seen.insert(checksum64(text, seed));
      ++inputs;
    }
    for (size_t bit = 0; bit < 8 * size; ++bit) {
      text[bit / 8] ^= static_cast<char>(1 << bit % 8);
      seen.insert(checksum64(text));
      ++inputs;
      text[bit / 8] ^= static_cast<char>(1 << bit % 8);
    }
    // A zero at the end is not nothing.
    if (size > 0) {
      seen.insert(checksum64(text + '\0'));
      ++inputs;
    }
  }
  EXPECT_EQ(seen.size(), inputs);
}

TEST(Checksum, OrderCounts) {
  std::string text = text_of(256);
  const uint64_t whole = checksum64(text);
  std::swap_ranges(text.begin(), text.begin() + 64, text.begin() + 64);
  EXPECT_NE(checksum64(text), whole);
  text = text_of(256);
  std::swap_ranges(text.begin(), text.begin() + 8, text.begin() + 8);
  EXPECT_NE(checksum64(text), whole);
}

// Files hold these.
TEST(Checksum, StaysWhatItIs) {
  EXPECT_EQ(checksum64(""), 9250764860922643216u);
  EXPECT_EQ(checksum64("hadal"), 2326900726512379531u);
  EXPECT_EQ(checksum64(text_of(1000), 7), 6904929985777534046u);
}

}  // namespace
}  // namespace hadal
