// Attention's bodies in AVX2, FMA and F16C.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "hadal/kernels/cpu/attention_kernels.h"
#include "hadal/kernels/cpu/kernels.h"
#include "hadal/kernels/cpu/region.h"

HADAL_TARGET_BEGIN(HADAL_TARGET_AVX2)
namespace hadal::kernels::cpu::avx2 {
namespace {

// The vocabulary first, then the bodies that use it.
// clang-format off
#include "hadal/kernels/cpu/isa_avx2-inl.h"
#include "hadal/kernels/cpu/rows-inl.h"
#include "hadal/kernels/cpu/attention_words_avx2-inl.h"
#include "hadal/kernels/cpu/attention_rows-inl.h"
#include "hadal/kernels/cpu/attention_body-inl.h"
// clang-format on

}  // namespace
}  // namespace hadal::kernels::cpu::avx2
HADAL_TARGET_END

namespace hadal::kernels::cpu::avx2 {
const AttentionKernels& attention_kernels() { return kAttentionKernels; }
}  // namespace hadal::kernels::cpu::avx2
