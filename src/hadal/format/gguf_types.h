// Private to format: the numbers that GGUF gives to element types.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "hadal/tensor/dtype.h"

namespace hadal {

// ggml's name of a type number, also of those that Hadal does not read; empty when there is none.
std::string_view ggml_type_name(uint32_t type);
std::optional<DType> dtype_from_ggml(uint32_t type);
// nullopt for a type that GGUF has no number for (FP8).
std::optional<uint32_t> ggml_from_dtype(DType dtype);

}  // namespace hadal
