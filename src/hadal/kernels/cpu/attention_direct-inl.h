// What the direct kernels share, in AVX-512.

// Inner loops that fill the registers are functions of their own: among others' variables g++ 12
// keeps pointers in vector registers, and accumulators in memory instead.
#define HADAL_APART __attribute__((noinline))

HADAL_INLINE __m512 load_floats(const float* p) { return _mm512_load_ps(p); }

// 2^x for x <= 0, 0 below -150, NaN for NaN: x = n + r, |r| <= 1/2, 2^r by its Taylor polynomial of
// degree 5 (remainder below 3e-6, far below a weight's own rounding).
HADAL_INLINE __m512 power_of_two(__m512 x) {
  x = _mm512_max_ps(_mm512_set1_ps(-200.0f), x);  // the second operand where either is NaN
  const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 r = _mm512_sub_ps(x, n);
  __m512 p = _mm512_set1_ps(1.3333558e-3f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.6181291e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.5504109e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.4022651e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.9314718e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, n);
}

constexpr float kLog2E = 1.44269504f;

// Which lanes see token t. kAll: every lane sees every token of the span.
template <bool kAll>
HADAL_INLINE __mmask16 seen_by(int t, __m512 visible) {
  if (kAll) return 0xffff;
  return _mm512_cmp_ps_mask(_mm512_set1_ps(static_cast<float>(t)), visible, _CMP_LT_OQ);
}

// The greatest score so far, of the tokens that a lane sees.
template <bool kAll>
HADAL_INLINE __m512 greatest_score(const SpanTile& tile, __m512 visible, __m512 before) {
  __m512 greatest = before;
  for (int t = 0; t < tile.tokens; ++t) {
    const __m512 score = load_floats(tile.scores + t * 16);
    greatest = _mm512_mask_max_ps(greatest, seen_by<kAll>(t, visible), greatest, score);
  }
  return greatest;
}

// Stores what the next span needs to know; `sum` is the span's own.
HADAL_INLINE void advance(SpanTile& tile, __m512 before, __m512 greatest, __m512 sum) {
  // A lane that has seen nothing has nothing to shrink.
  const __mmask16 some =
      _mm512_cmp_ps_mask(before, _mm512_set1_ps(-__builtin_huge_valf()), _CMP_NEQ_UQ);
  const __m512 shrink = _mm512_maskz_mov_ps(
      some, power_of_two(_mm512_mul_ps(_mm512_sub_ps(before, greatest), _mm512_set1_ps(kLog2E))));
  _mm512_store_ps(tile.shrink, shrink);
  _mm512_store_ps(tile.state->greatest, greatest);
  _mm512_store_ps(tile.state->sum, _mm512_fmadd_ps(load_floats(tile.state->sum), shrink, sum));
}

// The weight of token t, 0 where it is not seen.
template <bool kAll>
HADAL_INLINE __m512 weight_of(const SpanTile& tile, int t, __m512 visible, __m512 greatest) {
  const __m512 below = _mm512_sub_ps(load_floats(tile.scores + t * 16), greatest);
  return _mm512_maskz_mov_ps(seen_by<kAll>(t, visible),
                             power_of_two(_mm512_mul_ps(below, _mm512_set1_ps(kLog2E))));
}

HADAL_INLINE bool all_see_all(const SpanTile& tile) {
  const __m512 tokens = _mm512_set1_ps(static_cast<float>(tile.tokens));
  return _mm512_cmp_ps_mask(load_floats(tile.visible), tokens, _CMP_GE_OQ) == 0xffff;
}

inline void call_step(Ahead& ahead) {
  int64_t lines = ahead.each;
  while (lines > 0 && ahead.run < ahead.count) {
    Ahead::Run& run = ahead.runs[ahead.run];
    const std::byte* at = run.begin;
    for (; lines > 0 && at < run.end; --lines, at += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T1);
    }
    run.begin = at;
    if (at >= run.end) ++ahead.run;
  }
  ahead.left -= ahead.each;
}

// The dot products, written out: from its own intrinsics g++ 12 copies accumulators around every
// loop, which takes longer than the products. sum += a . b in each word.
HADAL_INLINE void add_dot_u8_i8(__m512i& sum, __m512i a, __m512i b) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
}
HADAL_INLINE void add_dot_i16(__m512i& sum, __m512i a, __m512i b) {
  asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
}
HADAL_INLINE void add_dot_bf16(__m512& sum, __m512i a, __m512i b) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
}

HADAL_INLINE int32_t word_at(const std::byte* p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof(word));
  return word;
}

constexpr int kColumns = 64;  // of values, worked on together
inline int64_t context_stride(int64_t width) {
  return (width + kColumns - 1) / kColumns * kColumns;
}

// Steps of accumulate_tiles().
inline int64_t accumulate_steps(const SpanTile* tiles, int count) {
  int64_t steps = 0;
  for (int i = 0; i < count; ++i) steps += (tiles[i].lanes + 3) / 4;
  return steps;
}

// Block::run<queries>(tile, first query, ...) for the queries of all tiles that see this span, as
// many at once as registers allow.
template <typename Block>
HADAL_INLINE void accumulate_tiles(const SpanTile* tiles, int count, const __m512i* values,
                                   int64_t column, int64_t stride, Ahead& ahead) {
  for (int i = 0; i < count; ++i) {
    const SpanTile& tile = tiles[i];
    if (tile.tokens == 0) continue;
    int q = 0;
    for (; q + 4 <= tile.lanes; q += 4) {
      call_step(ahead);
      Block::template run<4>(tile, q, values, column, stride);
    }
    if (q < tile.lanes) call_step(ahead);
    if (q + 2 <= tile.lanes) {
      Block::template run<2>(tile, q, values, column, stride);
      q += 2;
    }
    if (q < tile.lanes) Block::template run<1>(tile, q, values, column, stride);
  }
}
