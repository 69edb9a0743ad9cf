#include "hadal/tensor/dtype.h"

#include <array>

#include "hadal/base/check.h"
#include "hadal/tensor/blocks.h"

namespace hadal {
namespace {

template <class Block>
constexpr DTypeInfo blocked(std::string_view name) {
  return {name, Block::kElements, sizeof(Block), true};
}

// In the order of DType.
constexpr std::array<DTypeInfo, kDTypeCount> kInfos = {{
    {"f32", 1, 4, false},         {"f16", 1, 2, false},           {"bf16", 1, 2, false},
    {"f8_e4m3", 1, 1, false},     {"i32", 1, 4, false},           {"i64", 1, 8, false},
    blocked<BlockQ4_0>("q4_0"),   blocked<BlockQ4_1>("q4_1"),     blocked<BlockQ5_0>("q5_0"),
    blocked<BlockQ5_1>("q5_1"),   blocked<BlockQ8_0>("q8_0"),     blocked<BlockQ2_K>("q2_k"),
    blocked<BlockQ3_K>("q3_k"),   blocked<BlockQ4_K>("q4_k"),     blocked<BlockQ5_K>("q5_k"),
    blocked<BlockQ6_K>("q6_k"),   blocked<BlockIQ4_NL>("iq4_nl"), blocked<BlockIQ4_XS>("iq4_xs"),
    blocked<BlockMXFP4>("mxfp4"), {"f8_e8m0", 1, 1, false},       {"i8", 1, 1, false},
}};

}  // namespace

const DTypeInfo& dtype_info(DType dtype) {
  const auto index = static_cast<size_t>(dtype);
  HADAL_CHECK(index < kInfos.size(), std::to_string(index));
  return kInfos[index];
}

std::optional<DType> dtype_from_name(std::string_view name) {
  for (size_t i = 0; i < kInfos.size(); ++i) {
    if (kInfos[i].name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

}  // namespace hadal
