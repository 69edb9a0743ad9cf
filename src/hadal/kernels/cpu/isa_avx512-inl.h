// The vocabulary of kernel bodies in AVX-512 (F, BW, VL, DQ, VNNI). Included inside the namespace
// and the region of that set; isa_avx2-inl.h has the same words. The two give the same bits.

struct F32x16 {
  __m512 v;
};
struct I32x16 {
  __m512i v;
};
struct U8x64 {  // 16 lanes of four bytes
  __m512i v;
};

// Columns of activations whose float accumulators a float kernel keeps in registers.
constexpr int kFloatColumns = 8;
// Registers enough for the codes of two panels.
constexpr bool kPairs = true;

HADAL_INLINE F32x16 f32_zero() { return {_mm512_setzero_ps()}; }
HADAL_INLINE F32x16 f32_set(float x) { return {_mm512_set1_ps(x)}; }
HADAL_INLINE F32x16 f32_load(const float* p) { return {_mm512_loadu_ps(p)}; }
HADAL_INLINE void f32_store(float* p, F32x16 x) { _mm512_storeu_ps(p, x.v); }
HADAL_INLINE F32x16 add(F32x16 a, F32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
HADAL_INLINE F32x16 subtract(F32x16 a, F32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
HADAL_INLINE F32x16 multiply(F32x16 a, F32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
HADAL_INLINE F32x16 divide(F32x16 a, F32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
// a * b + c, rounded once.
HADAL_INLINE F32x16 fma(F32x16 a, F32x16 b, F32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// As the x86 instructions: the second operand where either is NaN.
HADAL_INLINE F32x16 maximum(F32x16 a, F32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
HADAL_INLINE F32x16 minimum(F32x16 a, F32x16 b) { return {_mm512_min_ps(a.v, b.v)}; }
HADAL_INLINE bool any_equal(F32x16 a, F32x16 b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ) != 0;
}
HADAL_INLINE I32x16 bits(F32x16 x) { return {_mm512_castps_si512(x.v)}; }
HADAL_INLINE F32x16 from_bits(I32x16 x) { return {_mm512_castsi512_ps(x.v)}; }
HADAL_INLINE F32x16 to_f32(I32x16 x) { return {_mm512_cvtepi32_ps(x.v)}; }
HADAL_INLINE I32x16 round_to_i32(F32x16 x) { return {_mm512_cvtps_epi32(x.v)}; }  // nearest, even
// 16 halves at p.
HADAL_INLINE F32x16 f32_load_f16(const void* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}

HADAL_INLINE I32x16 i32_set(int32_t x) { return {_mm512_set1_epi32(x)}; }
HADAL_INLINE I32x16 i32_load(const void* p) { return {_mm512_loadu_si512(p)}; }
HADAL_INLINE void i32_store(void* p, I32x16 x) { _mm512_storeu_si512(p, x.v); }
HADAL_INLINE I32x16 i32_load_u8(const void* p) {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)))};
}
HADAL_INLINE I32x16 i32_load_i8(const void* p) {
  return {_mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)))};
}
// 32 bytes at p as pairs of 16-bit numbers, two a lane.
HADAL_INLINE I32x16 words_load_u8(const void* p) {
  return {_mm512_cvtepu8_epi16(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}
HADAL_INLINE I32x16 words_load_i8(const void* p) {
  return {_mm512_cvtepi8_epi16(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}
HADAL_INLINE I32x16 add(I32x16 a, I32x16 b) { return {_mm512_add_epi32(a.v, b.v)}; }
HADAL_INLINE I32x16 subtract(I32x16 a, I32x16 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
HADAL_INLINE I32x16 bit_and(I32x16 a, I32x16 b) { return {_mm512_and_si512(a.v, b.v)}; }
HADAL_INLINE I32x16 bit_or(I32x16 a, I32x16 b) { return {_mm512_or_si512(a.v, b.v)}; }
// Bits of a where the mask has them, else of b.
HADAL_INLINE I32x16 choose_bits(I32x16 mask, I32x16 a, I32x16 b) {
  return {_mm512_ternarylogic_epi32(a.v, b.v, mask.v, 0xE4)};
}
HADAL_INLINE I32x16 maximum(I32x16 a, I32x16 b) { return {_mm512_max_epi32(a.v, b.v)}; }
template <int kBits>
HADAL_INLINE I32x16 shift_left(I32x16 x) {
  return {_mm512_slli_epi32(x.v, kBits)};
}
template <int kBits>
HADAL_INLINE I32x16 shift_right(I32x16 x) {  // zeros enter
  return {_mm512_srli_epi32(x.v, kBits)};
}
HADAL_INLINE int32_t largest_lane(I32x16 x) { return _mm512_reduce_max_epi32(x.v); }
HADAL_INLINE int32_t sum_of_lanes(I32x16 x) { return _mm512_reduce_add_epi32(x.v); }
HADAL_INLINE void largest_lanes(const I32x16 (&x)[1], int32_t (&out)[1]) {
  out[0] = largest_lane(x[0]);
}
HADAL_INLINE void sums_of_lanes(const I32x16 (&x)[1], int32_t (&out)[1]) {
  out[0] = sum_of_lanes(x[0]);
}
// Four vectors at once: lanes meet until a quarter of each vector is left, side by side.
struct LargestOf {
  HADAL_INLINE static __m512i join(__m512i a, __m512i b) { return _mm512_max_epi32(a, b); }
};
struct SumOf {
  HADAL_INLINE static __m512i join(__m512i a, __m512i b) { return _mm512_add_epi32(a, b); }
};
template <class Of>
HADAL_INLINE void across_lanes(const I32x16 (&x)[4], int32_t (&out)[4]) {
  const __m512i first = Of::join(_mm512_shuffle_i32x4(x[0].v, x[1].v, 0x44),
                                 _mm512_shuffle_i32x4(x[0].v, x[1].v, 0xEE));
  const __m512i second = Of::join(_mm512_shuffle_i32x4(x[2].v, x[3].v, 0x44),
                                  _mm512_shuffle_i32x4(x[2].v, x[3].v, 0xEE));
  __m512i all = Of::join(_mm512_shuffle_i32x4(first, second, 0x88),
                         _mm512_shuffle_i32x4(first, second, 0xDD));
  all = Of::join(all, _mm512_shuffle_epi32(all, _MM_PERM_BADC));
  all = Of::join(all, _mm512_shuffle_epi32(all, _MM_PERM_CDAB));
  const __m512i quarters = _mm512_castsi128_si512(_mm_setr_epi32(0, 4, 8, 12));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                   _mm512_castsi512_si128(_mm512_permutexvar_epi32(quarters, all)));
}
HADAL_INLINE void largest_lanes(const I32x16 (&x)[4], int32_t (&out)[4]) {
  across_lanes<LargestOf>(x, out);
}
HADAL_INLINE void sums_of_lanes(const I32x16 (&x)[4], int32_t (&out)[4]) {
  across_lanes<SumOf>(x, out);
}
// Lanes as pairs of 16-bit numbers: the lower half of `low`, then that of `high`.
HADAL_INLINE I32x16 pair_words(I32x16 low, I32x16 high) {
  return {_mm512_mask_mov_epi16(low.v, 0xAAAAAAAA, _mm512_slli_epi32(high.v, 16))};
}
// sum + the products of both numbers of a pair.
HADAL_INLINE I32x16 dot_words(I32x16 sum, I32x16 a, I32x16 b) {
  return {_mm512_dpwssd_epi32(sum.v, a.v, b.v)};
}
// Lanes added as a tree of halves: i and i + 8, then i and i + 4, and so on.
HADAL_INLINE float sum_of_lanes(F32x16 x) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
// The lanes of a, then those of b, as 32 int8, saturated.
HADAL_INLINE void store_i8(int8_t* p, I32x16 a, I32x16 b) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(a.v));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 16), _mm512_cvtsepi32_epi8(b.v));
}

// The lanes of a, b, c and d as 64 int8, saturated.
HADAL_INLINE U8x64 narrow(I32x16 a, I32x16 b, I32x16 c, I32x16 d) {
  __m512i x = _mm512_castsi128_si512(_mm512_cvtsepi32_epi8(a.v));
  x = _mm512_inserti32x4(x, _mm512_cvtsepi32_epi8(b.v), 1);
  x = _mm512_inserti32x4(x, _mm512_cvtsepi32_epi8(c.v), 2);
  return {_mm512_inserti32x4(x, _mm512_cvtsepi32_epi8(d.v), 3)};
}
HADAL_INLINE void u8_store(void* p, U8x64 x) { _mm512_storeu_si512(p, x.v); }
// |x| of signed bytes.
HADAL_INLINE U8x64 magnitudes(U8x64 x) { return {_mm512_abs_epi8(x.v)}; }
// Lane i: the sum of signed bytes [16 i, 16 i + 16).
HADAL_INLINE __m128i sums_of_16(U8x64 x) {
  __m512i s = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), x.v);
  s = _mm512_add_epi32(s, _mm512_shuffle_epi32(s, _MM_PERM_BADC));
  s = _mm512_add_epi32(s, _mm512_shuffle_epi32(s, _MM_PERM_CDAB));
  const __m512i first = _mm512_castsi128_si512(_mm_setr_epi32(0, 4, 8, 12));
  return _mm512_castsi512_si128(_mm512_permutexvar_epi32(first, s));
}

HADAL_INLINE U8x64 u8_load(const void* p) { return {_mm512_loadu_si512(p)}; }
// The lower bits of each byte.
template <int kBits>
HADAL_INLINE U8x64 low_bits(U8x64 x) {
  return {_mm512_and_si512(x.v, _mm512_set1_epi8((1 << kBits) - 1))};
}
// Each byte shifted right; in its upper bits is whatever.
template <int kBits>
HADAL_INLINE U8x64 bytes_right(U8x64 x) {
  return {_mm512_srli_epi16(x.v, kBits)};
}
// The lower bits of each byte from `low`, the rest from `high`.
template <int kBits>
HADAL_INLINE U8x64 below(U8x64 low, U8x64 high) {
  const __m512i mask = _mm512_set1_epi8((1 << kBits) - 1);
  return {_mm512_ternarylogic_epi32(low.v, high.v, mask, 0xE4)};
}
// table[x] for x in 0..15.
HADAL_INLINE U8x64 look_up(const uint8_t* table, U8x64 x) {
  const __m128i line = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return {_mm512_shuffle_epi8(_mm512_broadcast_i32x4(line), x.v)};
}

// Lane r: sum over groups g in [kFirst, kFirst + kCount), bytes j, of (code(g)[4 r + j] - zero) a[4
// g + j]. kZeroBits < 0: zero is 0; else 2^kZeroBits, and `negative_sum` is -sum of those a.
// kMaxCode bounds codes.
template <int kMaxCode, int kZeroBits, int kFirst, int kCount>
HADAL_INLINE I32x16 dot(const U8x64* codes, const int8_t* a, int32_t negative_sum) {
  __m512i sum = _mm512_setzero_si512();
  if constexpr (kZeroBits >= 0) sum = _mm512_slli_epi32(_mm512_set1_epi32(negative_sum), kZeroBits);
#pragma GCC unroll 8
  for (int g = kFirst; g < kFirst + kCount; ++g) {
    int32_t word;
    __builtin_memcpy(&word, a + 4 * g, sizeof(word));
    sum = _mm512_dpbusd_epi32(sum, codes[g].v, _mm512_set1_epi32(word));
  }
  return {sum};
}

// The same of two panels; each broadcast of `a` is used twice. Eight groups go in two chains a
// panel: with one the scheduler fills up with dot products that wait for each other.
template <int kMaxCode, int kZeroBits, int kFirst, int kCount>
HADAL_INLINE void dot_pair(const U8x64* first, const U8x64* second, const int8_t* a,
                           int32_t negative_sum, I32x16* out_first, I32x16* out_second) {
  constexpr int kChains = kCount / 4;
  __m512i one[kChains], two[kChains];
#pragma GCC unroll 2
  for (int chain = 0; chain < kChains; ++chain) one[chain] = two[chain] = _mm512_setzero_si512();
  if constexpr (kZeroBits >= 0) {
    one[0] = two[0] = _mm512_slli_epi32(_mm512_set1_epi32(negative_sum), kZeroBits);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 2
    for (int chain = 0; chain < kChains; ++chain) {
      const int g = kFirst + 4 * chain + i;
      int32_t word;
      __builtin_memcpy(&word, a + 4 * g, sizeof(word));
      const __m512i x = _mm512_set1_epi32(word);
      one[chain] = _mm512_dpbusd_epi32(one[chain], first[g].v, x);
      two[chain] = _mm512_dpbusd_epi32(two[chain], second[g].v, x);
    }
  }
  out_first->v = kChains == 1 ? one[0] : _mm512_add_epi32(one[0], one[kChains - 1]);
  out_second->v = kChains == 1 ? two[0] : _mm512_add_epi32(two[0], two[kChains - 1]);
}

// Float weights: a line of 64 bytes to the columns of a panel that it holds.
HADAL_INLINE void load_bf16_pair(const void* p, F32x16* even, F32x16* odd) {
  const __m512i x = _mm512_loadu_si512(p);
  even->v = _mm512_castsi512_ps(_mm512_slli_epi32(x, 16));
  odd->v =
      _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32(static_cast<int>(0xFFFF0000))));
}
// FP8 E4M3 moved into the fields of a half: the value is 2^8 times the half, subnormals included.
HADAL_INLINE void load_f8_quad(const void* p, F32x16* w) {
  const __m512i x = _mm512_loadu_si512(p);
  const __m512i mask = _mm512_set1_epi16(static_cast<int16_t>(0xBF80));
  const __m512i even = _mm512_and_si512(_mm512_srai_epi16(_mm512_slli_epi16(x, 8), 1), mask);
  const __m512i odd = _mm512_and_si512(_mm512_srai_epi16(x, 1), mask);
  w[0].v = _mm512_cvtph_ps(_mm512_castsi512_si256(even));
  w[1].v = _mm512_cvtph_ps(_mm512_castsi512_si256(odd));
  w[2].v = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(even, 1));
  w[3].v = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(odd, 1));
}
