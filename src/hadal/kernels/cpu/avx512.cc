// Every kernel body of this folder in AVX512 (F, BW, VL, DQ, VNNI).

#include <cstddef>
#include <cstdint>

#include "hadal/kernels/cpu/avx512_intrinsics.h"
#include "hadal/kernels/cpu/kernels.h"
#include "hadal/kernels/cpu/levels.h"
#include "hadal/kernels/cpu/panel.h"
#include "hadal/kernels/cpu/region.h"

HADAL_TARGET_BEGIN(HADAL_TARGET_AVX512)
namespace hadal::kernels::cpu {
namespace avx512 {
namespace {

// clang-format off: vocabulary first, then the bodies that use it
#include "hadal/kernels/cpu/isa_avx512-inl.h"
#include "hadal/kernels/cpu/panel_float-inl.h"
#include "hadal/kernels/cpu/panel_int-inl.h"
#include "hadal/kernels/cpu/panel_super-inl.h"
#include "hadal/kernels/cpu/rows-inl.h"
// clang-format on

KernelTable make_table() {
  KernelTable table{};
  table.isa = Isa::kAvx512;
  table.name = "avx512";
  register_int_forms(table);
  register_super_forms(table);
  register_float_forms(table);
  register_rows(table);
  return table;
}

}  // namespace
}  // namespace avx512
}  // namespace hadal::kernels::cpu
HADAL_TARGET_END

namespace hadal::kernels::cpu {

const KernelTable& avx512_kernels() {
  static const KernelTable table = avx512::make_table();
  return table;
}

}  // namespace hadal::kernels::cpu
