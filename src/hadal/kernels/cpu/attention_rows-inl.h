// Cache rows to and from floats, over an instruction set's F32x16.

HADAL_INLINE F32x16 load_cached(DType dtype, const unsigned char* source) {
  if (dtype == DType::kF32) return f32_load(reinterpret_cast<const float*>(source));
  return dtype == DType::kF16 ? f32_load_f16(source) : load_bf16(source);
}

// Nearest even; a NaN is not rounded (it could become an infinity or a number) but made quiet.
HADAL_INLINE void store_bf16(void* p, F32x16 v) {
  const I32x16 x = bits(v);
  const I32x16 magnitude = bit_and(x, i32_set(0x7fffffff));
  const I32x16 nan = shift_right<31>(subtract(i32_set(0x7f800000), magnitude));  // 1 or 0
  const I32x16 odd = bit_and(shift_right<16>(x), i32_set(1));
  const I32x16 unless_nan = subtract(nan, i32_set(1));
  const I32x16 carry = bit_and(add(odd, i32_set(0x7fff)), unless_nan);
  store_u16(p, shift_right<16>(bit_or(add(x, carry), shift_left<22>(nan))));
}

HADAL_INLINE void store_cached(DType dtype, unsigned char* target, F32x16 v) {
  if (dtype == DType::kF32) return f32_store(reinterpret_cast<float*>(target), v);
  return dtype == DType::kF16 ? store_f16(target, v) : store_bf16(target, v);
}

inline void load_int8(const PartForm& form, const unsigned char* bytes, float* target) {
  float scales[2];
  __builtin_memcpy(scales, bytes + form.scale_at(), form.fine > 0 ? 8 : 4);
  const int64_t coarse = form.coarse();
  int64_t i = 0;
  for (; i + kTileLanes <= coarse; i += kTileLanes) {
    const F32x16 code = to_f32(subtract(i32_load_u8(bytes + i), i32_set(128)));
    f32_store(target + i, multiply(code, f32_set(scales[0])));
  }
  for (; i < coarse; ++i) target[i] = static_cast<float>(bytes[i] - 128) * scales[0];
  const unsigned char* fine = bytes + form.fine_at();
  for (int64_t j = 0; j < form.fine; ++j, ++i) {
    int16_t code;
    __builtin_memcpy(&code, fine + 2 * j, sizeof(code));
    target[i] = static_cast<float>(code) * scales[1];
  }
  for (; i < padded_width(form.count); ++i) target[i] = 0.0f;
}

// The greatest magnitude of x[0, count), a NaN being the greatest of all.
HADAL_INLINE float largest_magnitude(const float* x, int64_t count) {
  int32_t largest = 0;
  int64_t i = 0;
  I32x16 lanes = i32_set(0);
  for (; i + kTileLanes <= count; i += kTileLanes) {
    lanes = maximum(lanes, bit_and(bits(f32_load(x + i)), i32_set(0x7fffffff)));
  }
  largest = largest_lane(lanes);
  for (; i < count; ++i) {
    int32_t word;
    __builtin_memcpy(&word, x + i, sizeof(word));
    word &= 0x7fffffff;
    largest = word > largest ? word : largest;
  }
  float result;
  __builtin_memcpy(&result, &largest, sizeof(result));
  return result;
}

// How x[0, count) becomes codes in [-greatest, greatest]: code = round(x * factor). Where numbers
// broke, codes are 0 and the scale is not finite.
struct CodeScale {
  float scale, factor;
};
HADAL_INLINE CodeScale code_scale(const float* x, int64_t count, float greatest) {
  const float largest = largest_magnitude(x, count);
  const bool finite = largest < __builtin_huge_valf();  // false for NaN
  if (!finite) return {largest, 0.0f};
  if (largest < kLeastMagnitude) return {0.0f, 0.0f};
  return {largest / greatest, greatest / largest};
}

// What is not finite becomes any code.
HADAL_INLINE I32x16 codes_of(F32x16 x, F32x16 factor, F32x16 greatest) {
  const F32x16 low = subtract(f32_zero(), greatest);
  return round_to_i32(minimum(maximum(multiply(x, factor), low), greatest));
}

inline void store_int8(const PartForm& form, const float* source, unsigned char* bytes) {
  const int64_t coarse = form.coarse();
  const CodeScale first = code_scale(source, coarse, 127.0f);
  alignas(64) float values[kTileLanes];
  alignas(64) int32_t codes[kTileLanes];
  for (int64_t i = 0; i < coarse; i += kTileLanes) {
    const int64_t count = coarse - i < kTileLanes ? coarse - i : kTileLanes;
    for (int64_t j = 0; j < kTileLanes; ++j) values[j] = j < count ? source[i + j] : 0.0f;
    i32_store(codes, codes_of(f32_load(values), f32_set(first.factor), f32_set(127.0f)));
    for (int64_t j = 0; j < count; ++j) bytes[i + j] = static_cast<unsigned char>(codes[j] + 128);
  }
  __builtin_memcpy(bytes + form.scale_at(), &first.scale, 4);
  if (form.fine == 0) return;
  const float* x = source + coarse;
  const CodeScale second = code_scale(x, form.fine, 8191.0f);
  for (int64_t i = 0; i < form.fine; i += kTileLanes) {
    const int64_t count = form.fine - i < kTileLanes ? form.fine - i : kTileLanes;
    for (int64_t j = 0; j < kTileLanes; ++j) values[j] = j < count ? x[i + j] : 0.0f;
    i32_store(codes, codes_of(f32_load(values), f32_set(second.factor), f32_set(8191.0f)));
    for (int64_t j = 0; j < count; ++j) {
      const auto word = static_cast<int16_t>(codes[j]);
      __builtin_memcpy(bytes + form.fine_at() + 2 * (i + j), &word, 2);
    }
  }
  __builtin_memcpy(bytes + form.scale_at() + 4, &second.scale, 4);
}

inline void load_row(const PartForm& form, const std::byte* source, float* target) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(source);
  if (form.dtype == DType::kI8) return load_int8(form, bytes, target);
  const int64_t count = form.count;
  const int64_t size = form.dtype == DType::kF32 ? 4 : 2;
  int64_t i = 0;
  for (; i + kTileLanes <= count; i += kTileLanes)
    f32_store(target + i, load_cached(form.dtype, bytes + i * size));
  if (i < count) {
    alignas(64) unsigned char tail[64] = {};
    __builtin_memcpy(tail, bytes + i * size, static_cast<size_t>((count - i) * size));
    f32_store(target + i, load_cached(form.dtype, tail));
    i += kTileLanes;
  }
  for (; i < padded_width(count); i += kTileLanes) f32_store(target + i, f32_zero());
}

inline void store_row(const PartForm& form, const float* source, std::byte* target) {
  auto* bytes = reinterpret_cast<unsigned char*>(target);
  if (form.dtype == DType::kI8) return store_int8(form, source, bytes);
  const int64_t count = form.count;
  const int64_t size = form.dtype == DType::kF32 ? 4 : 2;
  int64_t i = 0;
  for (; i + kTileLanes <= count; i += kTileLanes)
    store_cached(form.dtype, bytes + i * size, f32_load(source + i));
  if (i == count) return;
  alignas(64) float values[kTileLanes] = {};
  alignas(64) unsigned char tail[64];
  for (int64_t j = i; j < count; ++j) values[j - i] = source[j];
  store_cached(form.dtype, tail, f32_load(values));
  __builtin_memcpy(bytes + i * size, tail, static_cast<size_t>((count - i) * size));
}

// One step of the transform inside a vector: lane l meets lane l ^ kStep.
template <int kStep>
HADAL_INLINE F32x16 meet(F32x16 x) {
  return fma(x, lane_signs<kStep>(), swap_lanes<kStep>(x));
}

// The same between vectors.
HADAL_INLINE void cross(F32x16& a, F32x16& b) {
  const F32x16 sum = add(a, b);
  b = subtract(a, b);
  a = sum;
}
HADAL_INLINE void cross_four(F32x16* v) {
  cross(v[0], v[1]);
  cross(v[2], v[3]);
  cross(v[0], v[2]);
  cross(v[1], v[3]);
}

// Steps of 1 to 8 of kCount vectors from x on, and those of 16 and 32 where there are four.
template <int kCount>
HADAL_INLINE void meet_near(float* x, F32x16 factor) {
  F32x16 v[kCount];
#pragma GCC unroll 4
  for (int k = 0; k < kCount; ++k) {
    v[k] = meet<8>(meet<4>(meet<2>(meet<1>(multiply(f32_load(x + kTileLanes * k), factor)))));
  }
  if constexpr (kCount == 4) cross_four(v);
#pragma GCC unroll 4
  for (int k = 0; k < kCount; ++k) f32_store(x + kTileLanes * k, v[k]);
}

// Two steps at once, `step` and 2 step, of a block.
HADAL_INLINE void meet_far(float* x, int64_t block, int64_t step) {
  for (int64_t i = 0; i < block; i += 4 * step) {
    for (int64_t j = i; j < i + step; j += kTileLanes) {
      F32x16 v[4];
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) v[k] = f32_load(x + j + k * step);
      cross_four(v);
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) f32_store(x + j + k * step, v[k]);
    }
  }
}

// Short steps first; sums are paired alike everywhere.
inline void hadamard(float* x, int64_t count) {
  const int64_t block = hadamard_block(count);
  const float factor = 1.0f / __builtin_sqrtf(static_cast<float>(block));
  for (float* begin = x; begin < x + count; begin += block) {
    int64_t step = 1;
    if (block >= kTileLanes) {
      step = block < 4 * kTileLanes ? kTileLanes : 4 * kTileLanes;
      for (int64_t i = 0; i < block; i += step) {
        if (step == kTileLanes) {
          meet_near<1>(begin + i, f32_set(factor));
        } else {
          meet_near<4>(begin + i, f32_set(factor));
        }
      }
      for (; 4 * step <= block; step *= 4) meet_far(begin, block, step);
      for (int64_t j = 0; step < block && j < step; j += kTileLanes) {
        F32x16 a = f32_load(begin + j);
        F32x16 b = f32_load(begin + j + step);
        cross(a, b);
        f32_store(begin + j, a);
        f32_store(begin + j + step, b);
      }
      continue;
    }
    for (int64_t i = 0; i < block; ++i) begin[i] *= factor;
    for (; step < block; step *= 2) {
      for (int64_t i = 0; i < block; i += 2 * step) {
        for (int64_t j = i; j < i + step; ++j) {
          const float a = begin[j];
          const float b = begin[j + step];
          begin[j] = a + b;
          begin[j + step] = a - b;
        }
      }
    }
  }
}
