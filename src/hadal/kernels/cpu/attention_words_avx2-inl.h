// What attention needs besides isa_avx2-inl.h.

constexpr int kScoreTokens = 4;  // x 1 tile of two registers: 8 accumulators of 16 registers
constexpr int kScoreTiles = 1;
constexpr int kContextVectors = 1;  // x 4 queries, two registers each: 8 accumulators
constexpr int kDotQueries = 2;
constexpr int kDotTokens = 2;

HADAL_INLINE F32x16 if_less(F32x16 a, F32x16 b, F32x16 yes, F32x16 no) {
  return {_mm256_blendv_ps(no.lo, yes.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
          _mm256_blendv_ps(no.hi, yes.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ))};
}
HADAL_INLINE __m256 widen_bf16(const __m128i* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}
HADAL_INLINE F32x16 load_bf16(const void* p) {
  const auto* halves = static_cast<const __m128i*>(p);
  return {widen_bf16(halves), widen_bf16(halves + 1)};
}
HADAL_INLINE void store_f16(void* p, F32x16 x) {
  auto* halves = static_cast<__m128i*>(p);
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  _mm_storeu_si128(halves, _mm256_cvtps_ph(x.lo, kNearest));
  _mm_storeu_si128(halves + 1, _mm256_cvtps_ph(x.hi, kNearest));
}
// Lane l of the result is lane l ^ kStep of x.
template <int kStep>
HADAL_INLINE F32x16 swap_lanes(F32x16 x) {
  if constexpr (kStep == 8) return {x.hi, x.lo};
  if constexpr (kStep == 4) {
    return {_mm256_permute2f128_ps(x.lo, x.lo, 1), _mm256_permute2f128_ps(x.hi, x.hi, 1)};
  }
  if constexpr (kStep == 2) return {_mm256_permute_ps(x.lo, 0x4e), _mm256_permute_ps(x.hi, 0x4e)};
  return {_mm256_permute_ps(x.lo, 0xb1), _mm256_permute_ps(x.hi, 0xb1)};
}
// Lane l is -1 where l & kStep, else 1.
template <int kStep>
HADAL_INLINE F32x16 lane_signs() {
  const __m256 one = _mm256_set1_ps(1.0f);
  const __m256 minus = _mm256_set1_ps(-1.0f);
  if constexpr (kStep == 8) return {one, minus};
  constexpr int kMask = kStep == 4 ? 0xf0 : kStep == 2 ? 0xcc : 0xaa;
  const __m256 signs = _mm256_blend_ps(one, minus, kMask);
  return {signs, signs};
}
HADAL_INLINE void store_u16(void* p, I32x16 x) {
  const __m256i mask = _mm256_set1_epi32(0xffff);
  const __m256i packed =
      _mm256_packus_epi32(_mm256_and_si256(x.lo, mask), _mm256_and_si256(x.hi, mask));
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm256_permute4x64_epi64(packed, 0b11011000));
}

HADAL_INLINE __m256 fold_eights(F32x16 a) { return _mm256_add_ps(a.lo, a.hi); }
HADAL_INLINE __m256 fold_fours(__m256 a, __m256 b) {
  return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
}
HADAL_INLINE __m256 fold_twos(__m256 a, __m256 b) {
  return _mm256_add_ps(
      _mm256_castpd_ps(_mm256_shuffle_pd(_mm256_castps_pd(a), _mm256_castps_pd(b), 0)),
      _mm256_castpd_ps(_mm256_shuffle_pd(_mm256_castps_pd(a), _mm256_castps_pd(b), 0xf)));
}
HADAL_INLINE __m256 fold_ones(__m256 a) {
  return _mm256_add_ps(_mm256_shuffle_ps(a, a, 0x88), _mm256_shuffle_ps(a, a, 0xdd));
}
// target[t * kTileLanes + q] = the sum of sums[q][t]'s lanes, as a tree of halves.
HADAL_INLINE void store_sums(const F32x16 (&sums)[kDotQueries][kDotTokens], float* target) {
  const __m256 first = fold_fours(fold_eights(sums[0][0]), fold_eights(sums[0][1]));
  const __m256 second = fold_fours(fold_eights(sums[1][0]), fold_eights(sums[1][1]));
  const __m256 all = fold_ones(fold_twos(first, second));
  _mm_storel_pi(reinterpret_cast<__m64*>(target), _mm256_castps256_ps128(all));
  _mm_storel_pi(reinterpret_cast<__m64*>(target + kTileLanes), _mm256_extractf128_ps(all, 1));
}
