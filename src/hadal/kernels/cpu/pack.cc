// The file's blocks into panels: see panel.h for the forms and tensor/blocks.h for the sources.
#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <type_traits>

#include "hadal/base/check.h"
#include "hadal/kernels/cpu/panel.h"
#include "hadal/tensor/blocks.h"

namespace hadal::kernels::cpu {
namespace {

uint32_t load_word(const void* p) {
  uint32_t word;
  std::memcpy(&word, p, sizeof(word));
  return word;
}

// Codes of 32 columns of a row as eight words of four bytes, 4 columns each; packed by put_codes.
struct CodeWords {
  uint32_t group[8];
};

void put_word(std::byte* line, int row, uint32_t word) { std::memcpy(line + 4 * row, &word, 4); }

void put_nibbles(std::byte* codes, int row, const CodeWords& words) {
  for (int i = 0; i < 4; ++i) {
    const uint32_t low = words.group[i] & 0x0F0F0F0F;
    const uint32_t high = words.group[i + 4] & 0x0F0F0F0F;
    put_word(codes + 64 * i, row, low | high << 4);
  }
}

// Bits [from, from + count) of each byte of `word`.
uint32_t some_bits(uint32_t word, int from, int count) {
  return word >> from & ((1u << count) - 1) * 0x01010101;
}

void put_fives(std::byte* codes, int row, const CodeWords& words) {
  const uint32_t* g = words.group;
  put_word(codes, row, g[0] | some_bits(g[5], 0, 3) << 5);
  put_word(codes + 64, row, g[1] | some_bits(g[5], 3, 2) << 5 | some_bits(g[7], 3, 1) << 7);
  put_word(codes + 128, row, g[2] | some_bits(g[6], 0, 3) << 5);
  put_word(codes + 192, row, g[3] | some_bits(g[6], 3, 2) << 5 | some_bits(g[7], 4, 1) << 7);
  put_word(codes + 256, row, g[4] | some_bits(g[7], 0, 3) << 5);
}

void put_sixes(std::byte* codes, int row, const CodeWords& words) {
  for (int i = 0; i < 6; ++i) {
    const uint32_t above = some_bits(words.group[6 + i / 3], i % 3 * 2, 2);
    put_word(codes + 64 * i, row, words.group[i] | above << 6);
  }
}

// 16 bytes, low half and high half, to words of nibbles.
CodeWords halves(const std::array<uint8_t, 16>& codes) {
  CodeWords words;
  for (int i = 0; i < 4; ++i) {
    const uint32_t both = load_word(codes.data() + 4 * i);
    words.group[i] = both & 0x0F0F0F0F;
    words.group[i + 4] = both >> 4 & 0x0F0F0F0F;
  }
  return words;
}

// Bit e of `high` becomes bit 4 of code e.
void add_fifth_bits(const uint8_t* high, CodeWords& words) {
  const uint32_t bits = load_word(high);
  for (int g = 0; g < 8; ++g) {
    const uint32_t four = bits >> (4 * g) & 15;
    words.group[g] |= (four * 0x00204081 & 0x01010101) << 4;  // bit j to byte j
  }
}

template <class T>
void put_entry(std::byte* array, int row, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::memcpy(array + sizeof(T) * row, &value, sizeof(T));
}

template <class T>
void put_pair(std::byte* array, int row, T first, T second) {
  put_entry(array, 2 * row, first);
  put_entry(array, 2 * row + 1, second);
}

// A super-block of the panel.
struct Target {
  std::byte* header;
  const PanelStride& stride;
  std::byte* block(int i) const {
    return header + stride.blocks + static_cast<uint64_t>(i) * stride.block;
  }
  std::byte* codes(int i) const { return block(i) + stride.codes; }
};

// Writes entry `row` of one source block, which is a super-block of the panel.
void pack_block(const BlockQ4_0& block, int row, const Target& target) {
  put_entry(target.block(0), row, block.scale);
  put_nibbles(target.codes(0), row, halves(block.codes));
}
void pack_block(const BlockIQ4_NL& block, int row, const Target& target) {
  put_entry(target.block(0), row, block.scale);
  put_nibbles(target.codes(0), row, halves(block.codes));
}
void pack_block(const BlockMXFP4& block, int row, const Target& target) {
  put_entry(target.block(0), row, block.exponent);
  put_nibbles(target.codes(0), row, halves(block.codes));
}
void pack_block(const BlockQ4_1& block, int row, const Target& target) {
  put_entry(target.block(0), row, block.scale);
  put_entry(target.block(0) + 32, row, block.minimum);
  put_nibbles(target.codes(0), row, halves(block.codes));
}
void pack_block(const BlockQ5_0& block, int row, const Target& target) {
  put_entry(target.block(0), row, block.scale);
  CodeWords words = halves(block.codes);
  add_fifth_bits(block.high.data(), words);
  put_fives(target.codes(0), row, words);
}
void pack_block(const BlockQ5_1& block, int row, const Target& target) {
  put_entry(target.block(0), row, block.scale);
  put_entry(target.block(0) + 32, row, block.minimum);
  CodeWords words = halves(block.codes);
  add_fifth_bits(block.high.data(), words);
  put_fives(target.codes(0), row, words);
}
void pack_block(const BlockQ8_0& block, int row, const Target& target) {
  put_entry(target.block(0), row, block.scale);
  for (int g = 0; g < 8; ++g) {
    put_word(target.codes(0) + 64 * g, row, load_word(block.codes.data() + 4 * g) ^ 0x80808080);
  }
}

// Scales and minima of Q4_K and Q5_K.
template <class Block>
void pack_six_min(const Block& block, int row, std::byte* out) {
  put_entry(out, row, block.scale);
  put_entry(out + 32, row, block.minimum);
  uint8_t low[4] = {};
  for (int s = 0; s < 8; ++s) {
    const ScaleMinimum six = k_scale_minimum(block.scales, s);
    const auto both = static_cast<uint8_t>(six.scale | six.minimum >> 4 << 6);
    put_entry(out + 64 + 32 * (s / 2), 2 * row + s % 2, both);
    low[s / 4 * 2 + s % 2] |= static_cast<uint8_t>((six.minimum & 15) << (s / 2 % 2 * 4));
  }
  for (int i = 0; i < 4; ++i) put_entry(out + 192 + 32 * (i / 2), 2 * row + i % 2, low[i]);
}

// Nibbles of sub-block s of Q4_K and Q5_K.
CodeWords k_nibbles(const std::array<uint8_t, 128>& codes, int s) {
  CodeWords words;
  for (int g = 0; g < 8; ++g) {
    words.group[g] = load_word(codes.data() + 32 * (s / 2) + 4 * g) >> (s % 2 * 4) & 0x0F0F0F0F;
  }
  return words;
}

void pack_block(const BlockQ4_K& block, int row, const Target& target) {
  pack_six_min(block, row, target.header);
  for (int s = 0; s < 8; ++s) put_nibbles(target.codes(s), row, k_nibbles(block.codes, s));
}
void pack_block(const BlockQ5_K& block, int row, const Target& target) {
  pack_six_min(block, row, target.header);
  for (int s = 0; s < 8; ++s) {
    CodeWords words = k_nibbles(block.codes, s);
    for (int g = 0; g < 8; ++g) {
      words.group[g] |= (load_word(block.high.data() + 4 * g) >> s & 0x01010101) << 4;
    }
    put_fives(target.codes(s), row, words);
  }
}

// Two bits of sub-block s of Q2_K, Q3_K and (as upper bits) Q6_K.
uint32_t two_bits(const std::array<uint8_t, 64>& codes, int s, int group) {
  return load_word(codes.data() + 32 * (s / 4) + 4 * group) >> (s % 4 * 2) & 0x03030303;
}

void pack_block(const BlockQ2_K& block, int row, const Target& target) {
  put_entry(target.header, row, block.scale);
  put_entry(target.header + 32, row, block.minimum);
  for (int s = 0; s < 8; ++s) {
    std::byte* header = target.block(s);
    put_pair(header, row, block.scales[2 * s], block.scales[2 * s + 1]);
    CodeWords words;
    for (int g = 0; g < 8; ++g) words.group[g] = two_bits(block.codes, s, g);
    put_nibbles(target.codes(s), row, words);
  }
}
void pack_block(const BlockQ3_K& block, int row, const Target& target) {
  put_entry(target.header, row, block.scale);
  for (int s = 0; s < 8; ++s) {
    std::byte* header = target.block(s);
    put_pair(header, row, static_cast<int8_t>(q3_k_scale(block.scales, 2 * s)),
             static_cast<int8_t>(q3_k_scale(block.scales, 2 * s + 1)));
    CodeWords words;
    for (int g = 0; g < 8; ++g) {
      const uint32_t third = load_word(block.high.data() + 4 * g) >> s & 0x01010101;
      words.group[g] = two_bits(block.codes, s, g) | third << 2;
    }
    put_nibbles(target.codes(s), row, words);
  }
}
void pack_block(const BlockQ6_K& block, int row, const Target& target) {
  put_entry(target.header, row, block.scale);
  for (int s = 0; s < 8; ++s) {
    std::byte* header = target.block(s);
    put_pair(header, row, block.scales[2 * s], block.scales[2 * s + 1]);
    const int half = s / 4;
    const int j = s % 4;
    CodeWords words;
    for (int g = 0; g < 8; ++g) {
      const uint32_t low = load_word(block.low.data() + 64 * half + 32 * (j % 2) + 4 * g);
      words.group[g] = (low >> (j / 2 * 4) & 0x0F0F0F0F) | two_bits(block.high, s, g) << 4;
    }
    put_sixes(target.codes(s), row, words);
  }
}
void pack_block(const BlockIQ4_XS& block, int row, const Target& target) {
  put_entry(target.header, row, block.scale);
  for (int s = 0; s < 8; ++s) {
    std::byte* header = target.block(s);
    const int low = block.scales_low[s / 2] >> (s % 2 * 4) & 15;
    const int high = block.scales_high[s / 4] >> (s % 4 * 2) & 3;
    put_entry(header, row, static_cast<int8_t>((low | high << 4) - 32));
    std::array<uint8_t, 16> codes;
    std::copy_n(block.codes.begin() + 16 * s, 16, codes.begin());
    put_nibbles(target.codes(s), row, halves(codes));
  }
}

template <class Block>
void pack_blocks(const std::byte* const* rows, int64_t cols, const PanelStride& stride,
                 std::byte* panel) {
  for (int64_t b = 0; b < cols / Block::kElements; ++b, panel += stride.super) {
    const Target target{panel, stride};
    for (int r = 0; r < kPanelRows; ++r) {
      Block block;
      std::memcpy(&block, rows[r] + b * sizeof(Block), sizeof(Block));
      pack_block(block, r, target);
    }
  }
}

// The columns that pad a float panel.
template <class T>
void clear_padding(int64_t cols, std::byte* panel) {
  const int64_t begin = cols / 4 * 4 * kPanelRows;
  const int64_t end = padded_columns(cols) * kPanelRows;
  std::memset(panel + begin * sizeof(T), 0, static_cast<size_t>(end - begin) * sizeof(T));
}

// [k][16] elements of T.
template <class T>
void pack_columns(const std::byte* const* rows, int64_t cols, std::byte* panel) {
  clear_padding<T>(cols, panel);
  for (int r = 0; r < kPanelRows; ++r) {
    for (int64_t k = 0; k < cols; ++k) {
      std::memcpy(panel + (k * kPanelRows + r) * sizeof(T), rows[r] + k * sizeof(T), sizeof(T));
    }
  }
}

// [k / 2][16][2] elements of T.
template <class T>
void pack_pairs(const std::byte* const* rows, int64_t cols, std::byte* panel) {
  clear_padding<T>(cols, panel);
  for (int r = 0; r < kPanelRows; ++r) {
    for (int64_t k = 0; k < cols; ++k) {
      const int64_t to = (k / 2 * kPanelRows + r) * 2 + k % 2;
      std::memcpy(panel + to * sizeof(T), rows[r] + k * sizeof(T), sizeof(T));
    }
  }
}

}  // namespace

void pack_panel(DType dtype, const std::byte* const* rows, int64_t cols, const PanelStride& stride,
                std::byte* panel) {
  switch (dtype) {
    case DType::kF32:
      return pack_columns<uint32_t>(rows, cols, panel);
    case DType::kF16:
      return pack_columns<uint16_t>(rows, cols, panel);
    case DType::kBF16:
      return pack_pairs<uint16_t>(rows, cols, panel);
    case DType::kF8E4M3:
      return pack_pairs<uint8_t>(rows, cols, panel);
    case DType::kQ4_0:
      return pack_blocks<BlockQ4_0>(rows, cols, stride, panel);
    case DType::kQ4_1:
      return pack_blocks<BlockQ4_1>(rows, cols, stride, panel);
    case DType::kQ5_0:
      return pack_blocks<BlockQ5_0>(rows, cols, stride, panel);
    case DType::kQ5_1:
      return pack_blocks<BlockQ5_1>(rows, cols, stride, panel);
    case DType::kQ8_0:
      return pack_blocks<BlockQ8_0>(rows, cols, stride, panel);
    case DType::kQ2_K:
      return pack_blocks<BlockQ2_K>(rows, cols, stride, panel);
    case DType::kQ3_K:
      return pack_blocks<BlockQ3_K>(rows, cols, stride, panel);
    case DType::kQ4_K:
      return pack_blocks<BlockQ4_K>(rows, cols, stride, panel);
    case DType::kQ5_K:
      return pack_blocks<BlockQ5_K>(rows, cols, stride, panel);
    case DType::kQ6_K:
      return pack_blocks<BlockQ6_K>(rows, cols, stride, panel);
    case DType::kIQ4_NL:
      return pack_blocks<BlockIQ4_NL>(rows, cols, stride, panel);
    case DType::kIQ4_XS:
      return pack_blocks<BlockIQ4_XS>(rows, cols, stride, panel);
    case DType::kMXFP4:
      return pack_blocks<BlockMXFP4>(rows, cols, stride, panel);
    default:
      HADAL_CHECK(false, std::string(dtype_name(dtype)));
  }
}

}  // namespace hadal::kernels::cpu
