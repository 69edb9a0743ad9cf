// The vocabulary of kernel bodies in AVX2, FMA and F16C: see isa_avx512-inl.h. Sixteen lanes are
// two registers; memory layouts are the same.

struct F32x16 {
  __m256 lo, hi;
};
struct I32x16 {
  __m256i lo, hi;
};
struct U8x64 {
  __m256i lo, hi;
};

constexpr int kFloatColumns = 2;
constexpr bool kPairs = false;

HADAL_INLINE F32x16 f32_zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
HADAL_INLINE F32x16 f32_set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
HADAL_INLINE F32x16 f32_load(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
HADAL_INLINE void f32_store(float* p, F32x16 x) {
  _mm256_storeu_ps(p, x.lo);
  _mm256_storeu_ps(p + 8, x.hi);
}
HADAL_INLINE F32x16 add(F32x16 a, F32x16 b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
HADAL_INLINE F32x16 subtract(F32x16 a, F32x16 b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
HADAL_INLINE F32x16 multiply(F32x16 a, F32x16 b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
HADAL_INLINE F32x16 divide(F32x16 a, F32x16 b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
HADAL_INLINE F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
HADAL_INLINE F32x16 maximum(F32x16 a, F32x16 b) {
  return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
HADAL_INLINE F32x16 minimum(F32x16 a, F32x16 b) {
  return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
HADAL_INLINE bool any_equal(F32x16 a, F32x16 b) {
  const __m256 equal =
      _mm256_or_ps(_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ));
  return _mm256_movemask_ps(equal) != 0;
}
HADAL_INLINE I32x16 bits(F32x16 x) {
  return {_mm256_castps_si256(x.lo), _mm256_castps_si256(x.hi)};
}
HADAL_INLINE F32x16 from_bits(I32x16 x) {
  return {_mm256_castsi256_ps(x.lo), _mm256_castsi256_ps(x.hi)};
}
HADAL_INLINE F32x16 to_f32(I32x16 x) {
  return {_mm256_cvtepi32_ps(x.lo), _mm256_cvtepi32_ps(x.hi)};
}
HADAL_INLINE I32x16 round_to_i32(F32x16 x) {
  return {_mm256_cvtps_epi32(x.lo), _mm256_cvtps_epi32(x.hi)};
}
HADAL_INLINE F32x16 f32_load_f16(const void* p) {
  const auto* halves = static_cast<const __m128i*>(p);
  return {_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}

HADAL_INLINE I32x16 i32_set(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
HADAL_INLINE I32x16 i32_load(const void* p) {
  const auto* words = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(words), _mm256_loadu_si256(words + 1)};
}
HADAL_INLINE void i32_store(void* p, I32x16 x) {
  auto* words = static_cast<__m256i*>(p);
  _mm256_storeu_si256(words, x.lo);
  _mm256_storeu_si256(words + 1, x.hi);
}
HADAL_INLINE I32x16 i32_load_u8(const void* p) {
  const __m128i x = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return {_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(x, x))};
}
HADAL_INLINE I32x16 i32_load_i8(const void* p) {
  const __m128i x = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return {_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(x, x))};
}
HADAL_INLINE I32x16 words_load_u8(const void* p) {
  const auto* bytes = static_cast<const __m128i*>(p);
  return {_mm256_cvtepu8_epi16(_mm_loadu_si128(bytes)),
          _mm256_cvtepu8_epi16(_mm_loadu_si128(bytes + 1))};
}
HADAL_INLINE I32x16 words_load_i8(const void* p) {
  const auto* bytes = static_cast<const __m128i*>(p);
  return {_mm256_cvtepi8_epi16(_mm_loadu_si128(bytes)),
          _mm256_cvtepi8_epi16(_mm_loadu_si128(bytes + 1))};
}
HADAL_INLINE I32x16 add(I32x16 a, I32x16 b) {
  return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
}
HADAL_INLINE I32x16 subtract(I32x16 a, I32x16 b) {
  return {_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)};
}
HADAL_INLINE I32x16 bit_and(I32x16 a, I32x16 b) {
  return {_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)};
}
HADAL_INLINE I32x16 bit_or(I32x16 a, I32x16 b) {
  return {_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)};
}
HADAL_INLINE I32x16 maximum(I32x16 a, I32x16 b) {
  return {_mm256_max_epi32(a.lo, b.lo), _mm256_max_epi32(a.hi, b.hi)};
}
template <int kBits>
HADAL_INLINE I32x16 shift_left(I32x16 x) {
  return {_mm256_slli_epi32(x.lo, kBits), _mm256_slli_epi32(x.hi, kBits)};
}
template <int kBits>
HADAL_INLINE I32x16 shift_right(I32x16 x) {
  return {_mm256_srli_epi32(x.lo, kBits), _mm256_srli_epi32(x.hi, kBits)};
}
HADAL_INLINE I32x16 pair_words(I32x16 low, I32x16 high) {
  high = shift_left<16>(high);
  return {_mm256_blend_epi16(low.lo, high.lo, 0xAA), _mm256_blend_epi16(low.hi, high.hi, 0xAA)};
}
HADAL_INLINE I32x16 dot_words(I32x16 sum, I32x16 a, I32x16 b) {
  return {_mm256_add_epi32(sum.lo, _mm256_madd_epi16(a.lo, b.lo)),
          _mm256_add_epi32(sum.hi, _mm256_madd_epi16(a.hi, b.hi))};
}
HADAL_INLINE int32_t largest_lane(I32x16 x) {
  const __m256i eight = _mm256_max_epi32(x.lo, x.hi);
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xB1));
  return _mm_cvtsi128_si32(four);
}
HADAL_INLINE int32_t sum_of_lanes(I32x16 x) {
  const __m256i eight = _mm256_add_epi32(x.lo, x.hi);
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1));
  return _mm_cvtsi128_si32(four);
}
template <size_t kCount>
HADAL_INLINE void largest_lanes(const I32x16 (&x)[kCount], int32_t (&out)[kCount]) {
  for (size_t i = 0; i < kCount; ++i) out[i] = largest_lane(x[i]);
}
template <size_t kCount>
HADAL_INLINE void sums_of_lanes(const I32x16 (&x)[kCount], int32_t (&out)[kCount]) {
  for (size_t i = 0; i < kCount; ++i) out[i] = sum_of_lanes(x[i]);
}
HADAL_INLINE float sum_of_lanes(F32x16 x) {
  const __m256 eight = _mm256_add_ps(x.lo, x.hi);
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
HADAL_INLINE __m128i saturate_i8(I32x16 x) {
  // packs works within 128-bit halves: 0 1 2 3 | 8.. of lo and hi land as lo0 hi0 lo1 hi1.
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.lo, x.hi), 0xD8);
  return _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}
HADAL_INLINE void store_i8(int8_t* p, I32x16 a, I32x16 b) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), saturate_i8(a));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 16), saturate_i8(b));
}

HADAL_INLINE U8x64 narrow(I32x16 a, I32x16 b, I32x16 c, I32x16 d) {
  return {_mm256_set_m128i(saturate_i8(b), saturate_i8(a)),
          _mm256_set_m128i(saturate_i8(d), saturate_i8(c))};
}
HADAL_INLINE void u8_store(void* p, U8x64 x) {
  auto* words = static_cast<__m256i*>(p);
  _mm256_storeu_si256(words, x.lo);
  _mm256_storeu_si256(words + 1, x.hi);
}
HADAL_INLINE U8x64 magnitudes(U8x64 x) { return {_mm256_abs_epi8(x.lo), _mm256_abs_epi8(x.hi)}; }
HADAL_INLINE __m128i sums_of_16(U8x64 x) {
  const __m256i ones = _mm256_set1_epi8(1);
  const __m256i words = _mm256_set1_epi16(1);
  const __m256i lo = _mm256_madd_epi16(_mm256_maddubs_epi16(ones, x.lo), words);
  const __m256i hi = _mm256_madd_epi16(_mm256_maddubs_epi16(ones, x.hi), words);
  __m256i s = _mm256_hadd_epi32(lo, hi);  // of each half: 0 + 1, 2 + 3 of lo, then of hi
  s = _mm256_hadd_epi32(s, s);            // lo, hi, lo, hi
  return _mm_unpacklo_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

HADAL_INLINE U8x64 u8_load(const void* p) {
  const auto* words = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(words), _mm256_loadu_si256(words + 1)};
}
template <int kBits>
HADAL_INLINE U8x64 low_bits(U8x64 x) {
  const __m256i mask = _mm256_set1_epi8((1 << kBits) - 1);
  return {_mm256_and_si256(x.lo, mask), _mm256_and_si256(x.hi, mask)};
}
template <int kBits>
HADAL_INLINE U8x64 bytes_right(U8x64 x) {
  return {_mm256_srli_epi16(x.lo, kBits), _mm256_srli_epi16(x.hi, kBits)};
}
HADAL_INLINE __m256i choose_bits(__m256i mask, __m256i a, __m256i b) {
  return _mm256_or_si256(_mm256_and_si256(mask, a), _mm256_andnot_si256(mask, b));
}
template <int kBits>
HADAL_INLINE U8x64 below(U8x64 low, U8x64 high) {
  const __m256i mask = _mm256_set1_epi8((1 << kBits) - 1);
  return {choose_bits(mask, low.lo, high.lo), choose_bits(mask, low.hi, high.hi)};
}
HADAL_INLINE I32x16 choose_bits(I32x16 mask, I32x16 a, I32x16 b) {
  return {choose_bits(mask.lo, a.lo, b.lo), choose_bits(mask.hi, a.hi, b.hi)};
}
HADAL_INLINE U8x64 look_up(const uint8_t* table, U8x64 x) {
  const __m256i line =
      _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
  return {_mm256_shuffle_epi8(line, x.lo), _mm256_shuffle_epi8(line, x.hi)};
}

// vpmaddubsw saturates at 16 bits. With codes up to kMaxCode and |a| <= 127 a pair stays below
// 2 * 127 * kMaxCode, so that 32767 / (254 * kMaxCode) of them may be added before widening. Codes
// of eight bits are all zero + signed byte with zero = 128: |w| <= 128 times a with w's sign stays
// below 2 * 128 * 127 < 32768, and the zero needs no correction.
template <int kMaxCode, int kZeroBits, int kFirst, int kCount>
HADAL_INLINE I32x16 dot(const U8x64* codes, const int8_t* a, int32_t negative_sum) {
  static_assert(kMaxCode <= 63 || (kMaxCode == 255 && kZeroBits == 7));
  constexpr int kRun = kMaxCode == 255 ? 1 : 32767 / (254 * kMaxCode);
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i flip = _mm256_set1_epi8(-128);
  __m256i lo = _mm256_setzero_si256();
  if constexpr (kZeroBits >= 0 && kMaxCode != 255) {
    lo = _mm256_slli_epi32(_mm256_set1_epi32(negative_sum), kZeroBits);
  }
  __m256i hi = lo;
  __m256i run_lo = _mm256_setzero_si256();
  __m256i run_hi = run_lo;
#pragma GCC unroll 8
  for (int g = kFirst; g < kFirst + kCount; ++g) {
    int32_t word;
    __builtin_memcpy(&word, a + 4 * g, sizeof(word));
    const __m256i x = _mm256_set1_epi32(word);
    if constexpr (kMaxCode == 255) {
      const __m256i w_lo = _mm256_xor_si256(codes[g].lo, flip);
      const __m256i w_hi = _mm256_xor_si256(codes[g].hi, flip);
      run_lo = _mm256_maddubs_epi16(_mm256_abs_epi8(w_lo), _mm256_sign_epi8(x, w_lo));
      run_hi = _mm256_maddubs_epi16(_mm256_abs_epi8(w_hi), _mm256_sign_epi8(x, w_hi));
    } else {
      run_lo = _mm256_add_epi16(run_lo, _mm256_maddubs_epi16(codes[g].lo, x));
      run_hi = _mm256_add_epi16(run_hi, _mm256_maddubs_epi16(codes[g].hi, x));
    }
    const int done = g - kFirst + 1;
    if (done % kRun == 0 || done == kCount) {
      lo = _mm256_add_epi32(lo, _mm256_madd_epi16(run_lo, ones));
      hi = _mm256_add_epi32(hi, _mm256_madd_epi16(run_hi, ones));
      run_lo = run_hi = _mm256_setzero_si256();
    }
  }
  return {lo, hi};
}

template <int kMaxCode, int kZeroBits, int kFirst, int kCount>
HADAL_INLINE void dot_pair(const U8x64* first, const U8x64* second, const int8_t* a,
                           int32_t negative_sum, I32x16* out_first, I32x16* out_second) {
  *out_first = dot<kMaxCode, kZeroBits, kFirst, kCount>(first, a, negative_sum);
  *out_second = dot<kMaxCode, kZeroBits, kFirst, kCount>(second, a, negative_sum);
}

HADAL_INLINE void load_bf16_pair(const void* p, F32x16* even, F32x16* odd) {
  const I32x16 x = i32_load(p);
  *even = from_bits(shift_left<16>(x));
  *odd = from_bits(bit_and(x, i32_set(static_cast<int32_t>(0xFFFF0000))));
}
// Bytes 0..31 of a line hold rows 0..15 of columns 0 and 1, bytes 32..63 those of columns 2 and 3.
HADAL_INLINE void load_f8_quad(const void* p, F32x16* w) {
  const U8x64 x = u8_load(p);
  const __m256i mask = _mm256_set1_epi16(static_cast<int16_t>(0xBF80));
  const __m256i halves[4] = {
      _mm256_and_si256(_mm256_srai_epi16(_mm256_slli_epi16(x.lo, 8), 1), mask),
      _mm256_and_si256(_mm256_srai_epi16(x.lo, 1), mask),
      _mm256_and_si256(_mm256_srai_epi16(_mm256_slli_epi16(x.hi, 8), 1), mask),
      _mm256_and_si256(_mm256_srai_epi16(x.hi, 1), mask)};
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    w[i].lo = _mm256_cvtph_ps(_mm256_castsi256_si128(halves[i]));
    w[i].hi = _mm256_cvtph_ps(_mm256_extracti128_si256(halves[i], 1));
  }
}
