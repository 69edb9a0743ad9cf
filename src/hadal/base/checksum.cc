#include "hadal/base/checksum.h"

#include <array>
#include <cstring>

namespace hadal {
namespace {

constexpr size_t kLanes = 8;  // independent, so that multiplications overlap
constexpr size_t kWord = sizeof(uint64_t);
constexpr uint64_t kOdd =
    0x9e3779b97f4a7c15;  // 2^64 / golden ratio, odd: multiplying is invertible

constexpr uint64_t mixed(uint64_t state, uint64_t word) {
  state = (state ^ word) * kOdd;
  return state ^ state >> 29;
}

uint64_t load_word(const std::byte* bytes, size_t size) {
  uint64_t word = 0;
  std::memcpy(&word, bytes, size);
  return word;
}

}  // namespace

uint64_t checksum64(std::span<const std::byte> bytes, uint64_t seed) {
  std::array<uint64_t, kLanes> lanes;
  for (size_t i = 0; i < kLanes; ++i) lanes[i] = mixed(seed, i + 1);
  const std::byte* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= kLanes * kWord; at += kLanes * kWord, left -= kLanes * kWord) {
    for (size_t i = 0; i < kLanes; ++i)
      lanes[i] = mixed(lanes[i], load_word(at + i * kWord, kWord));
  }
  for (size_t i = 0; left > 0; ++i) {
    const size_t size = left < kWord ? left : kWord;
    lanes[i] = mixed(lanes[i], load_word(at, size));
    at += size;
    left -= size;
  }
  uint64_t sum = mixed(seed, bytes.size());
  for (const uint64_t lane : lanes) sum = mixed(sum, lane);
  return sum;
}

uint64_t checksum64(std::string_view text, uint64_t seed) {
  return checksum64(std::as_bytes(std::span(text.data(), text.size())), seed);
}

}  // namespace hadal
