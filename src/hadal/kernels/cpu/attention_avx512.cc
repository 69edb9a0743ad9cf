// Attention's bodies in AVX-512.
#include <cstddef>
#include <cstdint>

#include "hadal/kernels/cpu/attention_kernels.h"
#include "hadal/kernels/cpu/avx512_intrinsics.h"
#include "hadal/kernels/cpu/kernels.h"
#include "hadal/kernels/cpu/region.h"

HADAL_TARGET_BEGIN(HADAL_TARGET_AVX512)
namespace hadal::kernels::cpu::avx512 {
namespace {

// The vocabulary first, then the bodies that use it.
// clang-format off
#include "hadal/kernels/cpu/isa_avx512-inl.h"
#include "hadal/kernels/cpu/rows-inl.h"
#include "hadal/kernels/cpu/attention_words_avx512-inl.h"
#include "hadal/kernels/cpu/attention_rows-inl.h"
#include "hadal/kernels/cpu/attention_body-inl.h"
// clang-format on

}  // namespace
}  // namespace hadal::kernels::cpu::avx512
HADAL_TARGET_END

namespace hadal::kernels::cpu::avx512 {
const AttentionKernels& attention_kernels() { return kAttentionKernels; }
}  // namespace hadal::kernels::cpu::avx512
