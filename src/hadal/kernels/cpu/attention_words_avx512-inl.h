// What attention needs besides isa_avx512-inl.h.

constexpr int kScoreTokens = 8;  // x 2 tiles: 16 accumulators of 32 registers
constexpr int kScoreTiles = 2;
constexpr int kContextVectors = 4;  // x 4 queries: 16 accumulators

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
// The low halves of 16 words.
HADAL_INLINE void store_u16(void* p, I32x16 x) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtepi32_epi16(x.v));
}
