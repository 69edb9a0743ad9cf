// Instruction sets by region: one body is compiled once per set, in functions that say so
// themselves. Never -march for a file or the program, which must start on every x86-64.
//
// A translation unit per set includes every standard header first, opens the region, opens the
// set's namespace and includes the bodies (*-inl.h) and their vocabulary (isa_*-inl.h):
//
//   #include <immintrin.h>
//   HADAL_TARGET_BEGIN("avx2,fma,f16c")
//   namespace hadal::kernels::cpu::avx2 {
//   #include "hadal/kernels/cpu/isa_avx2-inl.h"
//   #include "hadal/kernels/cpu/some_body-inl.h"
//   }
//   HADAL_TARGET_END
//
// Bodies call no templates or inline functions of the standard library: the linker might keep the
// copy that was compiled for the larger instruction set.
#pragma once

#define HADAL_PRAGMA(x) _Pragma(#x)
#if defined(__clang__)
#define HADAL_TARGET_BEGIN(isa) \
  HADAL_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define HADAL_TARGET_END _Pragma("clang attribute pop")
#else
#define HADAL_TARGET_BEGIN(isa) _Pragma("GCC push_options") HADAL_PRAGMA(GCC target(isa))
#define HADAL_TARGET_END _Pragma("GCC pop_options")
#endif

#define HADAL_INLINE inline __attribute__((always_inline))

#define HADAL_TARGET_AVX2 "avx,avx2,fma,f16c,bmi,bmi2"
#define HADAL_TARGET_AVX512 \
  "avx,avx2,fma,f16c,bmi,bmi2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"
#define HADAL_TARGET_AVX512_BF16 HADAL_TARGET_AVX512 ",avx512bf16"
