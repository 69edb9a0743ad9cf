#include "hadal/format/gguf_types.h"

#include <array>

namespace hadal {
namespace {

struct TypeRow {
  std::string_view name;
  std::optional<DType> dtype;
};

// By number; some were withdrawn and are kept for their names.
constexpr std::array<TypeRow, 42> kTypes = {{
    {"F32", DType::kF32},
    {"F16", DType::kF16},
    {"Q4_0", DType::kQ4_0},
    {"Q4_1", DType::kQ4_1},
    {"Q4_2", {}},
    {"Q4_3", {}},
    {"Q5_0", DType::kQ5_0},
    {"Q5_1", DType::kQ5_1},
    {"Q8_0", DType::kQ8_0},
    {"Q8_1", {}},
    {"Q2_K", DType::kQ2_K},
    {"Q3_K", DType::kQ3_K},
    {"Q4_K", DType::kQ4_K},
    {"Q5_K", DType::kQ5_K},
    {"Q6_K", DType::kQ6_K},
    {"Q8_K", {}},
    {"IQ2_XXS", {}},
    {"IQ2_XS", {}},
    {"IQ3_XXS", {}},
    {"IQ1_S", {}},
    {"IQ4_NL", DType::kIQ4_NL},
    {"IQ3_S", {}},
    {"IQ2_S", {}},
    {"IQ4_XS", DType::kIQ4_XS},
    {"I8", {}},
    {"I16", {}},
    {"I32", DType::kI32},
    {"I64", DType::kI64},
    {"F64", {}},
    {"IQ1_M", {}},
    {"BF16", DType::kBF16},
    {"Q4_0_4_4", {}},
    {"Q4_0_4_8", {}},
    {"Q4_0_8_8", {}},
    {"TQ1_0", {}},
    {"TQ2_0", {}},
    {"IQ4_NL_4_4", {}},
    {"IQ4_NL_4_8", {}},
    {"IQ4_NL_8_8", {}},
    {"MXFP4", DType::kMXFP4},
    {"NVFP4", {}},
    {"Q1_0", {}},
}};

}  // namespace

std::string_view ggml_type_name(uint32_t type) {
  return type < kTypes.size() ? kTypes[type].name : std::string_view{};
}

std::optional<DType> dtype_from_ggml(uint32_t type) {
  return type < kTypes.size() ? kTypes[type].dtype : std::nullopt;
}

std::optional<uint32_t> ggml_from_dtype(DType dtype) {
  for (uint32_t type = 0; type < kTypes.size(); ++type) {
    if (kTypes[type].dtype == dtype) return type;
  }
  return std::nullopt;
}

}  // namespace hadal
