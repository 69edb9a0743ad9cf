#include "hadal/kernels/cpu/panel.h"

#include <sys/mman.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>

#include "hadal/base/check.h"
#include "hadal/kernels/cpu/levels.h"
#include "hadal/tensor/quant.h"

namespace hadal::kernels::cpu {
namespace {

constexpr uint64_t kHugePage = uint64_t{2} << 20;
constexpr uint64_t kMemoryMax = uint64_t{1} << 48;  // more than any address space
constexpr uint64_t kLine = 64;
constexpr int64_t kFp8Block = 128;
constexpr float kFp8AsHalf = 0x1.0p-8f;  // undoes the 2^8 in PanelMatrix::scales

PanelForm integer_form(Codes codes, Scales scales, int32_t zero) {
  return {.integer = true, .codes = codes, .scales = scales, .zero = zero};
}
PanelForm level_form(Scales scales, Levels levels) {
  return {.integer = true, .codes = Codes::kNibble, .scales = scales, .levels = levels};
}
PanelForm float_form(int64_t element_bytes) { return {.element_bytes = element_bytes}; }

uint8_t byte_at(const std::byte* p) { return std::to_integer<uint8_t>(*p); }
float half_at(const std::byte* array, int row) {
  uint16_t bits;
  std::memcpy(&bits, array + 2 * row, sizeof(bits));
  return f16_to_f32(bits);
}

// Codes of a group of four columns, `lines` being the bytes of one of them.
int five_at(const std::byte* lines, int group) {
  const auto line = [lines](int i) { return byte_at(lines + 64 * i); };
  if (group < 5) return line(group) & 31;
  if (group == 7) return line(4) >> 5 | line(1) >> 7 << 3 | line(3) >> 7 << 4;
  const int first = 2 * (group - 5);
  return line(first) >> 5 | (line(first + 1) >> 5 & 3) << 3;
}
int six_at(const std::byte* lines, int group) {
  const auto line = [lines](int i) { return byte_at(lines + 64 * i); };
  if (group < 6) return line(group) & 63;
  const int first = 3 * (group - 6);
  return line(first) >> 6 | line(first + 1) >> 6 << 2 | line(first + 2) >> 6 << 4;
}

// Code of (row, column k of the block), the zero not yet subtracted.
int code_at(const PanelForm& form, const std::byte* codes, int row, int k) {
  const int group = k / 4;
  const int lane = 4 * row + k % 4;
  if (form.codes == Codes::kByte) return byte_at(codes + 64 * group + lane);
  if (form.codes == Codes::kFive) return five_at(codes + lane, group);
  if (form.codes == Codes::kSix) return six_at(codes + lane, group);
  const int code = byte_at(codes + 64 * (group % 4) + lane) >> (group / 4 * 4) & 15;
  if (form.levels == Levels::kIq4) return kBiasedIq4.bytes[code] - 128;
  if (form.levels == Levels::kMxfp4) return kBiasedMxfp4.bytes[code] - 128;
  return code;
}

// All 32 of a block, the zero subtracted.
void codes_of_row(const PanelForm& form, const std::byte* codes, int row, int* result) {
  if (form.codes != Codes::kByte) {
    for (int k = 0; k < kBlock; ++k) result[k] = code_at(form, codes, row, k) - form.zero;
    return;
  }
  uint8_t bytes[kBlock];
  for (int group = 0; group < kBlock / 4; ++group) {
    std::memcpy(bytes + 4 * group, codes + 64 * group + 4 * row, 4);
  }
  for (int k = 0; k < kBlock; ++k) result[k] = bytes[k] - form.zero;
}

struct ScaleAndMinimum {
  float scale = 0, minimum = 0;  // value = scale * code + minimum
};

// Of `row` in block i of a super-block, columns [16 half, 16 half + 16).
ScaleAndMinimum scale_at(const PanelForm& form, const std::byte* header, const std::byte* block,
                         int i, int row, int half) {
  switch (form.scales) {
    case Scales::kHalf:
      return {half_at(block, row)};
    case Scales::kHalfMin:
      return {half_at(block, row), half_at(block + 32, row)};
    case Scales::kExponent:
      return {0.5f * ue8m0_to_f32(byte_at(block + row))};
    case Scales::kSixMin: {
      const int pair = 2 * row + i % 2;
      const int both = byte_at(header + 64 + 32 * (i / 2) + pair);
      const int low = byte_at(header + 192 + 32 * (i / 4) + pair) >> (i / 2 % 2 * 4) & 15;
      const int scale = both & 63;
      const int minimum = low | both >> 6 << 4;
      return {half_at(header, row) * static_cast<float>(scale),
              -half_at(header + 32, row) * static_cast<float>(minimum)};
    }
    case Scales::kByte:
    case Scales::kBytePair: {
      const int at = form.scales == Scales::kByte ? row : 2 * row + half;
      const auto scale = static_cast<int8_t>(byte_at(block + at));
      return {half_at(header, row) * static_cast<float>(scale)};
    }
    case Scales::kNibblePair: {
      const int both = byte_at(block + 2 * row + half);
      return {half_at(header, row) * static_cast<float>(both & 15),
              -half_at(header + 32, row) * static_cast<float>(both >> 4)};
    }
  }
  return {};
}

void unpack_integer_row(const PanelForm& form, const std::byte* next, const PanelStride& stride,
                        int row, int64_t cols, float* target) {
  const auto supers = super_blocks(form.scales);
  const bool halves = form.scales == Scales::kBytePair || form.scales == Scales::kNibblePair;
  for (int64_t b = 0; b < cols / kBlock; b += supers) {
    const std::byte* header = next;
    const std::byte* block = header + stride.blocks;
    next += stride.super;
    for (int i = 0; i < supers; ++i, target += kBlock, block += stride.block) {
      const std::byte* codes = block + stride.codes;
      int row_codes[kBlock];
      codes_of_row(form, codes, row, row_codes);
      for (int half = 0; half < 2; ++half) {
        const ScaleAndMinimum s = scale_at(form, header, block, i, row, halves ? half : 0);
        for (int k = 16 * half; k < 16 * half + 16; ++k) {
          target[k] = s.scale * static_cast<float>(row_codes[k]) + s.minimum;
        }
      }
    }
  }
}

}  // namespace

Result<PanelForm> panel_form(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return float_form(4);
    case DType::kF16:
    case DType::kBF16:
      return float_form(2);
    case DType::kF8E4M3:
      return float_form(1);
    case DType::kQ4_0:
      return integer_form(Codes::kNibble, Scales::kHalf, 8);
    case DType::kQ4_1:
      return integer_form(Codes::kNibble, Scales::kHalfMin, 0);
    case DType::kQ5_0:
      return integer_form(Codes::kFive, Scales::kHalf, 16);
    case DType::kQ5_1:
      return integer_form(Codes::kFive, Scales::kHalfMin, 0);
    case DType::kQ8_0:
      return integer_form(Codes::kByte, Scales::kHalf, 128);
    case DType::kQ2_K:
      return integer_form(Codes::kNibble, Scales::kNibblePair, 0);
    case DType::kQ3_K:
      return integer_form(Codes::kNibble, Scales::kBytePair, 4);
    case DType::kQ4_K:
      return integer_form(Codes::kNibble, Scales::kSixMin, 0);
    case DType::kQ5_K:
      return integer_form(Codes::kFive, Scales::kSixMin, 0);
    case DType::kQ6_K:
      return integer_form(Codes::kSix, Scales::kBytePair, 32);
    case DType::kIQ4_NL:
      return level_form(Scales::kHalf, Levels::kIq4);
    case DType::kIQ4_XS:
      return level_form(Scales::kByte, Levels::kIq4);
    case DType::kMXFP4:
      return level_form(Scales::kExponent, Levels::kMxfp4);
    default:
      break;
  }
  return fail(Code::kUnsupported,
              "weights of type " + std::string(dtype_name(dtype)) + " have no kernels on the CPU");
}

uint64_t panel_bytes(const PanelForm& form, int64_t cols) {
  if (!form.integer) {
    return static_cast<uint64_t>(padded_columns(cols) * kPanelRows * form.element_bytes);
  }
  return static_cast<uint64_t>(cols / kBlock / super_blocks(form.scales)) * super_bytes(form);
}

PanelLayout paired_layout(const PanelForm& form, int64_t cols) {
  const uint64_t bytes = panel_bytes(form, cols);
  if (!form.integer) return {.pair_stride = 2 * bytes, .odd = bytes};
  return {.pair_stride = 2 * bytes,
          .odd = partner_offset(form),
          .even = partner_stride(form, false),
          .uneven = partner_stride(form, true),
          .lone = lone_stride(form)};
}

std::unique_ptr<PanelMemory> PanelMemory::make(uint64_t bytes) {
  auto memory = std::unique_ptr<PanelMemory>(new PanelMemory());
  if (bytes > kMemoryMax) return nullptr;
  if (bytes < kHugePage) {
    const uint64_t size = (bytes + kLine - 1) / kLine * kLine;
    memory->data_ = static_cast<std::byte*>(std::aligned_alloc(kLine, size));
    if (memory->data_ == nullptr) return nullptr;
    std::memset(memory->data_, 0, size);
    return memory;
  }
  // One huge page more than needed, so that an aligned run lies in it; the rest is given back.
  const uint64_t size = (bytes + kHugePage - 1) / kHugePage * kHugePage;
  void* got =
      ::mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (got == MAP_FAILED) return nullptr;
  auto* begin = static_cast<std::byte*>(got);
  const uint64_t skip = (kHugePage - reinterpret_cast<uintptr_t>(got) % kHugePage) % kHugePage;
  if (skip > 0) ::munmap(begin, skip);
  if (skip < kHugePage) ::munmap(begin + skip + size, kHugePage - skip);
  memory->data_ = begin + skip;
  memory->mapped_ = size;
  static_cast<void>(::madvise(memory->data_, size, MADV_HUGEPAGE));
  return memory;
}

PanelMemory::~PanelMemory() {
  if (mapped_ > 0) {
    ::munmap(data_, mapped_);
  } else {
    std::free(data_);
  }
}

void unpack_row(const PanelMatrix& matrix, int64_t row, float* target) {
  HADAL_CHECK(row >= 0 && row < matrix.rows);
  const Result<PanelForm> form = panel_form(matrix.dtype);
  HADAL_CHECK(form.has_value());
  const std::byte* panel = matrix.panel(row / kPanelRows);
  const int lane = static_cast<int>(row % kPanelRows);
  if (form->integer) {
    const PanelStride& stride = matrix.stride(row / kPanelRows);
    return unpack_integer_row(*form, panel, stride, lane, matrix.cols, target);
  }

  const int64_t scale_columns = (matrix.cols + kFp8Block - 1) / kFp8Block;
  for (int64_t k = 0; k < matrix.cols; ++k) {
    const bool paired = matrix.dtype == DType::kBF16 || matrix.dtype == DType::kF8E4M3;
    const int64_t element =
        paired ? (k / 2 * kPanelRows + lane) * 2 + k % 2 : k * kPanelRows + lane;
    const std::byte* source = panel + element * form->element_bytes;
    dequantize(matrix.dtype, source, target + k, 1);
    if (matrix.scales != nullptr) {
      const float* scales = matrix.scales + row / kFp8Block * scale_columns;
      target[k] *= scales[k / kFp8Block] * kFp8AsHalf;
    }
  }
}

}  // namespace hadal::kernels::cpu
