// Inner loops of the naive form: latents of int8 become keys and values of int8, and keys meet
// queries, by VNNI's dot products.
//
// Scores: lanes are queries, and a word of a key is spread over them. Other than the scores of
// attention_direct-inl.h no sums along a vector are left to do, which would take a third of the
// time of keys as short as these; and with four tiles a word's load serves four products.
#include <cstddef>
#include <cstdint>

#include "hadal/kernels/cpu/attention_naive.h"
#include "hadal/kernels/cpu/avx512_intrinsics.h"
#include "hadal/kernels/cpu/region.h"

HADAL_TARGET_BEGIN(HADAL_TARGET_AVX512)
namespace hadal::kernels::cpu::avx512 {
namespace {

#include "hadal/kernels/cpu/attention_codes_avx512-inl.h"

#define HADAL_APART __attribute__((noinline))

HADAL_INLINE int32_t word_at(const void* p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof(word));
  return word;
}
HADAL_INLINE float float_at(const void* p) {
  float value;
  __builtin_memcpy(&value, p, sizeof(value));
  return value;
}
HADAL_INLINE void put_float(std::byte* p, float value) {
  __builtin_memcpy(p, &value, sizeof(value));
}

// Latents whose products with one block of weights are made together: 8 x 2 accumulators.
constexpr int kRowsTogether = 8;
// Latents that pass while a block of weights (16 KB at a rank of 512) is in the first-level cache.
constexpr int kRowsPassing = 32;

// One block of 32 outputs of eight latents, as floats: target[t][32], `stride` apart.
HADAL_APART void expand_block(const ExpansionHalf& half, int64_t block,
                              const std::byte* const* latents, float* target, int64_t stride) {
  const auto* weights = reinterpret_cast<const __m512i*>(half.codes) + block * half.words * 2;
  const int64_t output = block * kExpandOutputs;
  __m512i sums[kRowsTogether][2];
#pragma GCC unroll 8
  for (int t = 0; t < kRowsTogether; ++t) {
    sums[t][0] = _mm512_loadu_si512(half.begin + output);
    sums[t][1] = _mm512_loadu_si512(half.begin + output + 16);
  }
  for (int64_t w = 0; w < half.words; ++w) {
    const __m512i low = _mm512_load_si512(weights + 2 * w);
    const __m512i high = _mm512_load_si512(weights + 2 * w + 1);
#pragma GCC unroll 8
    for (int t = 0; t < kRowsTogether; ++t) {
      const __m512i part = _mm512_set1_epi32(word_at(latents[t] + 4 * w));
      BytesDot::add(sums[t][0], part, low);
      BytesDot::add(sums[t][1], part, high);
    }
  }
  const __m512 scale_low = _mm512_loadu_ps(half.scale + output);
  const __m512 scale_high = _mm512_loadu_ps(half.scale + output + 16);
#pragma GCC unroll 8
  for (int t = 0; t < kRowsTogether; ++t) {
    float* out = target + t * stride;
    _mm512_storeu_ps(out, _mm512_mul_ps(_mm512_cvtepi32_ps(sums[t][0]), scale_low));
    _mm512_storeu_ps(out + 16, _mm512_mul_ps(_mm512_cvtepi32_ps(sums[t][1]), scale_high));
  }
}

// x[0, count) as codes; returns what a unit is worth.
HADAL_INLINE float store_codes(const float* x, int64_t count, std::byte* target) {
  const Unit unit = unit_of(x, count, 127.0f);
  for (int64_t i = 0; i < count; i += 16) {
    const auto mask = static_cast<__mmask16>(count - i >= 16 ? 0xffff : (1 << (count - i)) - 1);
    const __m512i codes = _mm512_cvtps_epi32(
        _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), _mm512_set1_ps(unit.factor)));
    _mm512_mask_cvtepi32_storeu_epi8(target + i, mask,
                                     _mm512_add_epi32(codes, _mm512_set1_epi32(128)));
  }
  return unit.value;
}

void expand(const ExpansionHalf& half, const std::byte* const* latents, int64_t latent_scale_at,
            int64_t count, float* spare, std::byte* parts, int64_t stride, int64_t scale_at) {
  const int64_t padded = half.padded();
  for (int64_t first = 0; first < count; first += kRowsPassing) {
    const int64_t left = count - first;
    const int64_t rows = left < kRowsPassing ? left : kRowsPassing;
    const std::byte* passing[kRowsPassing];
    for (int64_t t = 0; t < kRowsPassing; ++t) passing[t] = latents[first + (t < rows ? t : 0)];
    for (int64_t block = 0; block < padded / kExpandOutputs; ++block) {
      for (int64_t t = 0; t < rows; t += kRowsTogether) {
        expand_block(half, block, passing + t, spare + t * padded + block * kExpandOutputs, padded);
      }
    }
    for (int64_t t = 0; t < rows; ++t) {
      std::byte* part = parts + (first + t) * stride;
      const float unit = store_codes(spare + t * padded, half.count, part);
      put_float(part + scale_at, unit * float_at(passing[t] + latent_scale_at));
    }
  }
}

constexpr int kKeysTogether = 4;
constexpr int kTilesTogether = 4;

// Behind a tile's words, a lane each.
struct TileEnd {
  int32_t begin[16];     // -128 * the sum of codes
  float scale[16];       // of a unit of the coarse sum
  float fine_scale[16];  // and of the fine one
};

HADAL_INLINE int64_t coarse_words(const PartForm& form) { return form.fine_at() / 4; }
HADAL_INLINE int64_t fine_words(const PartForm& form) { return (form.fine + 1) / 2; }
HADAL_INLINE int64_t words_bytes(const PartForm& form) {
  return (coarse_words(form) + fine_words(form)) * 64;
}
int64_t tile_bytes(const PartForm& form) {
  return words_bytes(form) + static_cast<int64_t>(sizeof(TileEnd));
}

// A lane's words are 64 bytes apart.
void pack(const PartForm& keys, float scale, const float* const* heads, const float* const* tails,
          std::byte* tile) {
  auto* end = reinterpret_cast<TileEnd*>(tile + words_bytes(keys));
  __builtin_memset(tile, 0, static_cast<size_t>(tile_bytes(keys)));
  const __m512i apart =
      _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                         _mm512_set1_epi32(64));
  for (int lane = 0; lane < kTileLanes; ++lane) {
    if (heads[lane] == nullptr) continue;
    std::byte* target = tile + 4 * lane;
    const Unit unit = unit_of(heads[lane], keys.coarse(), 127.0f);
    int32_t sum = 0;
    // 64 elements are 16 words, which go to 16 lines.
    for (int64_t i = 0; i < keys.coarse(); i += 64) {
      alignas(64) int8_t codes[64];
      for (int64_t j = 0; j < 64; j += 16) {
        const int64_t left = keys.coarse() - i - j;
        const auto mask = static_cast<__mmask16>(left >= 16  ? 0xffff
                                                 : left <= 0 ? 0
                                                             : (1 << left) - 1);
        const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, heads[lane] + i + j),
                                            _mm512_set1_ps(unit.factor));
        // What is no number counts as 0: the scale says so of the whole query.
        const __mmask16 numbers = _mm512_cmp_ps_mask(scaled, scaled, _CMP_ORD_Q);
        const __m512i part = _mm512_maskz_cvtps_epi32(numbers, scaled);
        sum += _mm512_reduce_add_epi32(part);
        _mm_store_si128(reinterpret_cast<__m128i*>(codes + j), _mm512_cvtepi32_epi8(part));
      }
      const int64_t words = coarse_words(keys) - i / 4;
      const auto mask = static_cast<__mmask16>(words >= 16 ? 0xffff : (1 << words) - 1);
      _mm512_mask_i32scatter_epi32(target + i * 16, mask, apart, _mm512_load_si512(codes), 1);
    }
    end->begin[lane] = -128 * sum;
    end->scale[lane] = scale * unit.value;
    const Unit fine_unit = unit_of(tails[lane], keys.fine, kFineQuery);
    target += coarse_words(keys) * 64;
    for (int64_t i = 0; i < keys.fine; ++i) {
      const auto code =
          static_cast<int16_t>(_mm_cvtss_si32(_mm_set_ss(tails[lane][i] * fine_unit.factor)));
      __builtin_memcpy(target + i / 2 * 64 + i % 2 * 2, &code, sizeof(code));
    }
    end->fine_scale[lane] = scale * fine_unit.value;
  }
}

// sums[t][i] = products of `words` words of key t with tile i.
template <class Dot, int kTiles>
HADAL_INLINE void add_words(__m512i (*sums)[kTiles], const std::byte* queries, int64_t tile_stride,
                            int64_t words, const std::byte* key, int64_t stride) {
  for (; words > 0; --words, queries += 64, key += 4) {
    __m512i part[kKeysTogether];
#pragma GCC unroll 4
    for (int t = 0; t < kKeysTogether; ++t) part[t] = _mm512_set1_epi32(word_at(key + t * stride));
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i) {
      const __m512i query = _mm512_load_si512(queries + i * tile_stride);
#pragma GCC unroll 4
      for (int t = 0; t < kKeysTogether; ++t) Dot::add(sums[t][i], part[t], query);
    }
  }
}

// Four keys and kTiles tiles, whose queries lie one after another.
template <int kTiles>
HADAL_APART void score_keys(const PartForm& keys, const SpanTile* tiles, int token,
                            const std::byte* key, int64_t stride) {
  const std::byte* queries = tiles[0].queries;
  const int64_t tile_stride = tile_bytes(keys);
  __m512i sums[kKeysTogether][kTiles];
#pragma GCC unroll 4
  for (int i = 0; i < kTiles; ++i) {
    const auto* end = reinterpret_cast<const TileEnd*>(tiles[i].queries + words_bytes(keys));
    const __m512i begin = _mm512_load_si512(end->begin);
#pragma GCC unroll 4
    for (int t = 0; t < kKeysTogether; ++t) sums[t][i] = begin;
  }
  add_words<BytesDot, kTiles>(sums, queries, tile_stride, coarse_words(keys), key, stride);
  const auto unit = [&](int t, int64_t at) {
    return _mm512_castsi512_ps(_mm512_set1_epi32(word_at(key + t * stride + at)));
  };
#pragma GCC unroll 4
  for (int i = 0; i < kTiles; ++i) {
    const auto* end = reinterpret_cast<const TileEnd*>(tiles[i].queries + words_bytes(keys));
    const __m512 scale = _mm512_load_ps(end->scale);
#pragma GCC unroll 4
    for (int t = 0; t < kKeysTogether; ++t) {
      const __m512 sum = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[t][i]), scale);
      _mm512_store_ps(tiles[i].scores + (token + t) * 16,
                      _mm512_mul_ps(sum, unit(t, keys.scale_at())));
    }
  }
  if (keys.fine == 0) return;
#pragma GCC unroll 4
  for (int i = 0; i < kTiles; ++i) {
#pragma GCC unroll 4
    for (int t = 0; t < kKeysTogether; ++t) sums[t][i] = _mm512_setzero_si512();
  }
  add_words<HalvesDot, kTiles>(sums, queries + coarse_words(keys) * 64, tile_stride,
                               fine_words(keys), key + keys.fine_at(), stride);
#pragma GCC unroll 4
  for (int i = 0; i < kTiles; ++i) {
    const auto* end = reinterpret_cast<const TileEnd*>(tiles[i].queries + words_bytes(keys));
    const __m512 scale = _mm512_load_ps(end->fine_scale);
#pragma GCC unroll 4
    for (int t = 0; t < kKeysTogether; ++t) {
      float* score = tiles[i].scores + (token + t) * 16;
      const __m512 sum = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[t][i]), scale);
      const __m512 fine = _mm512_mul_ps(sum, unit(t, keys.scale_at() + 4));
      _mm512_store_ps(score, _mm512_add_ps(_mm512_load_ps(score), fine));
    }
  }
}

void score(const PartForm& keys, const SpanTile* tiles, int count, const std::byte* first,
           int64_t stride, int tokens) {
  for (int i = 0; i < count; i += kTilesTogether) {
    for (int t = 0; t < tokens; t += kKeysTogether) {
      const std::byte* key = first + t * stride;
      switch (count - i) {
        case 1:
          score_keys<1>(keys, tiles + i, t, key, stride);
          break;
        case 2:
          score_keys<2>(keys, tiles + i, t, key, stride);
          break;
        case 3:
          score_keys<3>(keys, tiles + i, t, key, stride);
          break;
        default:
          score_keys<4>(keys, tiles + i, t, key, stride);
      }
    }
  }
}

constexpr NaiveKernels kNaiveKernels = {&expand, &tile_bytes, &pack, &score};

}  // namespace

const NaiveKernels& naive_kernels() { return kNaiveKernels; }

}  // namespace hadal::kernels::cpu::avx512
HADAL_TARGET_END
