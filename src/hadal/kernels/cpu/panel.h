// Weights in panels of 16 rows. One form per element type; all integer forms share one
// micro-kernel.
//
// clang-format off
// Integer forms. A panel is a sequence of super-blocks; a super-block is a header, then its blocks
// of 32 columns; a block is its own header, then its codes. "[16]" is one entry per row.
//
//   codes    kNibble  4 lines of 64 bytes. Byte 4 r + j of line i: low nibble row r, column
//                     4 i + j; high nibble column 16 + 4 i + j. So one line is two operands of a
//                     4-way byte dot product.
//            kFive    5 lines. The lower five bits of byte 4 r + j of line i are row r, column
//                     4 i + j; the upper three of lines 0 to 4, a to e, hold columns 20 + j (a 0-2,
//                     b 0-1), 24 + j (c 0-2, d 0-1) and 28 + j (e 0-2, b 2, d 2), lowest bits first
//            kSix     6 lines, the lower six bits likewise; the upper two of lines 0 to 2 hold column
//                     24 + j, those of lines 3 to 5 column 28 + j, lowest bits first
//            kByte    8 lines, byte 4 r + j of line g is column 4 g + j, plus 128
//   scales   kHalf        block: f16 s [16]                            value = s (code - zero)
//            kHalfMin     block: f16 s [16], f16 m [16]                value = s code + m
//            kExponent    block: u8 e [16]                    value = 2^(e - 128) (code - zero)
//            kSixMin      super, 8 blocks: f16 d [16], f16 m [16], both [4][16][2], low [2][16][2];
//                         block 2 i + p has its scale in the lower six bits of both[i][r][p], the
//                         upper two bits of its minimum above them, and the lower four in the nibble
//                         i % 2 of low[i / 2][r][p]         value = d scale code - m minimum
//            kByte        super, 8 blocks: f16 d [16]; block: s8 [16]
//                                                           value = d scale (code - zero)
//            kBytePair    super, 8 blocks: f16 d [16]; block: s8 [16][2], a scale for 16 columns
//            kNibblePair  super, 8 blocks: f16 d [16], f16 m [16]; block: u8 [16][2], scale in the
//                         low nibble, minimum in the high one, of 16 columns
// clang-format on
//
// Panels of a matrix go in pairs, 2 q and 2 q + 1, part by part: both headers of a super-block,
// both headers of its first block, both blocks' codes, and so on. A kernel for both so reads one
// stream from front to back, which is what memory and prefetchers like best. A last panel without a
// partner stands alone. In an expert the partners are panel p of gate and panel p of up, where the
// two have one type.
//
// Float forms hold columns, padded with zeros to a multiple of 4, in the type's own width:
//   F32, F16: column k as [16]. BF16: columns 2 k and 2 k + 1 interleaved, [16][2]. FP8: columns 4
//   k..4 k+3 in 64 bytes, [16][2] of the first two, then [16][2] of the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "hadal/base/result.h"
#include "hadal/kernels/cpu/kernels.h"
#include "hadal/kernels/weights.h"

namespace hadal::kernels::cpu {

// Names the bytes that all of the above make. Any change of them takes the next number: files of
// packed weights outlive the program that wrote them.
inline constexpr std::string_view kPanelLayout = "panel16/4";

enum class Codes : uint8_t { kNibble, kFive, kSix, kByte };
enum class Scales : uint8_t {
  kHalf,
  kHalfMin,
  kExponent,
  kSixMin,
  kByte,
  kBytePair,
  kNibblePair,
};

constexpr int64_t code_bytes(Codes codes) {
  return codes == Codes::kNibble ? 256
         : codes == Codes::kFive ? 320
         : codes == Codes::kSix  ? 384
                                 : 512;
}
constexpr int64_t super_blocks(Scales scales) {
  return scales == Scales::kHalf || scales == Scales::kHalfMin || scales == Scales::kExponent ? 1
                                                                                              : 8;
}
constexpr int64_t super_header_bytes(Scales scales) {
  switch (scales) {
    case Scales::kSixMin:
      return 256;
    case Scales::kByte:
    case Scales::kBytePair:
      return 32;
    case Scales::kNibblePair:
      return 64;
    default:
      return 0;
  }
}
constexpr int64_t block_header_bytes(Scales scales) {
  switch (scales) {
    case Scales::kHalfMin:
      return 64;
    case Scales::kExponent:
    case Scales::kByte:
      return 16;
    case Scales::kSixMin:
      return 0;
    default:
      return 32;
  }
}

// What codes mean, beyond their bits.
enum class Levels : uint8_t { kLinear, kIq4, kMxfp4 };

// What rows of activations must be to meet a matrix: floats, ActBlocks or ActQuarters (kernels.h).
enum class Activations : uint8_t { kFloats, kBlocks, kSupers };

struct PanelForm {
  bool integer = false;
  // Integer forms.
  Codes codes = Codes::kNibble;
  Scales scales = Scales::kHalf;
  Levels levels = Levels::kLinear;
  int32_t zero = 0;
  // Float forms.
  int64_t element_bytes = 0;
};

constexpr Activations activations(const PanelForm& form) {
  if (!form.integer) return Activations::kFloats;
  const bool super = form.scales == Scales::kSixMin || form.scales == Scales::kBytePair ||
                     form.scales == Scales::kNibblePair;
  return super ? Activations::kSupers : Activations::kBlocks;
}

// kUnsupported: a type without kernels.
Result<PanelForm> panel_form(DType dtype);

// Columns of a float form with its padding.
constexpr int64_t padded_columns(int64_t cols) { return (cols + 3) / 4 * 4; }
constexpr int64_t panel_count(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }
// Integer forms: bytes of one block and of one super-block, of one panel.
constexpr uint64_t block_bytes(const PanelForm& form) {
  return static_cast<uint64_t>(block_header_bytes(form.scales) + code_bytes(form.codes));
}
constexpr uint64_t super_bytes(const PanelForm& form) {
  return static_cast<uint64_t>(super_header_bytes(form.scales)) +
         static_cast<uint64_t>(super_blocks(form.scales)) * block_bytes(form);
}
uint64_t panel_bytes(const PanelForm& form, int64_t cols);

// How panels lie, in bytes.
struct PanelLayout {
  uint64_t pair_stride = 0;  // from an even panel to the next even one
  uint64_t odd = 0;          // from an even panel to the odd one after it
  // Integer forms: of even and of odd panels, and of a last panel with an even number.
  PanelStride even = {}, uneven = {}, lone = {};
};
// Integer forms: of a panel by itself, and of the two of a pair; the second begins partner_offset()
// behind the first.
constexpr PanelStride lone_stride(const PanelForm& form) {
  return {super_bytes(form), static_cast<uint64_t>(super_header_bytes(form.scales)),
          block_bytes(form), static_cast<uint64_t>(block_header_bytes(form.scales))};
}
// A panel begins with a super-block's header, or with a block's where it has none of the kind.
constexpr uint64_t partner_offset(const PanelForm& form) {
  const int64_t header = super_header_bytes(form.scales);
  return static_cast<uint64_t>(header > 0 ? header : block_header_bytes(form.scales));
}
constexpr PanelStride partner_stride(const PanelForm& form, bool second) {
  const auto super_header = static_cast<uint64_t>(super_header_bytes(form.scales));
  const auto header = static_cast<uint64_t>(block_header_bytes(form.scales));
  const auto codes = static_cast<uint64_t>(code_bytes(form.codes));
  PanelStride stride{2 * super_bytes(form), 2 * super_header, 2 * block_bytes(form), 2 * header};
  if (second) {
    stride.blocks += header - partner_offset(form);
    stride.codes += codes - header;
  }
  return stride;
}
// Of a matrix by itself, its panels in pairs.
PanelLayout paired_layout(const PanelForm& form, int64_t cols);

// One matrix in panels; does not own.
struct PanelMatrix {
  DType dtype = DType::kF32;
  Activations wants = Activations::kFloats;
  int64_t rows = 0, cols = 0;
  const std::byte* data = nullptr;
  uint64_t panel_bytes = 0;
  PanelLayout layout;
  const float* scales = nullptr;  // FP8: [ceil(rows / 128)][ceil(cols / 128)], times 2^8

  int64_t panels() const { return panel_count(rows); }
  const std::byte* panel(int64_t p) const {
    return data + static_cast<uint64_t>(p / 2) * layout.pair_stride +
           static_cast<uint64_t>(p % 2) * layout.odd;
  }
  const PanelStride& stride(int64_t p) const {
    if (p % 2 == 1) return layout.uneven;
    return p + 1 == panels() ? layout.lone : layout.even;
  }
};

// Zeroes that cost nothing until they are touched; 2 MB aligned and on huge pages where that pays.
class PanelMemory {
 public:
  // Null when memory cannot be had.
  static std::unique_ptr<PanelMemory> make(uint64_t bytes);
  ~PanelMemory();
  std::byte* data() const { return data_; }

 private:
  PanelMemory() = default;
  std::byte* data_ = nullptr;
  uint64_t mapped_ = 0;  // bytes that are the system's; 0: the heap's
};

// Packs 16 rows of the file's bytes, each row_bytes(dtype, cols) long, as one panel: every byte of
// its super-blocks. `stride`: of integer forms.
void pack_panel(DType dtype, const std::byte* const* rows, int64_t cols, const PanelStride& stride,
                std::byte* panel);

// target[0, cols) = row `row` of the matrix.
void unpack_row(const PanelMatrix& matrix, int64_t row, float* target);

}  // namespace hadal::kernels::cpu
