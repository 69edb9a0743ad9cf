// Panels of float weights times float activations. Forms: panel.h. Included once per instruction
// set.
//
// Order: even columns go to one accumulator, odd ones to another, ascending; FP8 closes both after
// 128 columns and adds them, scaled, to a third.

enum class FloatForm : uint8_t { kF32, kF16, kBF16, kF8 };

// Weights of columns k..k+3.
template <FloatForm kForm>
HADAL_INLINE void load_quad(const uint8_t* panel, int64_t k, F32x16* w) {
  if constexpr (kForm == FloatForm::kF32) {
    for (int i = 0; i < 4; ++i)
      w[i] = f32_load(reinterpret_cast<const float*>(panel) + 16 * (k + i));
  } else if constexpr (kForm == FloatForm::kF16) {
    for (int i = 0; i < 4; ++i) w[i] = f32_load_f16(panel + 32 * (k + i));
  } else if constexpr (kForm == FloatForm::kBF16) {
    load_bf16_pair(panel + 32 * k, &w[0], &w[1]);
    load_bf16_pair(panel + 32 * k + 64, &w[2], &w[3]);
  } else {
    load_f8_quad(panel + 16 * k, w);
  }
}

template <FloatForm kForm, int kColumns>
HADAL_INLINE void float_panel(const uint8_t* panel, const float* scales, int64_t cols,
                              const float* const* rows, float* acc) {
  constexpr int64_t kSpan = kForm == FloatForm::kF8 ? 128 : INT64_MAX;
  F32x16 total[kColumns];
  F32x16 even[kColumns];
  F32x16 odd[kColumns];
  for (int c = 0; c < kColumns; ++c) total[c] = f32_zero();
  for (int64_t k = 0; k < cols;) {
    const int64_t end = cols - k > kSpan ? k + kSpan : cols;
    for (int c = 0; c < kColumns; ++c) even[c] = odd[c] = f32_zero();
    for (; k < end; k += 4) {
      F32x16 w[4];
      load_quad<kForm>(panel, k, w);
#pragma GCC unroll 8
      for (int c = 0; c < kColumns; ++c) {
        const float* x = rows[c] + k;
        even[c] = fma(w[0], f32_set(x[0]), even[c]);
        odd[c] = fma(w[1], f32_set(x[1]), odd[c]);
        even[c] = fma(w[2], f32_set(x[2]), even[c]);
        odd[c] = fma(w[3], f32_set(x[3]), odd[c]);
      }
    }
    for (int c = 0; c < kColumns; ++c) {
      const F32x16 sum = add(even[c], odd[c]);
      if constexpr (kForm == FloatForm::kF8) {
        total[c] = fma(sum, f32_set(*scales), total[c]);
      } else {
        total[c] = sum;
      }
    }
    if constexpr (kForm == FloatForm::kF8) ++scales;
  }
  for (int c = 0; c < kColumns; ++c) f32_store(acc + 16 * c, total[c]);
}

template <FloatForm kForm>
void multiply_float_panel(const std::byte* panel, const float* scales, int64_t padded_cols,
                          const float* const* rows, int32_t columns, float* acc) {
  const auto* p = reinterpret_cast<const uint8_t*>(panel);
  int32_t c = 0;
  for (; c + kFloatColumns <= columns; c += kFloatColumns) {
    float_panel<kForm, kFloatColumns>(p, scales, padded_cols, rows + c, acc + 16 * c);
  }
  if constexpr (kFloatColumns > 4) {
    if (columns - c >= 4) {
      float_panel<kForm, 4>(p, scales, padded_cols, rows + c, acc + 16 * c);
      c += 4;
    }
  }
  if constexpr (kFloatColumns > 2) {
    if (columns - c >= 2) {
      float_panel<kForm, 2>(p, scales, padded_cols, rows + c, acc + 16 * c);
      c += 2;
    }
  }
  if (c < columns) float_panel<kForm, 1>(p, scales, padded_cols, rows + c, acc + 16 * c);
}

HADAL_INLINE void register_float_forms(KernelTable& table) {
  const auto set = [&table](DType dtype, FloatKernel kernel) {
    table.floating[static_cast<int>(dtype)] = kernel;
  };
  set(DType::kF32, multiply_float_panel<FloatForm::kF32>);
  set(DType::kF16, multiply_float_panel<FloatForm::kF16>);
  set(DType::kBF16, multiply_float_panel<FloatForm::kBF16>);
  set(DType::kF8E4M3, multiply_float_panel<FloatForm::kF8>);
}
