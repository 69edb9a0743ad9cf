// Counter-based random numbers: draw n of stream s is a pure function of (seed, s, n). A request's
// draws therefore do not depend on what else runs, and a sequence that is rewound repeats itself.
// SplitMix64's finaliser (Steele, Lea, Flood, 2014) applied twice.
#pragma once

#include <cstdint>

namespace hadal {

class Rng {
 public:
  explicit constexpr Rng(uint64_t seed, uint64_t stream = 0) : key_(mix(seed ^ mix(stream + 1))) {}

  // Draw number `index` of this stream.
  constexpr uint64_t at(uint64_t index) const { return mix(key_ + index * 0x9E3779B97F4A7C15ull); }
  // In [0, 1), 53 bits.
  constexpr double uniform_at(uint64_t index) const {
    return static_cast<double>(at(index) >> 11) * 0x1.0p-53;
  }
  constexpr uint64_t next() { return at(counter_++); }
  constexpr double uniform() { return uniform_at(counter_++); }

 private:
  static constexpr uint64_t mix(uint64_t x) {
    x += 0x9E3779B97F4A7C15ull;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
  }
  uint64_t key_;
  uint64_t counter_ = 0;
};

}  // namespace hadal
