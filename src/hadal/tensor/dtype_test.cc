#include "hadal/tensor/dtype.h"

#include <gtest/gtest.h>

#include <set>

namespace hadal {
namespace {

TEST(DType, NamesAreUniqueAndFindTheirType) {
  std::set<std::string_view> seen;
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_TRUE(seen.insert(dtype_name(dtype)).second) << dtype_name(dtype);
    EXPECT_EQ(dtype_from_name(dtype_name(dtype)), dtype);
  }
  EXPECT_EQ(dtype_from_name("q4_K"), std::nullopt);
  EXPECT_EQ(dtype_from_name(""), std::nullopt);
}

TEST(DType, RowBytes) {
  EXPECT_EQ(row_bytes(DType::kF32, 7), 28u);
  EXPECT_EQ(row_bytes(DType::kI64, 3), 24u);
  EXPECT_EQ(row_bytes(DType::kF8E8M0, 5), 5u);
  EXPECT_EQ(row_bytes(DType::kQ4_K, 512), 288u);
  EXPECT_EQ(row_bytes(DType::kQ6_K, 256), 210u);
  EXPECT_EQ(row_bytes(DType::kQ8_0, 64), 68u);
  EXPECT_EQ(row_bytes(DType::kMXFP4, 2880), 1530u);
}

}  // namespace
}  // namespace hadal
