// Panels of types with super-blocks of 256 columns (Q2_K to Q6_K) times activations with one scale
// for 256 columns. Forms: panel.h. Included once per instruction set.
//
// Within a super-block everything is whole numbers and exact: dot products, their products with the
// sub-blocks' scales, and the minima times sums of activations. Then each output's accumulator
// takes the super-block by the same few float operations, from first to last, so that neither the
// number of columns in the tile nor the set changes a bit.
//
// Multiplies of any kind share the two pipes of dot products on some cores (Zen 5), shifts, blends,
// additions and conversions do not. So scales multiply two dot products in one instruction, as
// pairs of 16-bit numbers, which they fit: sums of 16 magnitudes of activations are at most
// kSuperMost, codes without their zero reach 32 at most (Q6_K).
static_assert(32 * kSuperMost <= 32767 && 15 * 2 * kSuperMost <= 32767);

// Scales and minima of a super-block, as pairs of 16-bit numbers. load_super reads its header, then
// load_block that of each block in turn.
template <Scales kScales>
struct SuperScales;

// scales[i]: of blocks 2 i and 2 i + 1; so minima.
template <>
struct SuperScales<Scales::kSixMin> {
  static constexpr int kMinima = 4;
  HADAL_INLINE void load_super(const uint8_t* header) {
    d = f32_load_f16(header);
    m = subtract(f32_zero(), f32_load_f16(header + 32));
    const I32x16 four = i32_set(0x000F000F);
    const I32x16 six = i32_set(0x003F003F);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const I32x16 both = words_load_u8(header + 64 + 32 * i);
      I32x16 low = words_load_u8(header + 192 + 32 * (i / 2));
      if (i % 2 == 1) low = shift_right<4>(low);
      scales[i] = bit_and(both, six);
      minima[i] = bit_and(choose_bits(four, low, shift_right<2>(both)), six);
    }
  }
  HADAL_INLINE void load_block(const uint8_t*, int) {}
  F32x16 d, m;
  I32x16 scales[4], minima[4];
};

// block_scale: of a block's two halves.
template <>
struct SuperScales<Scales::kBytePair> {
  static constexpr int kMinima = 0;
  HADAL_INLINE void load_super(const uint8_t* header) { d = f32_load_f16(header); }
  HADAL_INLINE void load_block(const uint8_t* block, int) { block_scale = words_load_i8(block); }
  F32x16 d;
  I32x16 block_scale;
};

// minima[i]: of the halves of block i.
template <>
struct SuperScales<Scales::kNibblePair> {
  static constexpr int kMinima = 8;
  HADAL_INLINE void load_super(const uint8_t* header) {
    d = f32_load_f16(header);
    m = subtract(f32_zero(), f32_load_f16(header + 32));
  }
  HADAL_INLINE void load_block(const uint8_t* block, int i) {
    const I32x16 nibble = i32_set(0x000F000F);
    const I32x16 both = words_load_u8(block);
    block_scale = bit_and(both, nibble);
    minima[i] = bit_and(shift_right<4>(both), nibble);
  }
  F32x16 d, m;
  I32x16 block_scale;
  I32x16 minima[8];
};

// A vector for each panel and column: in registers where kColumns is 1, else in memory.
template <int kPanels, int kColumns>
struct SuperSums {
  HADAL_INLINE I32x16 get(int p, int32_t c) const {
    return i32_load(memory + 16 * (c * kPanels + p));
  }
  HADAL_INLINE void set(int p, int32_t c, I32x16 x) {
    i32_store(memory + 16 * (c * kPanels + p), x);
  }
  alignas(64) int32_t memory[kPanels * kTileColumns * 16];
};
template <int kPanels>
struct SuperSums<kPanels, 1> {
  HADAL_INLINE I32x16 get(int p, int32_t) const { return lanes[p]; }
  HADAL_INLINE void set(int p, int32_t, I32x16 x) { lanes[p] = x; }
  I32x16 lanes[kPanels];
};

template <class Form, int kPanels, int kFirst, int kCount>
HADAL_INLINE void dot_panels(const U8x64 (*w)[8], const int8_t* codes, int32_t negative_sum,
                             I32x16* out) {
  if constexpr (kPanels == 1) {
    out[0] = dot<Form::kMaxCode, Form::kZeroBits, kFirst, kCount>(w[0], codes, negative_sum);
  } else {
    dot_pair<Form::kMaxCode, Form::kZeroBits, kFirst, kCount>(w[0], w[1], codes, negative_sum, out,
                                                              out + 1);
  }
}

// A super-block of kPanels panels times the columns of a tile.
template <class Form, int kPanels, int kColumns>
struct SuperStep {
  using S = Sizes<Form>;
  static constexpr bool kSixMin = Form::kScales == Scales::kSixMin;
  // Dot products of 32 columns fit 16 bits: those of two blocks make a pair, else of two halves.
  static constexpr bool kWhole = kSixMin && Form::kCodes == Codes::kNibble;

  SuperScales<Form::kScales> scales[kPanels];
  SuperSums<kPanels, kColumns> sums;
  SuperSums<kPanels, kColumns> dots;  // of an even block, until the odd one's are there
  int32_t columns;

  HADAL_INLINE I32x16 scale_of(int p, int i) const {
    if constexpr (kWhole) {
      return scales[p].scales[i / 2];
    } else if constexpr (kSixMin) {
      const I32x16 both = scales[p].scales[i / 2];
      const I32x16 one = i % 2 == 0 ? both : shift_right<16>(both);
      return pair_words(one, one);
    } else {
      return scales[p].block_scale;
    }
  }

  template <bool kStart>
  HADAL_INLINE void add(const I32x16* words, const I32x16* scale, int32_t c) {
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) {
      sums.set(p, c, dot_words(kStart ? i32_set(0) : sums.get(p, c), words[p], scale[p]));
    }
  }

  // Block i, whose codes are w; kStart: the first that adds to `sums`.
  template <bool kStart>
  HADAL_INLINE void add_halves(const U8x64 (*w)[8], const I32x16* scale, int i,
                               const ActQuarter* x) {
    for (int32_t c = 0; c < columns; ++c) {
      const int8_t* codes = x[c].codes + kBlock * (i % 2);
      const int32_t* negative = x[c].negative_sums + 2 * (i % 2);
      I32x16 low[kPanels], high[kPanels], words[kPanels];
      dot_panels<Form, kPanels, 0, 4>(w, codes, negative[0], low);
      dot_panels<Form, kPanels, 4, 4>(w, codes, negative[1], high);
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) words[p] = pair_words(low[p], high[p]);
      add<kStart>(words, scale, c);
    }
  }
  HADAL_INLINE void keep_dots(const U8x64 (*w)[8], const ActQuarter* x) {
    for (int32_t c = 0; c < columns; ++c) {
      I32x16 even[kPanels];
      dot_panels<Form, kPanels, 0, 8>(w, x[c].codes, 0, even);
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) dots.set(p, c, even[p]);
    }
  }
  template <bool kStart>
  HADAL_INLINE void add_wholes(const U8x64 (*w)[8], const I32x16* scale, const ActQuarter* x) {
    for (int32_t c = 0; c < columns; ++c) {
      I32x16 odd[kPanels], words[kPanels];
      dot_panels<Form, kPanels, 0, 8>(w, x[c].codes + kBlock, 0, odd);
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) words[p] = pair_words(dots.get(p, c), odd[p]);
      add<kStart>(words, scale, c);
    }
  }
  HADAL_INLINE void add_block(const U8x64 (*w)[8], int i, const ActQuarter* x) {
    I32x16 scale[kPanels];
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) scale[p] = scale_of(p, i);
    if constexpr (kWhole) {
      if (i % 2 == 0) return keep_dots(w, x);
      return i == 1 ? add_wholes<true>(w, scale, x) : add_wholes<false>(w, scale, x);
    }
    return i == 0 ? add_halves<true>(w, scale, i, x) : add_halves<false>(w, scale, i, x);
  }

  // Minima times sums of activations, of column c.
  HADAL_INLINE void sum_minima(const ActQuarter* tile, int32_t c, I32x16* least) {
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) least[p] = i32_set(0);
#pragma GCC unroll 8
    for (int i = 0; i < SuperScales<Form::kScales>::kMinima; ++i) {
      const ActQuarter& x = tile[(kSixMin ? i : i / 2) * columns + c];
      const int16_t* two = kSixMin ? x.block_sums : x.sums + 2 * (i % 2);
      int32_t word;
      __builtin_memcpy(&word, two, sizeof(word));
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) {
        least[p] = dot_words(least[p], scales[p].minima[i], i32_set(word));
      }
    }
  }
  // acc[p][c] += the super-block.
  HADAL_INLINE void finish(const ActQuarter* tile, float* const* acc) {
    for (int32_t c = 0; c < columns; ++c) {
      const F32x16 x_scale = f32_set(tile[c].scale);
      F32x16 parts[kPanels];
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) {
        parts[p] = multiply(to_f32(sums.get(p, c)), scales[p].d);
      }
      if constexpr (SuperScales<Form::kScales>::kMinima > 0) {
        I32x16 least[kPanels];
        sum_minima(tile, c, least);
#pragma GCC unroll 2
        for (int p = 0; p < kPanels; ++p) {
          parts[p] = fma(to_f32(least[p]), scales[p].m, parts[p]);
        }
      }
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) {
        float* target = acc[p] + 16 * c;
        f32_store(target, fma(parts[p], x_scale, f32_load(target)));
      }
    }
  }

  // Super-blocks at places[p]; `ahead` calls what will be read.
  template <class Ahead>
  HADAL_INLINE void run(const Place* places, const Ahead& ahead, const ActQuarter* tile,
                        float* const* acc) {
    ahead.call_headers();
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) scales[p].load_super(places[p].header);
#pragma GCC unroll 1
    for (int i = 0; i < S::kSuper; ++i) {
      U8x64 w[kPanels][8];
      ahead.call_blocks(i);
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) {
        scales[p].load_block(places[p].block(i), i);
        load_codes<Form::kCodes, Form::kLevels>(places[p].codes(i), w[p]);
      }
      add_block(w, i, tile + i / 2 * columns);
    }
    finish(tile, acc);
  }
};

// What is ahead of a panel by itself is not called, or was.
struct NothingAhead {
  HADAL_INLINE void call_headers() const {}
  HADAL_INLINE void call_blocks(int) const {}
};

// One panel: the last of an odd number.
template <class Form>
void multiply_super_panel(const std::byte* panel, const PanelStride& stride, int64_t cols,
                          const ActQuarter* tile, int32_t columns, float* acc) {
  Place place{reinterpret_cast<const uint8_t*>(panel), stride};
  clear(acc, columns);
  SuperStep<Form, 1, 0> super;
  super.columns = columns;
  for (int64_t k = 0; k < cols / kSuperColumns; ++k, tile += 4 * columns) {
    super.run(&place, NothingAhead(), tile, &acc);
    place.header += stride.super;
  }
}

template <class Form, int kColumns>
HADAL_INLINE void super_pair(const PanelPair& pair, int64_t cols, const ActQuarter* tile,
                             int32_t columns, float* const* acc) {
  clear(acc[0], columns);
  clear(acc[1], columns);
  const int64_t supers = cols / kSuperColumns;
  PairStream<Form> stream(pair, supers);
  SuperStep<Form, kPairs ? 2 : 1, kColumns> super;
  super.columns = kColumns == 0 ? columns : kColumns;
  for (int64_t k = 0; k < supers; ++k, stream.next(), tile += 4 * super.columns) {
    const Place places[2] = {stream.place(0), stream.place(1)};
    super.run(places, stream, tile, acc);
    if constexpr (!kPairs) super.run(places + 1, NothingAhead(), tile, acc + 1);
  }
}

template <class Form>
void multiply_super_pair(const PanelPair& pair, int64_t cols, const ActQuarter* tile,
                         int32_t columns, float* acc_a, float* acc_b) {
  float* const acc[2] = {acc_a, acc_b};
  if (columns == 1) return super_pair<Form, 1>(pair, cols, tile, 1, acc);
  super_pair<Form, 0>(pair, cols, tile, columns, acc);
}

template <class Form>
HADAL_INLINE void set_super_form(KernelTable& table, DType dtype) {
  table.super[static_cast<int>(dtype)] = multiply_super_panel<Form>;
  table.super_pair[static_cast<int>(dtype)] = multiply_super_pair<Form>;
}

HADAL_INLINE void register_super_forms(KernelTable& table) {
  using enum DType;
  constexpr Levels kLinear = Levels::kLinear;
  set_super_form<IntForm<Codes::kNibble, Scales::kNibblePair, kLinear, -1>>(table, kQ2_K);
  set_super_form<IntForm<Codes::kNibble, Scales::kBytePair, kLinear, 2>>(table, kQ3_K);
  set_super_form<IntForm<Codes::kNibble, Scales::kSixMin, kLinear, -1>>(table, kQ4_K);
  set_super_form<IntForm<Codes::kFive, Scales::kSixMin, kLinear, -1>>(table, kQ5_K);
  set_super_form<IntForm<Codes::kSix, Scales::kBytePair, kLinear, 5>>(table, kQ6_K);
}
