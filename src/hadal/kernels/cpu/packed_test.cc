// Packed weights in memory that is not the backend's own: files of them outlive the program, so
// their bytes are pinned here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "hadal/base/rng.h"
#include "hadal/kernels/cpu/matmul.h"
#include "hadal/kernels/cpu/panel.h"
#include "hadal/kernels/cpu/testing/weights.h"

namespace hadal::kernels::cpu {
namespace {

// Extents one after another, in the order of take().
class Shelf final : public WeightMemory {
 public:
  enum class Mode { kEmpty, kPacked, kSizes };

  Result<Extent> take(uint64_t bytes) override {
    sizes.push_back(bytes);
    if (mode == Mode::kSizes) return Extent{nullptr, true};
    if (mode == Mode::kEmpty) extents.emplace_back(bytes, std::byte{0xA5});
    return Extent{extents.at(next++).data(), mode == Mode::kPacked};
  }
  void rewind(Mode to) {
    mode = to;
    next = 0;
    sizes.clear();
  }

  Mode mode = Mode::kEmpty;
  size_t next = 0;
  std::vector<std::vector<std::byte>> extents;
  std::vector<uint64_t> sizes;
};

// Any bytes, but none of FP8's NaN.
struct Bytes {
  Bytes(DType dtype, int64_t rows, int64_t cols, int64_t count, uint64_t seed)
      : source{dtype, rows, cols, {}, {}} {
    Rng rng(seed);
    for (int64_t i = 0; i < count; ++i) {
      std::vector<std::byte>& part =
          parts.emplace_back(static_cast<size_t>(rows) * row_bytes(dtype, cols));
      for (std::byte& b : part) {
        b = static_cast<std::byte>(rng.next() >> 56);
        if (dtype == DType::kF8E4M3) b &= std::byte{0x77};
      }
    }
    for (const std::vector<std::byte>& part : parts) {
      source.parts.emplace_back(part);
      const auto blocks = static_cast<size_t>((rows + 127) / 128 * ((cols + 127) / 128));
      if (dtype == DType::kF8E4M3) source.fp8_scales.emplace_back(blocks, 1.0f);
    }
  }
  // As it is when nobody reads the bytes.
  MatrixSource described() const {
    MatrixSource shape = source;
    for (std::span<const std::byte>& part : shape.parts) part = {};
    return shape;
  }

  std::vector<std::vector<std::byte>> parts;
  MatrixSource source;
};

uint64_t fnv(const std::vector<std::vector<std::byte>>& extents) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const std::vector<std::byte>& extent : extents) {
    for (const std::byte b : extent) {
      hash = (hash ^ std::to_integer<uint64_t>(b)) * 0x100000001b3;
    }
  }
  return hash;
}

class EveryPackedType : public ::testing::TestWithParam<DType> {
 protected:
  ThreadPool pool_{2};
};

const std::map<DType, uint64_t> kLayoutHashes = {
    {DType::kF32, 0x3391a2ef0b7a6bbc},    {DType::kF16, 0xa734eea35671cd7c},
    {DType::kBF16, 0xefe648d24f455358},   {DType::kF8E4M3, 0x84eb29f7b16d0b1c},
    {DType::kQ4_0, 0x1106607ced96a201},   {DType::kQ4_1, 0xd0201338eb2c2058},
    {DType::kQ5_0, 0xae486a03113296e2},   {DType::kQ5_1, 0xb9d129b73979c78f},
    {DType::kQ8_0, 0xf50e6d772ec4f09c},   {DType::kQ2_K, 0x19a84d339b41bd61},
    {DType::kQ3_K, 0x892fb75287117843},   {DType::kQ4_K, 0xf6aa58b8257ef07b},
    {DType::kQ5_K, 0x2e35abdedaa1c9cd},   {DType::kQ6_K, 0xb33ed1678a49e27c},
    {DType::kIQ4_NL, 0x1106607ced96a201}, {DType::kIQ4_XS, 0x44045b680f5eb0b3},
    {DType::kMXFP4, 0x69b209b14235908e},
};

TEST_P(EveryPackedType, BytesAreThoseOfTheLayoutsNumber) {
  const DType type = GetParam();
  const Bytes matrix(type, 50, 512, 2, 1);
  const Bytes gate(type, 256, 512, 2, 2), up(type, 256, 512, 2, 3), down(type, 512, 256, 2, 4);
  Shelf shelf;
  ASSERT_TRUE(PackedMatrix::make(matrix.source, pool_, &shelf));
  ASSERT_TRUE(PackedFfn::make(gate.source, up.source, down.source, pool_, &shelf));
  ASSERT_EQ(shelf.extents.size(), 2u);
  const uint64_t hash = fnv(shelf.extents);
  const auto known = kLayoutHashes.find(type);
  const uint64_t expected = known == kLayoutHashes.end() ? 0 : known->second;
  EXPECT_EQ(hash, expected)
      << "the packed bytes of " << dtype_name(type) << " have changed (0x" << std::hex << hash
      << "). Files that users have hold the old ones: give kPanelLayout (panel.h) its next number, "
         "then write the new hash here";
}

TEST_P(EveryPackedType, AFileOfThemIsAsGoodAsPacking) {
  const DType type = GetParam();
  const Bytes matrix(type, 50, 512, 2, 1);
  const Bytes gate(type, 256, 512, 2, 2), up(type, 256, 512, 2, 3), down(type, 512, 256, 2, 4);
  Shelf shelf;
  const auto packed = std::move(*PackedMatrix::make(matrix.source, pool_, &shelf));
  const auto ffn = std::move(*PackedFfn::make(gate.source, up.source, down.source, pool_, &shelf));
  const std::vector<uint64_t> sizes = shelf.sizes;
  const auto before = shelf.extents;

  shelf.rewind(Shelf::Mode::kPacked);
  const auto found = PackedMatrix::make(matrix.described(), pool_, &shelf);
  const auto found_ffn =
      PackedFfn::make(gate.described(), up.described(), down.described(), pool_, &shelf);
  ASSERT_TRUE(found && found_ffn);
  EXPECT_EQ(shelf.sizes, sizes);
  EXPECT_EQ(shelf.extents, before);
  EXPECT_EQ((*found)->bytes(), packed->bytes());
  EXPECT_EQ((*found_ffn)->bytes(), ffn->bytes());
  const auto rows_equal = [](const PanelMatrix& a, const PanelMatrix& b) {
    std::vector<float> one(static_cast<size_t>(a.cols)), other(one);
    for (int64_t row = 0; row < a.rows; ++row) {
      unpack_row(a, row, one.data());
      unpack_row(b, row, other.data());
      // Any bytes may decode to NaN.
      if (std::memcmp(one.data(), other.data(), one.size() * sizeof(float)) != 0) return false;
    }
    return true;
  };
  for (int64_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(rows_equal((*found)->part(i), packed->part(i)));
    EXPECT_TRUE(rows_equal((*found_ffn)->gate(i), ffn->gate(i)));
    EXPECT_TRUE(rows_equal((*found_ffn)->up(i), ffn->up(i)));
    EXPECT_TRUE(rows_equal((*found_ffn)->down(i), ffn->down(i)));
  }

  shelf.rewind(Shelf::Mode::kSizes);
  ASSERT_TRUE(PackedMatrix::make(matrix.described(), pool_, &shelf));
  ASSERT_TRUE(PackedFfn::make(gate.described(), up.described(), down.described(), pool_, &shelf));
  EXPECT_EQ(shelf.sizes, sizes);
}

INSTANTIATE_TEST_SUITE_P(Types, EveryPackedType, ::testing::ValuesIn(kAllTypes),
                         [](const auto& info) { return std::string(dtype_name(info.param)); });

TEST(PackedMatrix, SaysWhatItsMemorySaid) {
  class Full final : public WeightMemory {
    Result<Extent> take(uint64_t) override { return fail(Code::kExhausted, "the disk is full"); }
  } full;
  ThreadPool pool(1);
  const Bytes matrix(DType::kQ8_0, 16, 64, 1, 1);
  const auto packed = PackedMatrix::make(matrix.source, pool, &full);
  ASSERT_FALSE(packed);
  EXPECT_EQ(packed.error().what, "the disk is full");
}

TEST(PanelMemory, IsZeroAtEverySize) {
  for (const uint64_t bytes : {uint64_t{1}, uint64_t{4097}, uint64_t{2} << 20, uint64_t{5} << 20}) {
    for (int again = 0; again < 3; ++again) {  // what was written and freed does not come back
      const auto memory = PanelMemory::make(bytes);
      ASSERT_NE(memory, nullptr);
      const std::span<std::byte> all(memory->data(), bytes);
      EXPECT_EQ(std::count(all.begin(), all.end(), std::byte{0}), static_cast<int64_t>(bytes));
      std::fill(all.begin(), all.end(), std::byte{1});
    }
  }
  EXPECT_EQ(PanelMemory::make(uint64_t{1} << 60), nullptr);
}

}  // namespace
}  // namespace hadal::kernels::cpu
