// How queries become int8, and its products: what both forms of int8 attention share, in AVX-512.

// A query's fine codes have 11 bits and a sign, a key's 13 and a sign: 64 of their products stay
// below 2^30.
constexpr float kFineQuery = 2047.0f;
constexpr int kFineMax = 64;

// The greatest magnitude of x[0, count), not finite where numbers broke.
inline float greatest_of(const float* x, int64_t count) {
  // As integers the bits of a NaN are greater than those of all numbers.
  __m512i greatest = _mm512_setzero_si512();
  for (int64_t i = 0; i < count; i += 16) {
    const auto mask = static_cast<__mmask16>(count - i >= 16 ? 0xffff : (1 << (count - i)) - 1);
    const __m512i bits = _mm512_castps_si512(_mm512_maskz_loadu_ps(mask, x + i));
    greatest = _mm512_max_epi32(greatest, _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff)));
  }
  const int32_t bits = _mm512_reduce_max_epi32(greatest);
  float result;
  __builtin_memcpy(&result, &bits, sizeof(result));
  return result;
}

// What becomes of x[0, count): code = x * factor, and what a unit is worth.
struct Unit {
  float value, factor;
};
HADAL_INLINE Unit unit_of(const float* x, int64_t count, float limit) {
  const float greatest = greatest_of(x, count);
  if (!(greatest < __builtin_huge_valf())) return {__builtin_nanf(""), 0.0f};
  if (greatest < kLeastMagnitude) return {0.0f, 0.0f};
  return {greatest / limit, limit / greatest};
}

// Both are written out: from its own intrinsics g++ 12 copies accumulators around every loop.
struct BytesDot {
  HADAL_INLINE static void add(__m512i& sum, __m512i bytes, __m512i signed_bytes) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(bytes), "v"(signed_bytes));
  }
};
struct HalvesDot {
  HADAL_INLINE static void add(__m512i& sum, __m512i a, __m512i b) {
    asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  }
};
