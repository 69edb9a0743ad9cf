// Row-wise float functions. Included once per instruction set; the sets give the same bits.

// The last count % 16 numbers at p, then zeros.
HADAL_INLINE F32x16 load_tail(const float* p, int64_t count) {
  alignas(64) float lanes[16] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = p[i];
  return f32_load(lanes);
}

// out[i] = a . rows[i]. Each line of `a` is loaded once for all rows.
template <int kRows>
HADAL_INLINE void dot_some(const float* a, const float* const* rows, int64_t cols, float* out) {
  F32x16 sums[kRows][4];
#pragma GCC unroll 4
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) sums[row][j] = f32_zero();
  }
  int64_t i = 0;
  for (; i + 64 <= cols; i += 64) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const F32x16 x = f32_load(a + i + 16 * j);
#pragma GCC unroll 4
      for (int row = 0; row < kRows; ++row) {
        sums[row][j] = fma(x, f32_load(rows[row] + i + 16 * j), sums[row][j]);
      }
    }
  }
  for (int j = 0; i < cols; i += 16, ++j) {
    const int64_t left = cols - i;
    for (int row = 0; row < kRows; ++row) {
      const float* b = rows[row] + i;
      sums[row][j] = left >= 16 ? fma(f32_load(a + i), f32_load(b), sums[row][j])
                                : fma(load_tail(a + i, left), load_tail(b, left), sums[row][j]);
    }
  }
#pragma GCC unroll 4
  for (int row = 0; row < kRows; ++row) {
    const F32x16* s = sums[row];
    out[row] = sum_of_lanes(add(add(s[0], s[1]), add(s[2], s[3])));
  }
}

inline void dot_rows_floats(const float* a, const float* const* rows, int count, int64_t cols,
                            float* out) {
  if (count == kDotRows) return dot_some<kDotRows>(a, rows, cols, out);
  for (int row = 0; row < count; ++row) dot_some<1>(a, rows + row, cols, out + row);
}

inline void rms_norm_floats(const float* x, const float* weight, float eps, int64_t cols,
                            float* out) {
  float squares;
  dot_some<1>(x, &x, cols, &squares);
  const float mean = squares / static_cast<float>(cols);
  const float factor = 1.0f / __builtin_sqrtf(mean + eps);
  const F32x16 factors = f32_set(factor);
  int64_t i = 0;
  for (; i + 16 <= cols; i += 16) {
    f32_store(out + i, multiply(multiply(f32_load(x + i), factors), f32_load(weight + i)));
  }
  for (; i < cols; ++i) out[i] = x[i] * factor * weight[i];
}

// Blocks [0, count) of x, count at most kMost. Several at once share out what is done across lanes.
template <int kMost>
HADAL_INLINE void quantize_blocks(const float* x, int64_t count, ActBlock* out, int64_t stride) {
  const I32x16 magnitude = i32_set(0x7FFFFFFF);
  // Past the last block it is taken again.
  const auto block = [&](int b) { return x + std::min<int64_t>(b, count - 1) * kBlock; };
  I32x16 lanes[kMost];
#pragma GCC unroll 4
  for (int b = 0; b < kMost; ++b) {
    // Compared as integers, so that a NaN is the largest.
    lanes[b] = maximum(bit_and(bits(f32_load(block(b))), magnitude),
                       bit_and(bits(f32_load(block(b) + 16)), magnitude));
  }
  int32_t across[kMost];
  largest_lanes(lanes, across);
  float scale[kMost], inverse[kMost];
#pragma GCC unroll 4
  for (int b = 0; b < kMost; ++b) {
    float largest;
    __builtin_memcpy(&largest, &across[b], sizeof(largest));
    // 127 / largest must stay finite; what is this small counts as zero.
    const bool zero = largest < 1e-35f;
    inverse[b] = zero ? 0.0f : 127.0f / largest;
    scale[b] = zero ? 0.0f : largest / 127.0f;
  }
  // NaN and what comes of infinities rounds to INT32_MIN; the scale will tell, the sums must not
  // wrap.
  const I32x16 least = i32_set(-127);
#pragma GCC unroll 4
  for (int b = 0; b < kMost; ++b) {
    const F32x16 factor = f32_set(inverse[b]);
    const I32x16 low = maximum(round_to_i32(multiply(f32_load(block(b)), factor)), least);
    const I32x16 high = maximum(round_to_i32(multiply(f32_load(block(b) + 16), factor)), least);
    if (b < count) store_i8(out[b * stride].codes, low, high);
    lanes[b] = add(low, high);
  }
  sums_of_lanes(lanes, across);
#pragma GCC unroll 4
  for (int b = 0; b < kMost; ++b) {
    if (b >= count) return;
    ActBlock& target = out[b * stride];
    target.scale = scale[b];
    target.scaled_sum = scale[b] * static_cast<float>(across[b]);
    target.negative_sum = -across[b];
  }
}

inline void quantize_floats(const float* x, int64_t cols, ActBlock* out, int64_t stride) {
  const int64_t blocks = cols / kBlock;
  int64_t b = 0;
  for (; b + 4 <= blocks; b += 4) quantize_blocks<4>(x + b * kBlock, 4, out + b * stride, stride);
  x += b * kBlock;
  out += b * stride;
  if (blocks - b == 1) {
    quantize_blocks<1>(x, 1, out, stride);
  } else if (b < blocks) {
    quantize_blocks<4>(x, blocks - b, out, stride);
  }
}

// codes = x [256] times `inverse`, with their sums. Returns the largest sum of 16 magnitudes.
HADAL_INLINE int32_t fill_super(const float* x, float inverse, ActQuarter* out, int64_t stride) {
  const F32x16 factor = f32_set(inverse);
  const I32x16 least = i32_set(-127);  // as in quantize_floats
  __m128i most = _mm_setzero_si128();
  for (int q = 0; q < 4; ++q, x += kQuarterColumns, out += stride) {
    I32x16 codes[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      codes[i] = maximum(round_to_i32(multiply(f32_load(x + 16 * i), factor)), least);
    }
    const U8x64 bytes = narrow(codes[0], codes[1], codes[2], codes[3]);
    u8_store(out->codes, bytes);
    const __m128i sums = sums_of_16(bytes);
    most = _mm_max_epi32(most, sums_of_16(magnitudes(bytes)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out->negative_sums),
                     _mm_sub_epi32(_mm_setzero_si128(), sums));
    _mm_storeu_si64(out->sums, _mm_packs_epi32(sums, sums));
    const __m128i two = _mm_hadd_epi32(sums, sums);
    _mm_storeu_si32(out->block_sums, _mm_packs_epi32(two, two));
  }
  most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 0x4E));
  return _mm_cvtsi128_si32(_mm_max_epi32(most, _mm_shuffle_epi32(most, 0xB1)));
}

inline void quantize_super_floats(const float* x, int64_t cols, ActQuarter* out, int64_t stride) {
  const I32x16 magnitude = i32_set(0x7FFFFFFF);
  for (int64_t b = 0; b < cols / kSuperColumns; ++b, x += kSuperColumns, out += 4 * stride) {
    I32x16 largest_of = i32_set(0);
    for (int i = 0; i < kSuperColumns; i += 16) {
      largest_of = maximum(largest_of, bit_and(bits(f32_load(x + i)), magnitude));
    }
    const int32_t largest_bits = largest_lane(largest_of);
    float largest;
    __builtin_memcpy(&largest, &largest_bits, sizeof(largest));
    const bool zero = largest < 1e-35f;
    int32_t levels = 127;
    const int32_t most = fill_super(x, zero ? 0.0f : 127.0f / largest, out, stride);
    // Sixteen magnitudes are at most `most` + 8 steps before rounding, and rounding again adds 8 at
    // most. Whole levels, so that equal numbers stay exact.
    if (most > kSuperMost) {
      levels = 127 * (kSuperMost - 8) / (most + 8);
      fill_super(x, static_cast<float>(levels) / largest, out, stride);
    }
    const float scale = zero ? 0.0f : largest / static_cast<float>(levels);
    for (int q = 0; q < 4; ++q) out[q * stride].scale = scale;
  }
}

// e^x within 2 units in the last place for |x| <= 87, clamped beyond: 2^n e^r with |r| <= ln 2 / 2,
// e^r by its Taylor polynomial of degree 7 (remainder below 2^-27).
HADAL_INLINE F32x16 exponential(F32x16 x) {
  x = minimum(f32_set(88.0f), maximum(f32_set(-87.0f), x));
  const I32x16 n = round_to_i32(multiply(x, f32_set(1.44269504f)));
  const F32x16 whole = to_f32(n);
  F32x16 r = fma(whole, f32_set(-0.693359375f), x);  // ln 2 in two parts, the first with few bits
  r = fma(whole, f32_set(2.12194440e-4f), r);
  F32x16 p = f32_set(1.0f / 5040);
  p = fma(p, r, f32_set(1.0f / 720));
  p = fma(p, r, f32_set(1.0f / 120));
  p = fma(p, r, f32_set(1.0f / 24));
  p = fma(p, r, f32_set(1.0f / 6));
  p = fma(p, r, f32_set(0.5f));
  p = fma(p, r, f32_set(1.0f));
  p = fma(p, r, f32_set(1.0f));
  return multiply(p, from_bits(shift_left<23>(add(n, i32_set(127)))));
}

HADAL_INLINE F32x16 silu_times(F32x16 gate, F32x16 up) {
  const F32x16 e = exponential(subtract(f32_zero(), gate));
  return multiply(divide(gate, add(f32_set(1.0f), e)), up);
}

inline void silu_multiply_floats(const float* gate, const float* up, int64_t count, float* out) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    f32_store(out + i, silu_times(f32_load(gate + i), f32_load(up + i)));
  }
  if (i == count) return;
  alignas(64) float lanes[16];
  f32_store(lanes, silu_times(load_tail(gate + i, count - i), load_tail(up + i, count - i)));
  for (int64_t j = 0; i < count; ++i, ++j) out[i] = lanes[j];
}

inline void greatest_floats(const float* x, int64_t count, int64_t first, Greatest* best) {
  F32x16 most = f32_set(best->value);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) most = maximum(f32_load(x + i), most);  // `most` where x is NaN
  alignas(64) float lanes[16];
  f32_store(lanes, most);
  float greatest = best->value;
  for (const float lane : lanes) greatest = lane > greatest ? lane : greatest;
  for (; i < count; ++i) greatest = x[i] > greatest ? x[i] : greatest;
  // Of equals the first; a thread may come to later numbers before.
  if (!(greatest > best->value) && (best->index < 0 || first > best->index)) return;
  for (i = 0; i + 16 <= count; i += 16) {
    if (any_equal(f32_load(x + i), f32_set(greatest))) break;
  }
  while (i < count && x[i] != greatest) ++i;
  if (i < count) *best = {x[i], static_cast<int32_t>(first + i)};
}

HADAL_INLINE F32x16 plus_bias(F32x16 x, const float* bias) {
  return bias != nullptr ? add(x, f32_load(bias)) : x;
}

inline void store_panel_floats(const float* acc, int32_t columns, int64_t width, const float* bias,
                               bool add_to, float* target, int64_t stride) {
  if (width == kPanelRows) {
    for (int32_t c = 0; c < columns; ++c, acc += kPanelRows, target += stride) {
      const F32x16 y = plus_bias(f32_load(acc), bias);
      f32_store(target, add_to ? add(f32_load(target), y) : y);
    }
    return;
  }
  for (int32_t c = 0; c < columns; ++c, acc += kPanelRows, target += stride) {
    for (int64_t r = 0; r < width; ++r) {
      const float y = bias != nullptr ? acc[r] + bias[r] : acc[r];
      target[r] = add_to ? target[r] + y : y;
    }
  }
}

inline void add_weighted_floats(const float* acc, const RowWeight* entries, int32_t columns,
                                int64_t width, float* target, int64_t stride) {
  for (int32_t c = 0; c < columns; ++c, acc += kPanelRows) {
    float* row = target + entries[c].row * stride;
    if (width == kPanelRows) {
      const F32x16 part = multiply(f32_set(entries[c].weight), f32_load(acc));
      f32_store(row, add(f32_load(row), part));
      continue;
    }
    for (int64_t r = 0; r < width; ++r) row[r] += entries[c].weight * acc[r];
  }
}

inline void leave_row(const float*, int64_t, uint16_t*) {}

HADAL_INLINE void register_rows(KernelTable& table) {
  table.reads_rounded = false;
  table.round_row = leave_row;
  table.quantize_row = quantize_floats;
  table.quantize_supers = quantize_super_floats;
  table.rms_norm_row = rms_norm_floats;
  table.silu_multiply = silu_multiply_floats;
  table.dot_rows = dot_rows_floats;
  table.greatest = greatest_floats;
  table.store_panel = store_panel_floats;
  table.add_weighted = add_weighted_floats;
}
