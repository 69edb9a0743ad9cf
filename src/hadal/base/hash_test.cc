#include "hadal/base/hash.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "hadal/base/rng.h"

namespace hadal {
namespace {

std::vector<std::byte> noise(size_t size) {
  Rng rng(size);
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng.next());
  return bytes;
}

Hash128 hash_of(std::span<const std::byte> bytes, uint64_t seed = 0) {
  Hasher hasher(seed);
  hasher.update(bytes);
  return hasher.finish();
}

TEST(Hash, DoesNotDependOnThePieces) {
  const std::vector<std::byte> bytes = noise(1'000);
  const Hash128 whole = hash_of(bytes);
  for (size_t piece = 1; piece < 200; ++piece) {
    Hasher hasher;
    for (size_t i = 0; i < bytes.size(); i += piece) {
      hasher.update(std::span(bytes).subspan(i, std::min(piece, bytes.size() - i)));
    }
    ASSERT_EQ(hasher.finish(), whole) << piece;
  }
}

TEST(Hash, EveryBitCounts) {
  std::vector<std::byte> bytes = noise(300);
  std::set<uint64_t> low, high;
  low.insert(hash_of(bytes).low);
  high.insert(hash_of(bytes).high);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const auto flip = static_cast<std::byte>(1u << (bit % 8));
    bytes[bit / 8] ^= flip;
    low.insert(hash_of(bytes).low);
    high.insert(hash_of(bytes).high);
    bytes[bit / 8] ^= flip;
  }
  EXPECT_EQ(low.size(), bytes.size() * 8 + 1);
  EXPECT_EQ(high.size(), bytes.size() * 8 + 1);
}

TEST(Hash, LengthSeedAndOrderCount) {
  const std::vector<std::byte> zeros(256);
  std::set<std::string> seen;
  for (size_t size = 0; size <= zeros.size(); ++size) {
    seen.insert(hash_of(std::span(zeros).first(size)).hex());
  }
  for (uint64_t seed = 1; seed < 100; ++seed) seen.insert(hash_of(zeros, seed).hex());
  EXPECT_EQ(seen.size(), zeros.size() + 1 + 99);

  std::vector<std::byte> swapped = noise(1'024);
  const Hash128 before = hash_of(swapped);
  for (const size_t distance : {8, 64, 512}) {  // words of neighbouring lanes, and of one lane
    for (size_t i = 0; i < 8; ++i) std::swap(swapped[i], swapped[i + distance]);
    EXPECT_NE(hash_of(swapped), before) << distance;
    for (size_t i = 0; i < 8; ++i) std::swap(swapped[i], swapped[i + distance]);
  }
  EXPECT_EQ(hash_of(swapped), before);
}

// Files written today are read by later versions.
TEST(Hash, StaysAsItIs) {
  EXPECT_EQ(Hasher().finish().hex(), "35a5e045724035d4a1afed59ac699325");
  Hasher hasher(7);
  hasher.update("The quick brown fox jumps over the lazy dog, and then over sixty-four bytes.");
  EXPECT_EQ(hasher.finish().hex(), "aaffc6d189b5204903a3d96bbd8cc394");
}

}  // namespace
}  // namespace hadal
