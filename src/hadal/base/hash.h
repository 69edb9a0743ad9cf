// A fast hash of bytes, to find equal things and to notice damage. Not against an adversary.
//
// Eight lanes take a 64-bit word each in turn; a step is a bijection of (lane, word), and so is
// their final folding. Hence two inputs of one length that differ in a single word always differ in
// `low`, and others agree by chance once in 2^64.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace hadal {

struct Hash128 {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const Hash128&) const = default;
  std::string hex() const;  // 32 digits, high first
};

// The result depends on the bytes and on the seed alone, not on how they were cut into pieces.
class Hasher {
 public:
  explicit Hasher(uint64_t seed = 0);
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) { update(std::as_bytes(std::span(text))); }
  Hash128 finish() const;

 private:
  static constexpr size_t kLanes = 8;
  static constexpr size_t kStride = kLanes * sizeof(uint64_t);
  void take(const std::byte* stride);

  std::array<uint64_t, kLanes> lanes_;
  std::array<std::byte, kStride> tail_{};
  size_t tail_size_ = 0;
  uint64_t total_ = 0;
};

inline uint64_t hash64(std::span<const std::byte> bytes, uint64_t seed = 0) {
  Hasher hasher(seed);
  hasher.update(bytes);
  return hasher.finish().low;
}

}  // namespace hadal
