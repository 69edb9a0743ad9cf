#include "hadal/base/hash.h"

#include <algorithm>
#include <cstring>

namespace hadal {
namespace {

constexpr uint64_t kMultiplier = 0xD6E8FEB86659FD93ull;
constexpr uint64_t kFold = 0x9E3779B97F4A7C15ull;

// Odd multiplications, xors with a word and xors with an own right shift can all be undone.
inline uint64_t step(uint64_t lane, uint64_t word) {
  lane = (lane ^ word) * kMultiplier;
  return lane ^ (lane >> 32);
}

}  // namespace

std::string Hash128::hex() const {
  std::string text(32, '0');
  for (int i = 0; i < 16; ++i) {
    text[static_cast<size_t>(15 - i)] = "0123456789abcdef"[(high >> (4 * i)) & 15];
    text[static_cast<size_t>(31 - i)] = "0123456789abcdef"[(low >> (4 * i)) & 15];
  }
  return text;
}

Hasher::Hasher(uint64_t seed) {
  for (size_t i = 0; i < kLanes; ++i) lanes_[i] = step(seed, kFold * (i + 1));
}

void Hasher::take(const std::byte* stride) {
  std::array<uint64_t, kLanes> words;
  std::memcpy(words.data(), stride, kStride);
  for (size_t i = 0; i < kLanes; ++i) lanes_[i] = step(lanes_[i], words[i]);
}

void Hasher::update(std::span<const std::byte> bytes) {
  total_ += bytes.size();
  if (tail_size_ > 0) {
    const size_t more = std::min(kStride - tail_size_, bytes.size());
    std::copy_n(bytes.begin(), more, tail_.begin() + tail_size_);
    tail_size_ += more;
    bytes = bytes.subspan(more);
    if (tail_size_ < kStride) return;
    take(tail_.data());
    tail_size_ = 0;
  }
  for (; bytes.size() >= kStride; bytes = bytes.subspan(kStride)) take(bytes.data());
  std::ranges::copy(bytes, tail_.begin());
  tail_size_ = bytes.size();
}

Hash128 Hasher::finish() const {
  Hasher last = *this;
  std::fill(last.tail_.begin() + tail_size_, last.tail_.end(), std::byte{0});
  last.take(last.tail_.data());
  // The length tells a tail from the same tail with zeros behind it.
  Hash128 hash{step(kFold, total_), step(~kFold, total_)};
  for (size_t i = 0; i < kLanes; ++i) {
    hash.low = step(hash.low, last.lanes_[i]);
    hash.high = step(hash.high, last.lanes_[kLanes - 1 - i]);
  }
  return {step(hash.low, 0), step(hash.high, 0)};
}

}  // namespace hadal
