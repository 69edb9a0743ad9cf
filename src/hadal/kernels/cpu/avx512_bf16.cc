// AVX512 with BF16: the kernels of avx512.cc, but for those of BF16 and FP8 weights.

#include <cstddef>
#include <cstdint>

#include "hadal/kernels/cpu/avx512_intrinsics.h"
#include "hadal/kernels/cpu/kernels.h"
#include "hadal/kernels/cpu/panel.h"
#include "hadal/kernels/cpu/region.h"

HADAL_TARGET_BEGIN(HADAL_TARGET_AVX512_BF16)
namespace hadal::kernels::cpu {
namespace avx512_bf16 {
namespace {

// clang-format off: vocabulary first, then the bodies that use it
#include "hadal/kernels/cpu/isa_avx512-inl.h"
#include "hadal/kernels/cpu/panel_bf16-inl.h"
// clang-format on

KernelTable make_table() {
  KernelTable table = avx512_kernels();
  table.isa = Isa::kAvx512Bf16;
  table.name = "avx512bf16";
  register_bf16_forms(table);
  return table;
}

}  // namespace
}  // namespace avx512_bf16
}  // namespace hadal::kernels::cpu
HADAL_TARGET_END

namespace hadal::kernels::cpu {

const KernelTable& avx512_bf16_kernels() {
  static const KernelTable table = avx512_bf16::make_table();
  return table;
}

}  // namespace hadal::kernels::cpu
