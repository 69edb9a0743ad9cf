// Private to format: one safetensors file, checked by itself.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "hadal/format/tensor_file.h"

namespace hadal {

// The tensors of the file whose bytes these are, in the order of their data. Layout: eight bytes of
// header length, a JSON header, data. A scalar (shape []) gets the shape [1].
Result<std::vector<TensorRecord>> parse_safetensors(std::span<const std::byte> bytes,
                                                    const std::string& file, uint32_t part);

}  // namespace hadal
