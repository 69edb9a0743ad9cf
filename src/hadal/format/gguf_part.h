// Private to format: one file of a GGUF model, checked by itself.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "hadal/format/gguf.h"

namespace hadal {

struct GgufPart {
  GgufMeta meta;
  std::vector<TensorRecord> tensors;  // names may repeat: the whole model is checked by the caller
};

Result<GgufPart> read_gguf_part(std::span<const std::byte> bytes, const std::string& file,
                                uint32_t number);

}  // namespace hadal
