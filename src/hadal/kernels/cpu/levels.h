// Level tables of 4-bit types as kernels look them up: plus 128, so that codes are unsigned.
#pragma once

#include <cstdint>

#include "hadal/tensor/blocks.h"

namespace hadal::kernels::cpu {

struct BiasedLevels {
  template <class Values>
  explicit constexpr BiasedLevels(const Values& values) {
    for (int i = 0; i < 16; ++i) bytes[i] = static_cast<uint8_t>(values[i] + 128);
  }
  uint8_t bytes[16] = {};
};

inline constexpr BiasedLevels kBiasedIq4(kIq4Values);
inline constexpr BiasedLevels kBiasedMxfp4(kMxfp4Values);

}  // namespace hadal::kernels::cpu
