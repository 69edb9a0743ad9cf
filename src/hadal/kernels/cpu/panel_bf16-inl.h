// Panels of BF16 and FP8 weights times activations rounded to BF16, by pairs of columns
// (vdpbf16ps). Forms: panel.h. Included in the set that has the instruction.
//
// Order: columns 4 k, 4 k + 1 go to one accumulator, 4 k + 2, 4 k + 3 to another, ascending; FP8
// closes both after 128 columns and adds them, scaled, to a third.

// FP8 of columns k..k+3 as BF16, which holds them exactly: times 2^-8, as halves.
HADAL_INLINE void load_f8_pairs(const uint8_t* p, __m512i* first, __m512i* second) {
  F32x16 w[4];
  load_f8_quad(p, w);
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xFFFF0000));
  // (w[0] >> 16) | (w[1] & upper)
  *first = _mm512_ternarylogic_epi32(_mm512_srli_epi32(_mm512_castps_si512(w[0].v), 16),
                                     _mm512_castps_si512(w[1].v), upper, 0xF8);
  *second = _mm512_ternarylogic_epi32(_mm512_srli_epi32(_mm512_castps_si512(w[2].v), 16),
                                      _mm512_castps_si512(w[3].v), upper, 0xF8);
}

HADAL_INLINE __m512 dot_pairs(__m512 sum, __m512i weights, const uint16_t* x) {
  int32_t both;
  __builtin_memcpy(&both, x, sizeof(both));
  return _mm512_dpbf16_ps(sum, (__m512bh)weights, (__m512bh)_mm512_set1_epi32(both));
}

template <bool kFp8, int kColumns>
HADAL_INLINE void bf16_panel(const uint8_t* panel, const float* scales, int64_t cols,
                             const float* const* rows, float* acc) {
  constexpr int64_t kSpan = kFp8 ? 128 : INT64_MAX;
  const uint16_t* x[kColumns];
  __m512 total[kColumns], one[kColumns], two[kColumns];
  for (int c = 0; c < kColumns; ++c) {
    x[c] = reinterpret_cast<const uint16_t*>(rows[c] + cols);
    total[c] = _mm512_setzero_ps();
  }
  for (int64_t k = 0; k < cols;) {
    const int64_t end = cols - k > kSpan ? k + kSpan : cols;
    for (int c = 0; c < kColumns; ++c) one[c] = two[c] = _mm512_setzero_ps();
    for (; k < end; k += 4) {
      __m512i first, second;
      if constexpr (kFp8) {
        load_f8_pairs(panel + 16 * k, &first, &second);
      } else {
        first = _mm512_loadu_si512(panel + 32 * k);
        second = _mm512_loadu_si512(panel + 32 * k + 64);
      }
#pragma GCC unroll 8
      for (int c = 0; c < kColumns; ++c) {
        one[c] = dot_pairs(one[c], first, x[c] + k);
        two[c] = dot_pairs(two[c], second, x[c] + k + 2);
      }
    }
    for (int c = 0; c < kColumns; ++c) {
      const __m512 sum = _mm512_add_ps(one[c], two[c]);
      if constexpr (kFp8) {
        total[c] = _mm512_fmadd_ps(sum, _mm512_set1_ps(*scales), total[c]);
      } else {
        total[c] = sum;
      }
    }
    if constexpr (kFp8) ++scales;
  }
  for (int c = 0; c < kColumns; ++c) _mm512_storeu_ps(acc + 16 * c, total[c]);
}

// acc += scale * (decoded weights w [128 or less][16], as pairs, times columns of activations from
// number `from` on).
template <int kColumns>
HADAL_INLINE void add_decoded(const __m512i* w, int64_t count, int64_t from, int64_t cols,
                              const float* const* rows, float scale, float* acc) {
  const uint16_t* x[kColumns];
  __m512 one[kColumns], two[kColumns];
  for (int c = 0; c < kColumns; ++c) {
    x[c] = reinterpret_cast<const uint16_t*>(rows[c] + cols) + from;
    one[c] = two[c] = _mm512_setzero_ps();
  }
  for (int64_t k = 0; k < count; k += 4, w += 2) {
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) {
      one[c] = dot_pairs(one[c], w[0], x[c] + k);
      two[c] = dot_pairs(two[c], w[1], x[c] + k + 2);
    }
  }
  for (int c = 0; c < kColumns; ++c) {
    float* total = acc + 16 * c;
    const __m512 sum = _mm512_add_ps(one[c], two[c]);
    _mm512_storeu_ps(total, _mm512_fmadd_ps(sum, _mm512_set1_ps(scale), _mm512_loadu_ps(total)));
  }
}

// More columns of activations than registers hold: 128 columns of FP8 are decoded into the
// first-level cache and meet all of them, rather than being decoded again for every eight. The sums
// are those of bf16_panel.
inline void f8_tile(const uint8_t* panel, const float* scales, int64_t cols,
                    const float* const* rows, int32_t columns, float* acc) {
  constexpr int64_t kSpan = 128;
  __m512i weights[kSpan / 2];
  for (int32_t c = 0; c < columns; ++c) {
    _mm512_storeu_ps(acc + 16 * c, _mm512_setzero_ps());
    asm volatile("" ::: "memory");  // no call of memset
  }
  for (int64_t from = 0; from < cols; from += kSpan, ++scales) {
    const int64_t count = cols - from > kSpan ? kSpan : cols - from;
    for (int64_t k = 0; k < count; k += 4) {
      load_f8_pairs(panel + 16 * (from + k), weights + k / 2, weights + k / 2 + 1);
    }
    int32_t c = 0;
    for (; c + 8 <= columns; c += 8) {
      add_decoded<8>(weights, count, from, cols, rows + c, *scales, acc + 16 * c);
    }
    if (columns - c >= 4) {
      add_decoded<4>(weights, count, from, cols, rows + c, *scales, acc + 16 * c);
      c += 4;
    }
    for (; c < columns; ++c) {
      add_decoded<1>(weights, count, from, cols, rows + c, *scales, acc + 16 * c);
    }
  }
}

template <bool kFp8>
void multiply_bf16_panel(const std::byte* panel, const float* scales, int64_t padded_cols,
                         const float* const* rows, int32_t columns, float* acc) {
  const auto* p = reinterpret_cast<const uint8_t*>(panel);
  if (kFp8 && columns > 8) return f8_tile(p, scales, padded_cols, rows, columns, acc);
  for (; columns >= 8; columns -= 8, rows += 8, acc += 128) {
    bf16_panel<kFp8, 8>(p, scales, padded_cols, rows, acc);
  }
  if (columns & 4) {
    bf16_panel<kFp8, 4>(p, scales, padded_cols, rows, acc);
    rows += 4;
    acc += 64;
  }
  if (columns & 2) {
    bf16_panel<kFp8, 2>(p, scales, padded_cols, rows, acc);
    rows += 2;
    acc += 32;
  }
  if (columns & 1) bf16_panel<kFp8, 1>(p, scales, padded_cols, rows, acc);
}

// To the nearest, ties to even; what BF16 would hold as a subnormal becomes 0.
inline void round_floats(const float* x, int64_t count, uint16_t* out) {
  for (int64_t i = 0; i < count; i += 16) {
    const int64_t left = count - i;
    const auto mask = static_cast<__mmask16>(left >= 16 ? 0xFFFF : (1u << left) - 1);
    const __m256i rounded = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, x + i));
    _mm256_mask_storeu_epi16(out + i, mask, rounded);
  }
}

HADAL_INLINE void register_bf16_forms(KernelTable& table) {
  table.floating[static_cast<int>(DType::kBF16)] = multiply_bf16_panel<false>;
  table.floating[static_cast<int>(DType::kF8E4M3)] = multiply_bf16_panel<true>;
  table.reads_rounded = true;
  table.round_row = round_floats;
}
