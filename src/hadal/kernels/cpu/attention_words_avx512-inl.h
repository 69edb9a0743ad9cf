// What attention needs besides isa_avx512-inl.h.

constexpr int kScoreTokens = 8;  // x 2 tiles: 16 accumulators of 32 registers
constexpr int kScoreTiles = 2;
constexpr int kContextVectors = 4;  // x 4 queries: 16 accumulators
constexpr int kDotQueries = 4;
constexpr int kDotTokens = 4;

// Lane by lane a < b ? yes : no; NaN is not less.
HADAL_INLINE F32x16 if_less(F32x16 a, F32x16 b, F32x16 yes, F32x16 no) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
}
HADAL_INLINE F32x16 load_bf16(const void* p) {
  const __m256i halves = _mm256_loadu_si256(static_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16))};
}
HADAL_INLINE void store_f16(void* p, F32x16 x) {
  const __m256i halves = _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  _mm256_storeu_si256(static_cast<__m256i*>(p), halves);
}
// Lane l of the result is lane l ^ kStep of x.
template <int kStep>
HADAL_INLINE F32x16 swap_lanes(F32x16 x) {
  if constexpr (kStep == 8) return {_mm512_shuffle_f32x4(x.v, x.v, 0x4e)};
  if constexpr (kStep == 4) return {_mm512_shuffle_f32x4(x.v, x.v, 0xb1)};
  if constexpr (kStep == 2) return {_mm512_permute_ps(x.v, 0x4e)};
  return {_mm512_permute_ps(x.v, 0xb1)};
}
// Lane l is -1 where l & kStep, else 1.
template <int kStep>
HADAL_INLINE F32x16 lane_signs() {
  constexpr __mmask16 kMask = kStep == 8   ? 0xff00
                              : kStep == 4 ? 0xf0f0
                              : kStep == 2 ? 0xcccc
                                           : 0xaaaa;
  return {_mm512_mask_blend_ps(kMask, _mm512_set1_ps(1.0f), _mm512_set1_ps(-1.0f))};
}
// The low halves of 16 words.
HADAL_INLINE void store_u16(void* p, I32x16 x) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtepi32_epi16(x.v));
}

HADAL_INLINE __m512 fold_eights(F32x16 a, F32x16 b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a.v, b.v, 0x44), _mm512_shuffle_f32x4(a.v, b.v, 0xee));
}
HADAL_INLINE __m512 fold_fours(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}
HADAL_INLINE __m512 fold_twos(__m512 a, __m512 b) {
  return _mm512_add_ps(
      _mm512_castpd_ps(_mm512_shuffle_pd(_mm512_castps_pd(a), _mm512_castps_pd(b), 0)),
      _mm512_castpd_ps(_mm512_shuffle_pd(_mm512_castps_pd(a), _mm512_castps_pd(b), 0xff)));
}
HADAL_INLINE __m512 fold_ones(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
}
// target[t * kTileLanes + q] = the sum of sums[q][t]'s lanes, as a tree of halves.
HADAL_INLINE void store_sums(const F32x16 (&sums)[kDotQueries][kDotTokens], float* target) {
  __m512 tokens[kDotQueries];  // four lanes left of each token
#pragma GCC unroll 4
  for (int q = 0; q < kDotQueries; ++q) {
    tokens[q] =
        fold_fours(fold_eights(sums[q][0], sums[q][1]), fold_eights(sums[q][2], sums[q][3]));
  }
  const __m512 all = fold_ones(fold_twos(tokens[0], tokens[1]), fold_twos(tokens[2], tokens[3]));
  _mm_storeu_ps(target, _mm512_castps512_ps128(all));
  _mm_storeu_ps(target + kTileLanes, _mm512_extractf32x4_ps(all, 1));
  _mm_storeu_ps(target + 2 * kTileLanes, _mm512_extractf32x4_ps(all, 2));
  _mm_storeu_ps(target + 3 * kTileLanes, _mm512_extractf32x4_ps(all, 3));
}
