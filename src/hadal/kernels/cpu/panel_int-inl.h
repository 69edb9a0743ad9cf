// Panels of integer codes times activations with one scale for 32 columns. Forms: panel.h. Types
// with super-blocks of 256: panel_super-inl.h. Included once per instruction set.
//
// Order: each output's accumulator takes its blocks of 32 columns from first to last, each by the
// same few fused operations, so that neither the number of columns in the tile nor the set changes
// a bit.

// Lines of a block, and the groups of columns in their lower bits.
template <int kBits, int kLines>
HADAL_INLINE void load_lines(const uint8_t* p, U8x64* line, U8x64* w) {
#pragma GCC unroll 6
  for (int i = 0; i < kLines; ++i) {
    line[i] = u8_load(p + 64 * i);
    w[i] = low_bits<kBits>(line[i]);
  }
}

// What groups have no line of their own is put together from the others' upper bits.
HADAL_INLINE void load_fives(const uint8_t* p, U8x64* w) {
  U8x64 line[5];
  load_lines<5, 5>(p, line, w);
  w[5] = low_bits<5>(below<3>(bytes_right<5>(line[0]), bytes_right<2>(line[1])));
  w[6] = low_bits<5>(below<3>(bytes_right<5>(line[2]), bytes_right<2>(line[3])));
  const U8x64 top = below<7>(bytes_right<1>(line[1]), line[3]);
  w[7] = low_bits<5>(below<3>(bytes_right<5>(line[4]), bytes_right<3>(top)));
}
HADAL_INLINE void load_sixes(const uint8_t* p, U8x64* w) {
  U8x64 line[6];
  load_lines<6, 6>(p, line, w);
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const U8x64* from = line + 3 * i;
    const U8x64 four = below<2>(bytes_right<6>(from[0]), bytes_right<4>(from[1]));
    w[6 + i] = low_bits<6>(below<4>(four, bytes_right<2>(from[2])));
  }
}

// The eight operands of a block.
template <Codes kCodes, Levels kLevels>
HADAL_INLINE void load_codes(const uint8_t* p, U8x64* w) {
  if constexpr (kCodes == Codes::kByte) {
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) w[g] = u8_load(p + 64 * g);
    return;
  }
  if constexpr (kCodes == Codes::kNibble) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const U8x64 line = u8_load(p + 64 * i);
      w[i] = low_bits<4>(line);
      w[i + 4] = low_bits<4>(bytes_right<4>(line));
    }
  }
  if constexpr (kCodes == Codes::kFive) load_fives(p, w);
  if constexpr (kCodes == Codes::kSix) load_sixes(p, w);
  if constexpr (kLevels != Levels::kLinear) {
    const uint8_t* table = kLevels == Levels::kIq4 ? kBiasedIq4.bytes : kBiasedMxfp4.bytes;
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) w[g] = look_up(table, w[g]);
  }
}

// Scales: load_super reads the header of a super-block, load_block that of its block `i`; then
// `scale` (and `minimum`) hold what multiplies this block's codes (and the sum of activations).
template <Scales kScales>
struct BlockScales;

template <>
struct BlockScales<Scales::kHalf> {
  HADAL_INLINE void load_super(const uint8_t*) {}
  HADAL_INLINE void load_block(const uint8_t*, const uint8_t* block, int) {
    scale = f32_load_f16(block);
  }
  F32x16 scale;
};

template <>
struct BlockScales<Scales::kHalfMin> {
  HADAL_INLINE void load_super(const uint8_t*) {}
  HADAL_INLINE void load_block(const uint8_t*, const uint8_t* block, int) {
    scale = f32_load_f16(block);
    minimum = f32_load_f16(block + 32);
  }
  F32x16 scale, minimum;
};

template <>
struct BlockScales<Scales::kExponent> {
  HADAL_INLINE void load_super(const uint8_t*) {}
  // 2^(e - 128) by way of 2^(e - 127): exact but for e = 0, where 2^-128 becomes 0.
  HADAL_INLINE void load_block(const uint8_t*, const uint8_t* block, int) {
    scale = multiply(from_bits(shift_left<23>(i32_load_u8(block))), f32_set(0.5f));
  }
  F32x16 scale;
};

template <>
struct BlockScales<Scales::kByte> {
  HADAL_INLINE void load_super(const uint8_t* header) { d = f32_load_f16(header); }
  HADAL_INLINE void load_block(const uint8_t*, const uint8_t* block, int) {
    scale = multiply(d, to_f32(i32_load_i8(block)));
  }
  F32x16 d, scale;
};

template <Codes kCodesOf, Scales kScalesOf, Levels kLevelsOf, int kZeroBitsOf>
struct IntForm {
  static constexpr Codes kCodes = kCodesOf;
  static constexpr Scales kScales = kScalesOf;
  static constexpr Levels kLevels = kLevelsOf;
  static constexpr int kZeroBits = kZeroBitsOf;
  static constexpr int kMaxCode = kCodes == Codes::kByte || kLevels != Levels::kLinear ? 255
                                  : kCodes == Codes::kNibble                           ? 15
                                  : kCodes == Codes::kFive                             ? 31
                                                                                       : 63;
};

// acc + this block's part of one column.
template <class Form>
HADAL_INLINE F32x16 add_block(const U8x64* w, const BlockScales<Form::kScales>& s,
                              const ActBlock& x, F32x16 acc) {
  constexpr int kMax = Form::kMaxCode;
  constexpr int kZero = Form::kZeroBits;
  const F32x16 x_scale = f32_set(x.scale);
  const I32x16 sum = dot<kMax, kZero, 0, 8>(w, x.codes, x.negative_sum);
  acc = fma(to_f32(sum), multiply(s.scale, x_scale), acc);
  if constexpr (Form::kScales == Scales::kHalfMin) {
    acc = fma(s.minimum, f32_set(x.scaled_sum), acc);
  }
  return acc;
}

// Bytes ahead in the stream of both partners. The core's own prefetcher stops at 4 KB pages.
constexpr int64_t kPrefetchAhead = 9216;

// The lines of [p, p + kBytes).
template <int64_t kBytes>
HADAL_INLINE void prefetch(const uint8_t* p) {
#pragma GCC unroll 18
  for (int64_t i = 0; i < kBytes; i += 64) __builtin_prefetch(p + i);
}

HADAL_INLINE void clear(float* acc, int32_t columns) {
  for (int32_t c = 0; c < columns; ++c) {
    f32_store(acc + 16 * c, f32_zero());
    asm volatile("" ::: "memory");  // or g++ calls memset, whose `rep stos` is slow at 4 KB
  }
}

// Sizes of a form.
template <class Form>
struct Sizes {
  static constexpr int64_t kSuper = super_blocks(Form::kScales);
  static constexpr int64_t kSuperHeader = super_header_bytes(Form::kScales);
  static constexpr int64_t kHeader = block_header_bytes(Form::kScales);
  static constexpr int64_t kBytes = kHeader + code_bytes(Form::kCodes);
};

// A super-block of one panel.
struct Place {
  HADAL_INLINE const uint8_t* block(int i) const {
    return header + stride.blocks + static_cast<uint64_t>(i) * stride.block;
  }
  HADAL_INLINE const uint8_t* codes(int i) const { return block(i) + stride.codes; }
  const uint8_t* header;
  PanelStride stride;
};

// Walks through the super-blocks of two partners, and ahead of that through what will be read: from
// front to back without a gap, as memory likes it best.
template <class Form>
struct PairStream {
  using S = Sizes<Form>;
  static constexpr PanelForm kForm{.codes = Form::kCodes, .scales = Form::kScales};
  static constexpr PanelStride kFirst = partner_stride(kForm, false);
  static constexpr PanelStride kSecond = partner_stride(kForm, true);

  HADAL_INLINE PairStream(const PanelPair& pair, int64_t supers)
      : at(reinterpret_cast<const uint8_t*>(pair.first)), ahead(at + kPrefetchAhead) {
    end = at + supers * static_cast<int64_t>(kFirst.super);
    to_next = reinterpret_cast<const uint8_t*>(pair.next) - end;
  }
  HADAL_INLINE void next() {
    at += kFirst.super;
    ahead += kFirst.super;
  }
  HADAL_INLINE const uint8_t* far() const { return ahead >= end ? ahead + to_next : ahead; }
  // The headers ahead, then block i of both.
  HADAL_INLINE void call_headers() const { prefetch<2 * S::kSuperHeader>(far()); }
  HADAL_INLINE void call_blocks(int i) const {
    prefetch<2 * S::kBytes>(far() + 2 * S::kSuperHeader + 2 * i * S::kBytes);
  }
  HADAL_INLINE Place place(int p) const {
    return p == 0 ? Place{at, kFirst} : Place{at + partner_offset(kForm), kSecond};
  }

  const uint8_t* at;
  const uint8_t* ahead;
  const uint8_t* end;
  int64_t to_next;
};

// One panel: the last of an odd number.
template <class Form>
void multiply_int_panel(const std::byte* panel, const PanelStride& stride, int64_t cols,
                        const ActBlock* tile, int32_t columns, float* acc) {
  using S = Sizes<Form>;
  Place place{reinterpret_cast<const uint8_t*>(panel), stride};
  clear(acc, columns);
  BlockScales<Form::kScales> scales;
  for (int64_t b = 0; b < cols / kBlock; b += S::kSuper, place.header += stride.super) {
    scales.load_super(place.header);
    for (int i = 0; i < S::kSuper; ++i, tile += columns) {
      scales.load_block(place.header, place.block(i), i);
      U8x64 w[8];
      load_codes<Form::kCodes, Form::kLevels>(place.codes(i), w);
      for (int32_t c = 0; c < columns; ++c) {
        f32_store(acc + 16 * c, add_block<Form>(w, scales, tile[c], f32_load(acc + 16 * c)));
      }
    }
  }
}

// sum_a and sum_b, accumulators of the two panels, += this block's part of one column. The
// broadcasts of a column's codes, which would bind one panel to the rate of loads, serve both.
template <class Form>
HADAL_INLINE void add_block_pair(const U8x64* wa, const U8x64* wb,
                                 const BlockScales<Form::kScales>& a,
                                 const BlockScales<Form::kScales>& b, const ActBlock& x,
                                 F32x16& sum_a, F32x16& sum_b) {
  constexpr int kMax = Form::kMaxCode;
  constexpr int kZero = Form::kZeroBits;
  const F32x16 x_scale = f32_set(x.scale);
  I32x16 dot_a, dot_b;
  dot_pair<kMax, kZero, 0, 8>(wa, wb, x.codes, x.negative_sum, &dot_a, &dot_b);
  sum_a = fma(to_f32(dot_a), multiply(a.scale, x_scale), sum_a);
  sum_b = fma(to_f32(dot_b), multiply(b.scale, x_scale), sum_b);
  if constexpr (Form::kScales == Scales::kHalfMin) {
    const F32x16 x_sum = f32_set(x.scaled_sum);
    sum_a = fma(a.minimum, x_sum, sum_a);
    sum_b = fma(b.minimum, x_sum, sum_b);
  }
}

// One block of both panels. kColumns 0: any number of columns, accumulators in memory; 1: one, in
// registers. Without registers for the codes of both panels, one after the other.
template <class Form, int kColumns>
HADAL_INLINE void add_blocks(const uint8_t* pa, const uint8_t* pb,
                             const BlockScales<Form::kScales>& a,
                             const BlockScales<Form::kScales>& b, const ActBlock* x,
                             int32_t columns, F32x16* sums, float* acc_a, float* acc_b) {
  U8x64 wa[8], wb[8];
  load_codes<Form::kCodes, Form::kLevels>(pa, wa);
  if constexpr (!kPairs) {
    if constexpr (kColumns == 1) {
      sums[0] = add_block<Form>(wa, a, *x, sums[0]);
      load_codes<Form::kCodes, Form::kLevels>(pb, wb);
      sums[1] = add_block<Form>(wb, b, *x, sums[1]);
    } else {
      for (int32_t c = 0; c < columns; ++c) {
        f32_store(acc_a + 16 * c, add_block<Form>(wa, a, x[c], f32_load(acc_a + 16 * c)));
      }
      load_codes<Form::kCodes, Form::kLevels>(pb, wb);
      for (int32_t c = 0; c < columns; ++c) {
        f32_store(acc_b + 16 * c, add_block<Form>(wb, b, x[c], f32_load(acc_b + 16 * c)));
      }
    }
    return;
  }
  load_codes<Form::kCodes, Form::kLevels>(pb, wb);
  if constexpr (kColumns == 1) {
    add_block_pair<Form>(wa, wb, a, b, *x, sums[0], sums[1]);
  } else {
    for (int32_t c = 0; c < columns; ++c) {
      F32x16 sum_a = f32_load(acc_a + 16 * c);
      F32x16 sum_b = f32_load(acc_b + 16 * c);
      add_block_pair<Form>(wa, wb, a, b, x[c], sum_a, sum_b);
      f32_store(acc_a + 16 * c, sum_a);
      f32_store(acc_b + 16 * c, sum_b);
    }
  }
}

template <class Form, int kColumns>
HADAL_INLINE void int_pair(const PanelPair& pair, int64_t cols, const ActBlock* tile,
                           int32_t columns, float* acc_a, float* acc_b) {
  using S = Sizes<Form>;
  F32x16 sums[2] = {f32_zero(), f32_zero()};
  if constexpr (kColumns == 0) {
    clear(acc_a, columns);
    clear(acc_b, columns);
  }
  const int64_t supers = cols / kBlock / S::kSuper;
  PairStream<Form> stream(pair, supers);
  BlockScales<Form::kScales> a, b;
  for (int64_t k = 0; k < supers; ++k, stream.next()) {
    const Place first = stream.place(0);
    const Place second = stream.place(1);
    stream.call_headers();
    a.load_super(first.header);
    b.load_super(second.header);
    for (int i = 0; i < S::kSuper; ++i, tile += columns) {
      a.load_block(first.header, first.block(i), i);
      b.load_block(second.header, second.block(i), i);
      stream.call_blocks(i);
      add_blocks<Form, kColumns>(first.codes(i), second.codes(i), a, b, tile, columns, sums, acc_a,
                                 acc_b);
    }
  }
  if constexpr (kColumns == 1) {
    f32_store(acc_a, sums[0]);
    f32_store(acc_b, sums[1]);
  }
}

template <class Form>
void multiply_int_pair(const PanelPair& pair, int64_t cols, const ActBlock* tile, int32_t columns,
                       float* acc_a, float* acc_b) {
  if (columns == 1) return int_pair<Form, 1>(pair, cols, tile, 1, acc_a, acc_b);
  int_pair<Form, 0>(pair, cols, tile, columns, acc_a, acc_b);
}

template <class Form>
HADAL_INLINE void set_int_form(KernelTable& table, DType dtype) {
  table.integer[static_cast<int>(dtype)] = multiply_int_panel<Form>;
  table.integer_pair[static_cast<int>(dtype)] = multiply_int_pair<Form>;
}

HADAL_INLINE void register_int_forms(KernelTable& table) {
  using enum DType;
  constexpr Levels kLinear = Levels::kLinear;
  set_int_form<IntForm<Codes::kNibble, Scales::kHalf, kLinear, 3>>(table, kQ4_0);
  set_int_form<IntForm<Codes::kNibble, Scales::kHalfMin, kLinear, -1>>(table, kQ4_1);
  set_int_form<IntForm<Codes::kFive, Scales::kHalf, kLinear, 4>>(table, kQ5_0);
  set_int_form<IntForm<Codes::kFive, Scales::kHalfMin, kLinear, -1>>(table, kQ5_1);
  set_int_form<IntForm<Codes::kByte, Scales::kHalf, kLinear, 7>>(table, kQ8_0);
  set_int_form<IntForm<Codes::kNibble, Scales::kHalf, Levels::kIq4, 7>>(table, kIQ4_NL);
  set_int_form<IntForm<Codes::kNibble, Scales::kByte, Levels::kIq4, 7>>(table, kIQ4_XS);
  set_int_form<IntForm<Codes::kNibble, Scales::kExponent, Levels::kMxfp4, 7>>(table, kMXFP4);
}
